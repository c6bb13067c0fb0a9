"""Conformal risk control: the first parameter whose expected loss is small enough."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from estimators._core import Fitted, Spec, checks
from estimators.conformal._quantile import as_fraction
from estimators.conformal._risk._choose import Chosen, Losses, check_risk, take
from estimators.conformal._risk._guarantee import RiskGuarantee
from estimators.conformal._risk._table import as_losses, reduce_parameters
from estimators.conformal._search import search
from estimators.conformal._weighted import as_ratios, largest_weight

SLACK = 16  # units of rounding, relative: sums of losses and of weights may miss by that


class CalibratedRiskControl(Fitted):
    """Parameters and what they lost; see `ConformalRiskControl`.

    Attributes:
        parameters: `(parameters,)`, the safest last.
        sums: `(parameters,)`, sums over rows of weight times loss, in units of the largest
            weight.
        total: sum of the weights, in that unit.
        unit: the largest weight.
        rows: number of calibration rows.
        risk: as in the specification.
        largest_loss: as in the specification.
        weighted: whether `choose` needs weights.
    """

    parameters: Float[Array, " parameters"]
    sums: Float[Array, " parameters"]
    total: Float[Array, ""]
    unit: Float[Array, ""]
    rows: int = eqx.field(static=True)
    risk: float = eqx.field(static=True)
    largest_loss: float = eqx.field(static=True)
    weighted: bool = eqx.field(static=True)

    def choose(self, weights: Real[ArrayLike, "*batch"] | None = None) -> Chosen:
        """The first parameter that is safe enough, for each new row where there are weights.

        Args:
            weights: the density ratio at each new row, where calibration had weights.

        Returns:
            A `Chosen`, each `(*batch,)`. Where no parameter satisfies the inequality, `valid` is
            false and the parameter the last one: nothing is known of its expected loss, unless it
            loses no more than the risk on any row by its nature.

        Raises:
            ValueError: if weights are missing that calibration had, or are not used, or are
                negative. Inside jit these give NaN.
        """
        if (weights is not None) != self.weighted:
            had = "had" if self.weighted else "did not have"
            raise ValueError(
                f"weights must be given exactly where calibration had them; it {had} them"
            )
        new, valid = as_ratios("weights", 1.0 if weights is None else weights)
        new = new.astype(self.sums.dtype)
        chosen = _choose(
            self.parameters, self.sums, self.total, new / self.unit, self.risk, self.largest_loss
        )
        return chosen._replace(
            parameter=jnp.where(valid, chosen.parameter, jnp.nan), valid=chosen.valid & valid
        )

    @property
    def parameter(self) -> Float[Array, ""]:
        """The parameter of all rows, where there are no weights; see `choose`."""
        return self.choose().parameter

    @property
    def valid(self):
        """Whether a parameter was found, where there are no weights; see `choose`."""
        return self.choose().valid

    @property
    def reason(self) -> str | None:
        """Why no parameter was found, or when there is none; None where one was."""
        spare = self.risk * float(self.total) - float(self.sums[-1])
        if self.weighted:
            largest = max(spare, 0) / (self.largest_loss - self.risk) * float(self.unit)
            return f"a row gets no parameter where its weight is above {largest:.6g}"
        if bool(self.valid):
            return None
        needed = math.ceil(as_fraction(self.largest_loss) / as_fraction(self.risk)) - 1
        if self.rows < needed:
            return (
                f"risk {self.risk:g} with losses up to {self.largest_loss:g} needs at least "
                f"{needed} calibration rows; there were {self.rows}"
            )
        return (
            f"no parameter is safe enough: the mean loss at the last, with {self.largest_loss:g} "
            "for the new row, is "
            f"{(float(self.sums[-1]) + self.largest_loss) / (self.rows + 1):.6g}"
        )

    @property
    def guarantee(self) -> RiskGuarantee:
        """What holds, in numbers and in words."""
        safe = f"a loss of at most {self.risk:g} at the last parameter"
        if self.weighted:
            rows = (
                "rows that are independent in each law, and weights that are the ratio of the "
                "laws' densities"
            )
            return RiskGuarantee(self.risk, None, None, f"{rows}, and {safe}")
        least = max(self.risk - 2 * self.largest_loss / (self.rows + 1), 0)
        return RiskGuarantee(self.risk, None, least, f"exchangeable rows, and {safe}")


class ConformalRiskControl(Spec):
    """Conformal risk control: an expected loss that is not above a risk, for any bounded loss.

    Parameters are in an order in which losses fall. Chosen is the first with

        (L_1 + ... + L_n + largest_loss) / (n + 1) <= risk,

    L_i the loss of row i there. Split conformal prediction is the case of the miscoverage loss.

    Args:
        risk: the largest expected loss, in (0, largest_loss).
        largest_loss: an upper bound B on the loss; the lower one is 0.
        monotonise: replace each loss by the largest of its row from its parameter on. Without it
            losses that rise in any row are refused.

    Guarantee: for exchangeable rows, and parameters of which the last one loses no more than
    `risk` on any row, the expected loss of a new row is at most `risk`, over calibration and new
    rows together. Where losses are continuous in a parameter that is continuous, it is at least
    `risk - 2 B / (n + 1)`; a coarse grid loses more.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> scores, parameters = jnp.arange(1.0, 20.0), jnp.arange(21.0)
        >>> losses = scores[:, None] > parameters[None]
        >>> calibrated = conformal.ConformalRiskControl(0.1).calibrate(losses, parameters)
        >>> print(calibrated.parameter, calibrated.reason)
        18.0 None
        >>> print(conformal.conformal_quantile(scores, 0.9))
        18.0

    Reference: Angelopoulos, Bates, Fisch, Lei & Schuster 2022, theorems 1 and 2, and the
    section on distribution shift for weights.

    When it fails: it promises a mean over calibration sets; one set may lose more, and
    `RiskControllingSets` bounds how often. Monotonised losses are larger, and the choice more
    careful, than needed. The inequality is read with a tolerance of 16 units of rounding: whole
    losses are exact, others as exact as their sum.
    """

    risk: float = eqx.field(static=True, default=0.1)
    largest_loss: float = eqx.field(static=True, default=1.0, kw_only=True)
    monotonise: bool = eqx.field(static=True, default=False, kw_only=True)

    def __check_init__(self):
        check_risk(self.risk, self.largest_loss)

    def calibrate(
        self,
        losses: Losses,
        parameters: Real[ArrayLike, " parameters"],
        *,
        weights: Real[ArrayLike, " n"] | None = None,
    ) -> CalibratedRiskControl:
        """Add up the losses of rows that the model has not seen.

        Args:
            losses: `(n, parameters)`, in [0, largest_loss]; or a function from a parameter to the
                losses `(n,)`, which is evaluated for a few parameters at a time.
            parameters: `(parameters,)`, in the order in which losses fall; their values are not
                compared.
            weights: `(n,)`, not negative: the ratio of the new rows' density to that of these
                rows, up to a factor. Each new row then has a parameter of its own.

        Raises:
            ValueError: for shapes that do not belong together, losses outside [0, largest_loss]
                or NaN, losses that rise, weights that are negative. Inside jit these give a
                parameter of NaN that is not valid.
        """
        parameters = checks.as_vector("parameters", parameters)
        losses, parameters, rows = as_losses(losses, parameters)
        equal = jnp.ones(rows, parameters.dtype)
        of_rows, valid = as_ratios("weights", equal if weights is None else weights, (rows,))
        unit = largest_weight(of_rows)
        sums = reduce_parameters(
            _weighted_sums,
            losses,
            parameters,
            (of_rows / unit,),
            largest_loss=self.largest_loss,
            order="made to fall" if self.monotonise else "falling",
        )
        return CalibratedRiskControl(
            parameters.astype(sums.dtype),
            checks.poison(sums, valid.all()),
            jnp.sum(of_rows / unit).astype(sums.dtype),
            unit.astype(sums.dtype),
            rows,
            self.risk,
            self.largest_loss,
            weights is not None,
        )


def _weighted_sums(table, weights):
    return jnp.sum(table * weights[:, None].astype(table.dtype), 0)


@jax.jit
def _choose(parameters, sums, total, new, risk, largest_loss):
    allowed = risk * (total + new)
    allowed = allowed + SLACK * jnp.finfo(sums.dtype).eps * allowed - largest_loss * new
    zero = jnp.zeros(new.shape, jnp.int32)
    place = search(-sums, -allowed, zero, zero + sums.shape[0], "left")
    found = place < sums.shape[0]
    index = jnp.minimum(place, sums.shape[0] - 1)
    known = ~jnp.isnan(sums[-1]) & ~jnp.isnan(new)
    return Chosen(take(parameters, index, known), index, found & known)
