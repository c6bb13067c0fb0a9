"""Scale-free online gradient descent: the threshold itself follows its misses."""

import math

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float

from estimators._core import checks, order_statistic
from estimators.conformal._online._run import OnlineState
from estimators.conformal._online._spec import OnlineSpec
from estimators.conformal._quantile import conformal_rank


class SFOGDState(OnlineState):
    """What `SFOGD` remembers.

    Attributes:
        threshold: the next one.
        squares: sum of the squared derivatives of the pinball loss.
    """

    threshold: Float[Array, ""]
    squares: Float[Array, ""]


class SFOGD(OnlineSpec):
    """Scale-free online gradient descent on the threshold (Bhatnagar et al. 2023).

    With g the derivative of the pinball loss at the threshold, `missed - (1 - coverage)`,

        threshold + (largest / sqrt(3)) g / sqrt(sum of g^2 so far)

    after each score. It starts at the conformal quantile of past scores, or at 0.

    Args:
        coverage: share of the steps that should be covered in the long run, in (0, 1).
        largest: the largest score that is expected, D in the paper; positive, in the unit of the
            scores. It sets the size of the steps.

    Guarantee: for scores in [0, largest], in any order, the share covered of T steps lies
    within `(2 + sqrt(3)) max(coverage, 1 - coverage) / sqrt(T)` of `coverage`. That is a
    summation by parts, sharper than the paper's theorem: thresholds stay within one step of
    [0, largest], and a miss less its expectation is a move by the size of the step.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> scores = jnp.abs(jnp.sin(jnp.arange(2000.0)))
        >>> run = conformal.SFOGD(coverage=0.9, largest=1.0).run(scores)
        >>> print(f"{run.covered.mean():.3f} {run.guarantee.at_least:.3f} {run.bound:.3f}")
        0.898 0.825 0.075

    Reference: Bhatnagar, Wang, Xiong & Bai 2023, Improved online conformal prediction via strongly
    adaptive online learning, algorithm 2; Orabona & Pal 2018 for the descent; Angelopoulos, Barber
    & Bates 2024 for the summation by parts.

    When it fails: steps shrink, so that a change late in a series is followed slowly; `SAOCP` is
    for that. A `largest` far too large makes the thresholds coarse.
    """

    largest: float | Float[ArrayLike, ""] = eqx.field(kw_only=True)

    given = "scores between 0 and `largest`, in any order, chosen by an adversary too"

    def __check_init__(self):
        checks.positive("largest", self.largest)

    def _begin(self, scores):
        return SFOGDState(past_quantile(scores, self.coverage), jnp.zeros((), scores.dtype))

    def _issue(self, state: SFOGDState):
        return state.threshold

    def _observe(self, state: SFOGDState, threshold, score):
        missed = score > threshold
        step = descent_step(self.largest, score.dtype)
        return SFOGDState(*descended(threshold, state.squares, missed, step, self.miss))

    def _bound(self, state: SFOGDState, steps):
        # Steps are largest / sqrt(3) / sqrt(squares); thresholds span largest and two first steps.
        squares = state.squares + steps * max(self.miss, 1 - self.miss) ** 2
        return (math.sqrt(3) + 2) * jnp.sqrt(squares) / steps


def descent_step(largest, dtype) -> Float[Array, ""]:
    """The size of the first step."""
    return jnp.asarray(largest, dtype) / math.sqrt(3)


def descended(
    thresholds: Float[Array, "*experts"],
    squares: Float[Array, "*experts"],
    missed: Bool[Array, "*experts"],
    step: Float[Array, ""],
    miss: float,
) -> tuple[Float[Array, "*experts"], Float[Array, "*experts"]]:
    """Thresholds moved by their misses, and the squares that scale the next move."""
    slope = missed - jnp.asarray(miss, thresholds.dtype)
    squares = squares + slope**2
    return thresholds + step * slope / jnp.sqrt(squares), squares


def past_quantile(scores: Float[Array, " n"], coverage: float) -> Float[Array, ""]:
    """The conformal quantile of scores, the largest of them where that is infinite; 0 of none."""
    n = scores.shape[0]
    if n == 0:
        return jnp.zeros((), scores.dtype)
    return order_statistic(scores, min(conformal_rank(n, coverage), n))
