"""EnbPI: the narrowest interval of the newest errors of a bagged model."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from estimators._core import checks
from estimators.conformal._online._run import OnlineState
from estimators.conformal._online._spec import OnlineSpec
from estimators.conformal._online._window import Window, filled
from estimators.conformal._quantile import rank_table


class EnbPIState(OnlineState):
    """What `EnbPI` remembers.

    Attributes:
        window: the newest errors.
        ends: `(2,)`, the lower and the upper threshold in use.
        steps: errors since the start.
    """

    window: Window
    ends: Float[Array, "2"]
    steps: Int[Array, ""]


class EnbPI(OnlineSpec):
    """Ensemble batch prediction intervals (Xu & Xie 2021, 2023).

    The scores are signed errors, `y - prediction` of a bagged model, and the thresholds are two:
    the interval is `prediction + lower` to `prediction + upper`. Of n errors in the window, in
    order of size, they are

        e(i) and e(i + k),   k = ceil((n + 1) coverage)

    with the i that makes them closest: the share i / (n + 1) that is missed below is the paper's
    beta, here over all ranks instead of a grid. Every `every` steps they are taken anew.

    Args:
        coverage: share of the steps that should be covered in the long run, in (0, 1).
        window: how many errors of the past count; in the paper as many as training rows.
        every: after how many steps new errors are used; the paper's batch size.

    Begin with `init(errors)` on out-of-bag errors: of each training row, by the mean of those
    models of the bag that did not see it. The models are never fitted again.

    Guarantee: asymptotic, for errors that are stationary and strongly mixing and a model that
    is consistent. For exchangeable errors the choice of i costs some coverage, of
    order sqrt(1 / window).

    Example:
        >>> import jax
        >>> from estimators import conformal
        >>> errors = jax.random.normal(jax.random.key(0), (1000,))
        >>> spec = conformal.EnbPI(coverage=0.9, window=100, every=10)
        >>> run = spec.run(errors[100:], state=spec.init(errors[:100]))
        >>> print(f"{run.covered.mean():.2f}", run.thresholds.shape)
        0.89 (900, 2)

    Reference: Xu & Xie 2021, Conformal prediction interval for dynamic time-series; Xu & Xie
    2023, Conformal prediction for time series, algorithm 1.

    When it fails: it does not react to its misses, so that after a change it covers too little
    until the window has forgotten. Where the window holds too few errors both ends are infinite.
    """

    window: int = eqx.field(static=True, default=500, kw_only=True)
    every: int = eqx.field(static=True, default=1, kw_only=True)

    given = "errors that are stationary and strongly mixing, and a model that is consistent"

    def __check_init__(self):
        checks.integer("window", self.window, at_least=1)
        checks.integer("every", self.every, at_least=1)

    def _begin(self, scores):
        window = filled(scores, self.window)
        return EnbPIState(window, self._narrowest(window), jnp.asarray(0, jnp.int32))

    def _issue(self, state: EnbPIState):
        return state.ends

    def _observe(self, state: EnbPIState, threshold, score):
        window, steps = state.window.push(score), state.steps + 1
        ends = jnp.where(steps % self.every == 0, self._narrowest(window), threshold)
        return EnbPIState(window, ends, steps)

    def _covers(self, threshold, score):
        return (threshold[0] <= score) & (score <= threshold[1])

    def _narrowest(self, window: Window):
        size = window.ordered.shape[0]
        # How many errors there are is not known while tracing: all ranks that there could be are.
        rank = jnp.asarray(rank_table(size, self.coverage))[window.held]
        padded = jnp.concatenate([window.ordered, jnp.full_like(window.ordered, jnp.inf)])
        above = jax.lax.dynamic_slice_in_dim(padded, rank, size)
        # Where the upper one is infinite so may be the lower one, and nothing less it is no width.
        width = jnp.where(jnp.isposinf(above), jnp.inf, above - window.ordered)
        narrowest = jnp.min(width)
        # A smallest entry and then its place: two fast passes, where argmin is a slow one.
        best = jnp.min(jnp.where(width == narrowest, jnp.arange(size), size - 1))
        none = jnp.asarray([-jnp.inf, jnp.inf], width.dtype)
        found = jnp.stack([window.ordered[best], above[best]])
        found = jnp.where(jnp.isposinf(narrowest), none, found)
        return checks.poison(found, ~jnp.isnan(narrowest))
