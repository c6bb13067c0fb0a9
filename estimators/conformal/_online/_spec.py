"""One interface for thresholds that learn from one score at a time."""

import abc
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Real

from estimators._core import Spec, checks
from estimators.conformal._online._run import OnlineRun, OnlineState
from estimators.conformal._online._window import Window
from estimators.conformal._quantile import as_fraction


class OnlineSpec(Spec):
    """What all online methods have in common: issue a threshold, see the score, learn.

    Args:
        coverage: share of the steps that should be covered in the long run, in (0, 1).

    A threshold bounds a score. With the score `abs(y - prediction) / scale` the interval is
    `prediction - threshold * scale` to `prediction + threshold * scale`. With two runs at
    `(1 + coverage) / 2`, of the scores `y - prediction` and `prediction - y`, each side has its
    own: `prediction - lower` to `prediction + upper`, and each misses half as often.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> errors = jnp.sin(jnp.arange(400.0)) * jnp.linspace(1.0, 3.0, 400)
        >>> spec = conformal.ACI(coverage=0.95, step=0.05, window=50)
        >>> sides = jax.vmap(spec.run)(jnp.stack([-errors, errors]))
        >>> lower, upper = sides.thresholds
        >>> between = (-lower <= errors) & (errors <= upper)
        >>> print(f"{between.mean():.2f}", sides.state.level.shape)
        0.89 (2,)
    """

    coverage: float = eqx.field(static=True, default=0.9)

    # Without an annotation, which would make it a field: what the bound, or the limit, needs.
    given = "finite scores, in any order"

    def __check_init__(self):
        checks.probability("coverage", self.coverage)

    @property
    def miss(self) -> float:
        """The share that may be missed."""
        return float(1 - as_fraction(self.coverage))

    def init(self, scores: Real[ArrayLike, " n"] | None = None) -> OnlineState:
        """The state before the first threshold.

        Args:
            scores: `(n,)`, of the past, oldest first; None for none, in the default precision.

        Raises:
            ValueError: for another shape, or scores that are not finite.
        """
        past = jnp.zeros(0) if scores is None else checks.as_vector("scores", scores, at_least=0)
        return checks.poison(self._begin(past), jnp.isfinite(past).all())

    def threshold(self, state: OnlineState) -> Float[Array, "*ends"]:
        """The threshold for the next score."""
        return _threshold(self, state)

    def update(self, state: OnlineState, score: Real[ArrayLike, ""]) -> OnlineState:
        """The state after a score has been seen.

        Raises:
            ValueError: for a score that is not one finite number. Inside jit such a score makes
                every later threshold NaN.
        """
        score = checks.finite("score", checks.as_number("score", score))
        return _update(self, state, score.astype(_dtype(state)))

    def run(
        self,
        scores: Real[ArrayLike, " T"],
        *,
        state: OnlineState | None = None,
        forecasts: Real[ArrayLike, " T"] | None = None,
    ) -> OnlineRun:
        """Thresholds for a series of scores, each from the scores before it.

        It is `threshold` and `update` in turn, as one compiled loop. A series in parts, each from
        the state that the one before left, gives the thresholds of the series in one.

        Args:
            scores: `(T,)`, in order of time.
            state: where to begin; None for no past.
            forecasts: `(T,)`, of each score, made before it was seen (a scorecaster). The
                thresholds are then forecasts, plus thresholds for what they leave of the scores.

        Raises:
            ValueError: for shapes that differ, or values that are not finite. Inside jit
                thresholds are NaN from the first such score on.
        """
        scores = checks.as_vector("scores", scores)
        if forecasts is not None:
            forecasts = checks.as_vector("forecasts", forecasts, length=scores.shape[0])
        final, thresholds, covered, levels, bound = _run(self, state, scores, forecasts)
        return OnlineRun(thresholds, covered, levels, final, bound, self.coverage, self.given)

    def bound(self, steps: int, state: OnlineState | None = None) -> Float[Array, ""]:
        """How far from `coverage` the share covered of the next steps can lie.

        Args:
            steps: how many.
            state: from where; None for no past.

        Returns:
            A number that holds for every series of scores as in `given`; +inf where there is none.
        """
        steps = checks.integer("steps", steps, at_least=1)
        state = self.init() if state is None else state
        return _bound(self, state, steps)

    @abc.abstractmethod
    def _begin(self, scores: Float[Array, " n"]) -> OnlineState:
        """The state after the scores of the past."""

    @abc.abstractmethod
    def _issue(self, state) -> Float[Array, "*ends"]:
        """The threshold."""

    @abc.abstractmethod
    def _observe(self, state, threshold, score: Float[Array, ""]) -> OnlineState:
        """The state after a score, for which a threshold had been issued."""

    def _series(self, state, scores: Float[Array, " T"]):
        """The state after a series, the thresholds, and their levels."""
        return _in_turn(self, state, scores)

    def _covers(self, threshold, score: Float[Array, ""]) -> Bool[Array, ""]:
        """Whether a score is covered."""
        return score <= threshold

    def _level(self, state) -> Float[Array, ""] | None:
        """The level at which the threshold is taken."""
        return None

    def _bound(self, state, steps: int) -> float | Float[Array, ""]:
        """See `bound`."""
        return jnp.inf


