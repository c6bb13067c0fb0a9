"""Conformal PID control: a threshold that tracks, and a push back that grows with the debt."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from estimators._core import checks
from estimators.conformal._online._run import OnlineState
from estimators.conformal._online._sfogd import past_quantile
from estimators.conformal._online._spec import OnlineSpec
from estimators.conformal._online._window import Window, filled, sliding


class PIDState(OnlineState):
    """What `ConformalPID` remembers.

    Attributes:
        window: the newest scores, for their range.
        tracker: the proportional part of the threshold.
        missed: how many scores were missed.
        steps: of how many.
    """

    window: Window
    tracker: Float[Array, ""]
    missed: Int[Array, ""]
    steps: Int[Array, ""]


class ConformalPID(OnlineSpec):
    """Conformal PID control (Angelopoulos, Candes & Tibshirani 2023).

    The threshold is a tracker plus an integrator. With R the range of the last scores, and
    E the misses so far less `(1 - coverage) t`, after t scores,

        tracker + step R (missed - (1 - coverage))                        (P)
        integral R tan(E log(t + 1) / (saturation (t + 1)))               (I)

    with an infinite tangent from pi / 2 on: too many misses, and the next threshold is infinite.
    The part D is a forecast of each score, the `forecasts` of `run`: P and I then act on what
    the forecasts leave. The paper's gain of I is a number in the unit of the scores, here it is
    `integral` times their range, and R is the range where it has the largest score.

    Args:
        coverage: share of the steps that should be covered in the long run, in (0, 1).
        step: not negative, in units of R; the paper's 0.1.
        integral: not negative, in units of R; 0 leaves P alone (quantile tracking).
        saturation: positive, C in the paper. The smaller, the closer is coverage held to the
            target, and the more the thresholds fluctuate.
        window: how many scores of the past R is taken of; 100 in the paper's code.

    Guarantee: with an integral, whatever the scores are, the share covered of T steps lies within
    `(saturation (pi / 2) (T + 1) / log(T + 1) + 1) / T` of `coverage`, for T from 3. That is the
    paper's bound for an integrator that saturates; it needs no bounded scores, as this one
    becomes infinite.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> scores = jnp.abs(jnp.sin(jnp.arange(1000.0))) * jnp.where(jnp.arange(1000) < 500, 1, 3)
        >>> run = conformal.ConformalPID(coverage=0.9, saturation=0.2).run(scores)
        >>> print(f"{run.covered.mean():.3f} {run.guarantee.at_least:.3f}")
        0.890 0.853

    Reference: Angelopoulos, Candes & Tibshirani 2023, Conformal PID control for time series
    prediction, section 2.

    When it fails: a threshold follows the last misses more than the law of the scores, so
    that a single step may have a coverage far from the target. While R is 0, as before
    the second score, it does not move.
    """

    step: float | Float[ArrayLike, ""] = eqx.field(default=0.1, kw_only=True)
    integral: float | Float[ArrayLike, ""] = eqx.field(default=1.0, kw_only=True)
    saturation: float | Float[ArrayLike, ""] = eqx.field(default=0.5, kw_only=True)
    window: int = eqx.field(static=True, default=100, kw_only=True)

    given = "finite scores, in any order, chosen by an adversary too, and an integral above 0"

    def __check_init__(self):
        checks.positive("step", self.step, zero=True)
        checks.positive("integral", self.integral, zero=True)
        checks.positive("saturation", self.saturation)
        checks.integer("window", self.window, at_least=1)

    def _begin(self, scores):
        none = jnp.asarray(0, jnp.int32)
        start = past_quantile(scores, self.coverage)
        return PIDState(filled(scores, self.window), start, none, none)

    def _issue(self, state: PIDState):
        rate = self._rate(state.steps, state.tracker.dtype)
        debt = self._debt(state.missed, state.steps, state.tracker.dtype)
        return state.tracker + self._push(debt, rate, _range(state.window))

    def _observe(self, state: PIDState, threshold, score):
        missed = score > threshold
        window = state.window.push(score)
        tracker = state.tracker + self._move(missed, _range(window))
        return PIDState(window, tracker, state.missed + missed, state.steps + 1)

    def _series(self, state: PIDState, scores):
        # Ranges are of scores alone: with all of them first, the loop is one of a few numbers.
        count, width = scores.shape[0], state.window.ordered.shape[0]
        along = jnp.concatenate([state.window.recent, scores])
        held = jnp.minimum(state.window.held + jnp.arange(count + 1, dtype=jnp.int32), width)
        highest = sliding(jnp.maximum, jnp.where(jnp.isposinf(along), -jnp.inf, along), width)
        ranges = jnp.where(held > 0, highest - sliding(jnp.minimum, along, width), 0)
        steps = state.steps + jnp.arange(count + 1, dtype=jnp.int32)

        def step(carry, now):
            tracker, missed = carry
            score, steps, rate, before, after = now
            debt = self._debt(missed, steps, scores.dtype)
            threshold = tracker + self._push(debt, rate, before)
            miss = score > threshold
            return (tracker + self._move(miss, after), missed + miss), threshold

        rates = self._rate(steps[:-1], scores.dtype)
        each = scores, steps[:-1], rates, ranges[:-1], ranges[1:]
        (tracker, missed), thresholds = jax.lax.scan(step, (state.tracker, state.missed), each)
        recent = along[count:]
        window = Window(recent, jnp.sort(recent), held[-1])
        return PIDState(window, tracker, missed, steps[-1]), thresholds, None

    def _rate(self, steps, dtype):
        """By what the debt is multiplied in the tangent."""
        after = (steps + 1).astype(dtype)
        return jnp.log(after) / (jnp.asarray(self.saturation, dtype) * after)

    def _push(self, debt, rate, spread):
        """The integrator."""
        angle, gain = debt * rate, jnp.asarray(self.integral, debt.dtype)
        saturated = jnp.abs(angle) >= jnp.pi / 2
        push = gain * spread * jnp.tan(jnp.where(saturated, 0, angle))
        return jnp.where(saturated & (gain > 0), jnp.sign(angle) * jnp.inf, push)

    def _move(self, missed, spread):
        """The step of the tracker."""
        move = jnp.asarray(self.step, spread.dtype) * spread
        return move * (missed - jnp.asarray(self.miss, spread.dtype))

    def _debt(self, missed, steps, dtype):
        return missed - jnp.asarray(self.miss, dtype) * steps

    def _bound(self, state: PIDState, steps):
        # The function of t falls until 3 and is there as at 1: its largest value so far.
        after = jnp.maximum(state.steps + steps, 3) + 1
        limit = jnp.asarray(self.saturation) * jnp.pi / 2 * after / jnp.log(after) + 1
        debt = self._debt(state.missed, state.steps, state.tracker.dtype)
        bound = (limit + jnp.abs(debt)) / steps
        return jnp.where(jnp.asarray(self.integral) > 0, bound, jnp.inf)


def _range(window: Window):
    largest = window.ordered[jnp.maximum(window.held, 1) - 1]
    # Of an empty window infinity less infinity.
    return jnp.where(window.held > 0, largest - window.ordered[0], 0)
