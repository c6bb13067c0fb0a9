"""Adaptive conformal inference: the level of the quantile follows the misses."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float

from estimators._core import checks
from estimators.conformal._online._run import OnlineState
from estimators.conformal._online._spec import OnlineSpec
from estimators.conformal._online._window import Window, filled


class ACIState(OnlineState):
    """What `ACI` remembers.

    Attributes:
        window: the newest scores.
        level: of the next quantile; it can leave [0, 1] by one step.
    """

    window: Window
    level: Float[Array, ""]


class ACI(OnlineSpec):
    """Adaptive conformal inference (Gibbs & Candes 2021).

    The threshold is the conformal quantile of the last scores at a level that starts at
    `coverage` and moves by

        level + step * (missed - (1 - coverage))

    after each score: up after a miss, down a little after a score that was covered.

    Args:
        coverage: share of the steps that should be covered in the long run, in (0, 1).
        step: not negative; the paper's gamma, and its 0.005. The larger, the faster it adapts and
            the more the thresholds fluctuate; 0 is split conformal on the window.
        window: how many scores of the past count.

    Guarantee: whatever the scores are, chosen by an adversary too, the share covered of T steps
    lies within `(max(level, 1 - level) + step) / (T step)` of `coverage`, with the level at the
    start (proposition 4.1). It is not about any single step.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> scores = jnp.abs(jnp.sin(jnp.arange(1000.0))) * jnp.where(jnp.arange(1000) < 500, 1, 3)
        >>> run = conformal.ACI(coverage=0.9, step=0.05, window=100).run(scores)
        >>> print(f"{run.covered.mean():.3f} {run.guarantee.at_least:.3f} {run.thresholds[-1]:.2f}")
        0.901 0.881 2.94

    Reference: Gibbs & Candes 2021, Adaptive conformal inference under distribution shift,
    equation 2.

    When it fails: a threshold is infinite at a level of 1 and more, and for a window that holds
    fewer scores than the level needs; it is -inf, the empty set, at 0 and less. After a long
    quiet time the window knows no score as large as those of a change.
    """

    step: float | Float[ArrayLike, ""] = eqx.field(default=0.005, kw_only=True)
    window: int = eqx.field(static=True, default=500, kw_only=True)

    given = "finite scores, in any order, chosen by an adversary too"

    def __check_init__(self):
        checks.positive("step", self.step, zero=True)
        checks.integer("window", self.window, at_least=1)

    def _begin(self, scores):
        level = jnp.asarray(1 - self.miss, scores.dtype)
        return ACIState(filled(scores, self.window), level)

    def _issue(self, state: ACIState):
        return state.window.quantile(state.level)

    def _observe(self, state: ACIState, threshold, score):
        level = followed(state.level, score > threshold, self.step, self.miss)
        return ACIState(state.window.push(score), level)

    def _level(self, state: ACIState):
        return state.level

    def _bound(self, state: ACIState, steps):
        furthest = jnp.maximum(state.level, 1 - state.level)
        return (furthest + self.step) / (steps * jnp.asarray(self.step))


def followed(
    levels: Float[Array, "*experts"], missed: Bool[Array, "*experts"], steps, miss: float
) -> Float[Array, "*experts"]:
    """Levels moved by their misses."""
    return levels + jnp.asarray(steps, levels.dtype) * (missed - jnp.asarray(miss, levels.dtype))
