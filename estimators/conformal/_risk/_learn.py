"""Learn then test: every parameter whose risks are small enough, with confidence."""

from typing import Literal

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Real

from estimators._core import Fitted, Spec, checks
from estimators.conformal._risk._bounds import BOUNDS, BoundName
from estimators.conformal._risk._choose import Chosen, Losses, check_risk, take
from estimators.conformal._risk._family import (
    bonferroni_test,
    fixed_sequence_test,
    graphical_test,
    holm_test,
)
from estimators.conformal._risk._guarantee import RiskGuarantee
from estimators.conformal._risk._table import as_losses, reduce_parameters

Family = Literal["bonferroni", "holm", "fixed sequence", "graph"]
FAMILIES = ("bonferroni", "holm", "fixed sequence", "graph")


class CalibratedLearnThenTest(Fitted):
    """Which parameters are valid; see `LearnThenTest`.

    Attributes:
        parameters: `(parameters, ...)`.
        p_values: `(parameters,)`, of the hypotheses that a risk is above the one asked for.
        valid: `(parameters,)`, where the hypothesis is rejected.
        risk: as in the specification.
        failure: as in the specification.
    """

    parameters: Float[Array, "parameters ..."]
    p_values: Float[Array, " parameters"]
    valid: Bool[Array, " parameters"]
    risk: float | tuple[float, ...] = eqx.field(static=True)
    failure: float = eqx.field(static=True)

    def choose(self, objective: Real[ArrayLike, " parameters"]) -> Chosen:
        """The valid parameter with the smallest objective, the first where several have it.

        Args:
            objective: `(parameters,)`, what is to be small. It may be computed from the
                calibration rows: the control is of all valid parameters together.

        Returns:
            A `Chosen`. Where none is valid the parameter is NaN, and the index -1.

        Raises:
            ValueError: for another shape, or values that are not finite.
        """
        goal = checks.as_vector("objective", objective, length=self.valid.shape[0])
        index = jnp.argmin(jnp.where(self.valid, goal, jnp.inf)).astype(jnp.int32)
        valid = self.valid.any() & ~jnp.isnan(goal).any()
        return Chosen(take(self.parameters, index, valid), jnp.where(valid, index, -1), valid)

    @property
    def reason(self) -> str | None:
        """Why no parameter is valid, or None where one is."""
        if bool(self.valid.any()):
            return None
        return (
            f"no parameter is valid with confidence {1 - self.failure:g}: the smallest of "
            f"{self.p_values.shape[0]} p-values is {float(self.p_values.min()):.3g}"
        )

    @property
    def guarantee(self) -> RiskGuarantee:
        """What holds for all valid parameters together, in numbers and in words."""
        given = (
            "independent rows of one law, and parameters, an order and weights that were not "
            "chosen with them; it holds for all valid parameters together"
        )
        return RiskGuarantee(self.risk, self.failure, None, given)


