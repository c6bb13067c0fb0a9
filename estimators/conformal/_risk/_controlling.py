"""Risk-controlling sets: the first parameter from which on the risk is small, with confidence."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Real

from estimators._core import Fitted, Spec, checks
from estimators.conformal._risk._bounds import BOUNDS, BoundName
from estimators.conformal._risk._choose import Losses, check_risk, take
from estimators.conformal._risk._family import fixed_sequence_test
from estimators.conformal._risk._guarantee import RiskGuarantee
from estimators.conformal._risk._table import as_losses, reduce_parameters


class CalibratedRiskControllingSets(Fitted):
    """A parameter of controlled risk; see `RiskControllingSets`.

    Attributes:
        parameters: `(parameters,)`, the safest last.
        p_values: `(parameters,)`, of the hypotheses that the risk is above the one asked for.
        index: place of the parameter that was chosen; the last where none was found.
        valid: whether one was found. Nothing is known of the last one where it was not, unless
            its risk is small by its nature.
        risk: as in the specification.
        failure: as in the specification.
    """

    parameters: Float[Array, " parameters"]
    p_values: Float[Array, " parameters"]
    index: Int[Array, ""]
    valid: Bool[Array, ""]
    risk: float = eqx.field(static=True)
    failure: float = eqx.field(static=True)

    @property
    def parameter(self) -> Float[Array, ""]:
        """The parameter that was chosen; NaN for losses that could not be used."""
        return take(self.parameters, self.index, ~jnp.isnan(self.p_values).any())

    @property
    def reason(self) -> str | None:
        """Why no parameter was found, or None where one was."""
        if bool(self.valid):
            return None
        return (
            f"no parameter has a risk of at most {self.risk:g} with confidence "
            f"{1 - self.failure:g}: at the last the p-value is {float(self.p_values[-1]):.3g}"
        )

    @property
    def guarantee(self) -> RiskGuarantee:
        """What holds, in numbers and in words."""
        given = (
            "independent rows of one law, a risk that falls with the parameter, and a last "
            f"parameter with a risk of at most {self.risk:g}"
        )
        return RiskGuarantee(self.risk, self.failure, None, given)


class RiskControllingSets(Spec):
    """Risk-controlling prediction sets: a risk that is small with confidence, for a bounded loss.

    Parameters are in an order in which losses fall. Chosen is the first from which on the upper
    confidence bound of the risk, at level `1 - failure`, is nowhere above `risk`; in other words,
    the p-value of a larger risk is at most `failure`. `risk_upper_bounds` has the bounds.

    Args:
        risk: the largest risk (expected loss at the parameter), in (0, largest_loss).
        failure: the largest probability that the risk is above it, in (0, 1).
        bound: "hoeffding-bentkus"; "waudby-smith-ramdas", which bets on the rows in their order
            and is the sharpest for losses of small variance; "bernstein", empirical, of Maurer &
            Pontil; "hoeffding".
        largest_loss: an upper bound on the loss; the lower one is 0.
        monotonise: as in `ConformalRiskControl`.

    Guarantee: for independent rows of one law and a risk that falls with the parameter,
    P(risk of the parameter chosen > risk) <= failure over calibration rows.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> scores, parameters = jnp.arange(200) / 200, jnp.linspace(0.8, 1.0, 11)
        >>> losses = scores[:, None] > parameters[None]
        >>> calibrated = conformal.RiskControllingSets(0.1).calibrate(losses, parameters)
        >>> print(f"{calibrated.parameter:.2f}", calibrated.valid)
        0.94 True

    Reference: Bates, Angelopoulos, Lei, Malik & Jordan 2021, theorem 1 and section 3.

    When it fails: where no parameter can be shown to be safe the last one is given, `valid` is
    false and `reason` says so. Rows in clusters are not independent. For a risk that does not
    fall, `LearnThenTest`.
    """

    risk: float = eqx.field(static=True)
    failure: float = eqx.field(static=True, default=0.1)
    bound: BoundName = eqx.field(static=True, default="hoeffding-bentkus")
    largest_loss: float = eqx.field(static=True, default=1.0, kw_only=True)
    monotonise: bool = eqx.field(static=True, default=False, kw_only=True)

    def __check_init__(self):
        check_risk(self.risk, self.largest_loss)
        checks.probability("failure", self.failure)
        checks.one_of("bound", self.bound, tuple(BOUNDS))

    def calibrate(
        self, losses: Losses, parameters: Real[ArrayLike, " parameters"]
    ) -> CalibratedRiskControllingSets:
        """Choose the parameter on rows that the model has not seen.

        Args:
            losses: `(n, parameters)`, in [0, largest_loss], in an order that does not depend on
                them; or a function, as in `ConformalRiskControl.calibrate`.
            parameters: `(parameters,)`, in the order in which losses fall.

        Raises:
            ValueError: as `ConformalRiskControl.calibrate`, with the same inside jit.
        """
        bound = BOUNDS[self.bound]
        parameters = checks.as_vector("parameters", parameters)
        losses, parameters, _ = as_losses(losses, parameters, rows=bound.rows)
        p_values = reduce_parameters(
            bound.p_values,
            losses,
            parameters,
            (self.risk, self.failure, self.largest_loss),
            largest_loss=self.largest_loss,
            order="made to fall" if self.monotonise else "falling",
        )
        # From the safest on, as long as there is no failure: one test after the other.
        safe = fixed_sequence_test(p_values[::-1], self.failure)
        index = p_values.shape[0] - jnp.maximum(safe.sum(dtype=jnp.int32), 1)
        parameters = parameters.astype(p_values.dtype)
        return CalibratedRiskControllingSets(
            parameters, p_values, index, safe[0], self.risk, self.failure
        )
