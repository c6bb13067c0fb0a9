"""What a series of thresholds gave, and what is proven of it."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from estimators._core import Fitted, Stored
from estimators.conformal._guarantee import Guarantee


class OnlineState(Stored):
    """All that a method remembers between two scores, in arrays of fixed shape."""


class OnlineRun(Fitted):
    """A series of thresholds, each issued before its score; see `OnlineSpec.run`.

    Attributes:
        thresholds: `(T,)`, or `(T, 2)` for a method with a lower and an upper one.
        covered: `(T,)`, whether the score was not above its threshold, or between the two.
        levels: `(T,)`, at which level of the window each threshold was taken; None where the
            method has none.
        state: after the last score, to go on from.
        bound: how far the share covered can lie from `coverage`, for scores as in `given`; +inf
            where nothing is proven.
        coverage: long-run coverage asked for.
        given: what the bound, or else the limit, needs.
    """

    thresholds: Float[Array, "T *ends"]
    covered: Bool[Array, " T"]
    levels: Float[Array, " T"] | None
    state: OnlineState
    bound: Float[Array, ""]
    coverage: float = eqx.field(static=True)
    given: str = eqx.field(static=True)

    @property
    def reason(self) -> str | None:
        """How many thresholds are infinite; None where none is."""
        infinite = np.isinf(np.asarray(self.thresholds))
        if not infinite.any():
            return None
        return (
            f"{infinite.sum()} of {infinite.size} thresholds are infinite: the window held too few "
            "scores, or too many scores in a row were missed, or covered"
        )

    @property
    def guarantee(self) -> Guarantee:
        """What holds for the share of steps that is covered, whatever the single step does."""
        steps, bound = self.covered.shape[-1], float(jnp.max(self.bound))
        over = f"the {steps} steps of this run"
        asked = float(self.coverage)
        if np.isinf(bound):
            return Guarantee(asked, None, None, "asymptotic", over, self.given)
        ends = max(asked - bound, 0.0), min(asked + bound, 1.0)
        return Guarantee(asked, *ends, "every series", over, self.given)