class LearnThenTest(Spec):
    """Learn then test: all parameters that are safe, for any bounded losses and several risks.

    For each parameter the hypothesis that a risk is above the one asked for has a p-value, the
    largest one over risks; a test of the family rejects some, and none that is true with
    probability `1 - failure`. Losses need not fall, and parameters may be of any dimension.

    Args:
        risk: the largest risk, in (0, largest_loss), or a tuple of them.
        failure: the largest probability that any valid parameter has a larger risk, in (0, 1).
        family: "bonferroni"; "holm"; "fixed sequence", in the order of the parameters, those most
            likely to be safe first; "graph", with `weights` and `transitions`.
        bound: of the p-values, as in `RiskControllingSets`.
        largest_loss: an upper bound on the loss, or a tuple of them; the lower one is 0.
        starts: of the fixed sequence, as in `fixed_sequence_test`.
        weights: of the graph, as in `graphical_test`.
        transitions: of the graph, as there.

    Guarantee: for independent rows of one law, P(a valid parameter has a risk above `risk`) <=
    failure over calibration rows. So any choice among the valid ones is safe.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> scores, parameters = jnp.arange(200) / 200, jnp.linspace(0.8, 1.0, 11)
        >>> losses = scores[:, None] > parameters[None]
        >>> calibrated = conformal.LearnThenTest(0.1, family="holm").calibrate(losses, parameters)
        >>> chosen = calibrated.choose(parameters)
        >>> print(f"{chosen.parameter:.2f}", int(calibrated.valid.sum()))
        0.96 3

    Reference: Angelopoulos, Bates, Candes, Jordan & Lei 2021, theorem 1 and section 2.

    When it fails: many parameters cost power in "bonferroni" and "holm", and a bad first one
    ends the fixed sequence; one with several starts, or a graph, lies between. A grid, an order
    or a graph that was chosen by a look at the calibration losses voids the control.
    """

    risk: float | tuple[float, ...] = eqx.field(static=True)
    failure: float = eqx.field(static=True, default=0.1)
    family: Family = eqx.field(static=True, default="fixed sequence")
    bound: BoundName = eqx.field(static=True, default="hoeffding-bentkus", kw_only=True)
    largest_loss: float | tuple[float, ...] = eqx.field(static=True, default=1.0, kw_only=True)
    starts: int = eqx.field(static=True, default=1, kw_only=True)
    weights: Float[ArrayLike, " parameters"] | None = eqx.field(default=None, kw_only=True)
    transitions: Float[ArrayLike, "parameters parameters"] | None = eqx.field(
        default=None, kw_only=True
    )

    def __check_init__(self):
        for risk, largest in self._risks:
            check_risk(risk, largest)
        checks.probability("failure", self.failure)
        checks.one_of("family", self.family, FAMILIES)
        checks.one_of("bound", self.bound, tuple(BOUNDS))
        if (self.starts != 1) and self.family != "fixed sequence":
            raise ValueError(f"starts must be 1 with family {self.family!r}; got {self.starts}")
        graph = [self.weights is not None, self.transitions is not None]
        if graph != [self.family == "graph"] * 2:
            raise ValueError(
                "weights and transitions must be given with family='graph', and only then; family "
                f"is {self.family!r}"
            )

    @property
    def _risks(self) -> list[tuple[float, float]]:
        risks = self.risk if isinstance(self.risk, tuple) else (self.risk,)
        largest = self.largest_loss
        each = largest if isinstance(largest, tuple) else (largest,) * len(risks)
        if len(each) != len(risks):
            raise ValueError(
                f"largest_loss must be one number or {len(risks)}, one a risk; got {len(each)}"
            )
        return list(zip(risks, each, strict=True))

    def calibrate(
        self,
        losses: Losses | tuple[Losses, ...],
        parameters: Real[ArrayLike, "parameters ..."],
    ) -> CalibratedLearnThenTest:
        """Test every parameter on rows that the model has not seen.

        Args:
            losses: `(n, parameters)`, in [0, largest_loss], or a function from a parameter to the
                losses `(n,)`; a tuple of these where there are several risks.
            parameters: `(parameters, ...)`.

        Raises:
            ValueError: for shapes that do not belong together, losses outside [0, largest_loss]
                or NaN. Inside jit these make no parameter valid.
        """
        bound, risks = BOUNDS[self.bound], self._risks
        several = losses if isinstance(losses, tuple) else (losses,)
        if len(several) != len(risks):
            raise ValueError(f"losses must be {len(risks)}, one a risk; got {len(several)}")
        found = []
        for one, (risk, largest) in zip(several, risks, strict=True):
            one, parameters, _ = as_losses(one, parameters, rows=bound.rows)
            found += [
                reduce_parameters(
                    bound.p_values,
                    one,
                    parameters,
                    (risk, self.failure, largest),
                    largest_loss=largest,
                )
            ]
        p_values = jnp.stack(found).max(0)
        return CalibratedLearnThenTest(
            jnp.asarray(parameters, p_values.dtype),
            p_values,
            self._rejected(p_values),
            self.risk,
            self.failure,
        )

    def _rejected(self, p_values) -> Bool[Array, " parameters"]:
        if self.family == "bonferroni":
            return bonferroni_test(p_values, self.failure)
        if self.family == "holm":
            return holm_test(p_values, self.failure)
        if self.weights is not None and self.transitions is not None:
            return graphical_test(
                p_values, self.failure, weights=self.weights, transitions=self.transitions
            )
        return fixed_sequence_test(p_values, self.failure, starts=self.starts)