@jax.jit
def _threshold(spec: OnlineSpec, state):
    return spec._issue(state)


@jax.jit
def _update(spec: OnlineSpec, state, score):
    return _learned(spec, state, spec._issue(state), score)


@functools.partial(jax.jit, static_argnames="steps")
def _bound(spec: OnlineSpec, state, steps: int):
    return jnp.asarray(spec._bound(state, steps), _dtype(state))


@jax.jit
def _run(spec: OnlineSpec, state, scores, forecasts):
    """All of a run: from the first score on that is not finite nothing is known."""
    state = spec._begin(scores[:0]) if state is None else state
    scores = scores.astype(_dtype(state))
    left = scores if forecasts is None else scores - forecasts.astype(scores.dtype)
    final, thresholds, levels = spec._series(state, left)
    # Neither this nor the poison in the loop, where they would take a third of the time.
    covered = jax.vmap(spec._covers)(thresholds, left)
    known = jnp.cumulative_prod(jnp.isfinite(left).astype(jnp.int32), include_initial=True) > 0
    thresholds, levels = jax.vmap(checks.poison)((thresholds, levels), known[:-1])
    if forecasts is not None:
        ends = (1,) * (thresholds.ndim - 1)
        thresholds = thresholds + forecasts.astype(scores.dtype).reshape(-1, *ends)
    bound = _bound(spec, state, scores.shape[0])
    return checks.poison(final, known[-1]), thresholds, covered & known[:-1], levels, bound


def _in_turn(spec: OnlineSpec, state, scores):
    """Threshold and update in turn, with as little in the loop as there can be.

    The scores of a window by age are those of the series, a place further at each step, and their
    number is known beforehand: to carry them along would take most of the time.
    """
    steps, windows = scores.shape[0], _windows(state)
    series = [jnp.concatenate([window.recent, scores]) for window in windows]
    held = [
        jnp.minimum(window.held + jnp.arange(steps + 1, dtype=jnp.int32), window.ordered.size)
        for window in windows
    ]

    def step(bare, now):
        score, oldest, held = now
        before = _aged(bare, [one[None] for one in oldest], held)
        threshold = spec._issue(before)
        after = spec._observe(before, threshold, score)
        return _aged(after, nothing, none), (threshold, spec._level(before))

    nothing = [along[:0] for along in series]
    none = [jnp.zeros((), jnp.int32) for _ in windows]
    each = [along[:steps] for along in series], [one[:steps] for one in held]
    bare, (thresholds, levels) = jax.lax.scan(step, _aged(state, nothing, none), (scores, *each))
    final = _aged(bare, [along[steps:] for along in series], [one[-1] for one in held])
    return final, thresholds, levels


def _windows(state) -> list[Window]:
    return [leaf for leaf in jax.tree.leaves(state, is_leaf=_is_window) if _is_window(leaf)]


def _aged(state, recents: list, held: list):
    """The state with what its windows are to know of their scores by age, and their number."""
    rest = zip(recents, held, strict=True)
    return jax.tree.map(
        lambda leaf: leaf.aged(*next(rest)) if _is_window(leaf) else leaf,
        state,
        is_leaf=_is_window,
    )


def _is_window(node) -> bool:
    return isinstance(node, Window)


def _learned(spec: OnlineSpec, state, threshold, score):
    return checks.poison(spec._observe(state, threshold, score), jnp.isfinite(score))


def _dtype(state):
    floats = (leaf.dtype for leaf in jax.tree.leaves(state))
    return next(dtype for dtype in floats if jnp.issubdtype(dtype, jnp.floating))
