"""The Kaplan-Meier curve: the law of a time that is seen only until it is censored."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Real

from estimators._core import Fitted, checks, normal_interval
from estimators.conformal._survival._inputs import as_observed


class KaplanMeier(Fitted):
    """A survival curve, which steps down at the times of events; see `kaplan_meier`.

    Attributes:
        times: `(n,)`, the observed times in order.
        survival: `(n,)`, the curve after each, up to that row: equal times are one step, and the
            last row of them has the value.
        hazard_variance: `(n,)`, Greenwood's sum up to each, the variance of the curve's logarithm.
    """

    times: Float[Array, " n"]
    survival: Float[Array, " n"]
    hazard_variance: Float[Array, " n"]

    def at(self, t: Real[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
        """The probability of a time above `t`."""
        return self._read(t, "right")[0]

    def before(self, t: Real[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
        """The probability of a time at or above `t`."""
        return self._read(t, "left")[0]

    def variance(self, t: Real[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
        """Greenwood's variance of `at(t)`; 0 where the curve is 1 or 0."""
        survival, of_log = self._read(t, "right")
        # Where the curve ends the sum is infinite, and the variance has a limit.
        return jnp.where(survival == 0, 0, survival**2 * jnp.where(survival == 0, 0, of_log))

    def interval(
        self, t: Real[ArrayLike, "*batch"], *, coverage: float = 0.95
    ) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
        """Confidence limits of `at(t)`, normal on the scale of log(-log), each `(*batch,)`.

        They are limits at each time by itself. Before the first event both are 1; where the
        curve has reached 0 nothing is known on that scale, and they are 0 and 1.
        """
        survival, of_log = self._read(t, "right")
        inside = (survival > 0) & (survival < 1)
        log = jnp.log(jnp.where(inside, survival, 0.5))
        error = jnp.sqrt(jnp.where(inside, of_log, 0)) / -log
        low, high = normal_interval(jnp.log(-log), error, coverage)
        lower = jnp.where(inside, jnp.exp(-jnp.exp(high)), survival)
        upper = jnp.where(inside, jnp.exp(-jnp.exp(low)), 1 + 0 * survival)
        return lower, upper

    def quantile(self, levels: Real[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
        """The least time by which a share `levels` has had its event; +inf if not seen.

        Args:
            levels: in (0, 1); 0.5 is the median.
        """
        levels = checks.as_float("levels", levels).astype(self.times.dtype)
        possible = (levels > 0) & (levels < 1)
        if checks.is_concrete(levels) and not checks.holds(jnp.all, possible):
            raise ValueError(f"levels must lie strictly between 0 and 1; got {levels}")
        found = _first_reached(self.times, self.survival, levels)
        return jnp.where(possible & ~jnp.isnan(self.survival[0]), found, jnp.nan)

    def _read(self, t, side):
        t = checks.finite("t", checks.as_float("t", t)).astype(self.times.dtype)
        return _step(self, t, side)


def kaplan_meier(
    times: Real[ArrayLike, " n"],
    events: Bool[ArrayLike, " n"] | Real[ArrayLike, " n"],
    weights: Real[ArrayLike, " n"] | None = None,
    *,
    reverse: bool = False,
) -> KaplanMeier:
    """The Kaplan-Meier estimate of the law of a censored time.

        S(t) = prod_{u <= t} (1 - d_u / r_u)

    with d_u events at the time u among r_u rows still at risk. Where times are equal, events
    come before censorings. Greenwood's variance of log S is `sum d_u / (r_u (r_u - d_u))`.
    O(n log n).

    Args:
        times: `(n,)`, when each row was last seen; not negative.
        events: `(n,)`, booleans or 0 and 1: whether the event was seen then.
        weights: `(n,)`, not negative; a weight of 2 is a row twice, also in the variance.
        reverse: the curve of the censoring time in place of that of the event. Rows whose event
            comes at a time are not at risk of being censored at it.

    Returns:
        A `KaplanMeier`, with `at`, `before`, `quantile`, `variance` and `interval`.

    Raises:
        ValueError: for shapes that differ, times that are negative or not finite, events that
            are not 0 or 1. Inside jit these give NaN.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> curve = conformal.kaplan_meier(jnp.array([1.0, 2.0, 2.0, 5.0]), jnp.array([1, 1, 0, 1]))
        >>> print(curve.at(jnp.array([0.5, 1.0, 2.0, 5.0])), curve.quantile(0.5))
        [1.   0.75 0.5  0.  ] 2.0

    Reference: Kaplan & Meier 1958; Greenwood 1926 for the variance; Kalbfleisch & Prentice 2002,
    section 1.4, for limits on the scale of log(-log).

    When it fails: where the censoring depends on the time itself, also through features. Beyond
    the last event the curve stays where it is, and is no estimate.
    """
    times, seen = as_observed(times, events)
    weights = checks.as_weights("weights", weights, times.shape[0], times.dtype)
    return _curve(times, seen, weights, reverse)


@functools.partial(jax.jit, static_argnames="reverse")
def _curve(times, events, weights, reverse: bool) -> KaplanMeier:
    valid = ~jnp.isnan(times).any() & (weights >= 0).all() & (jnp.sum(weights) > 0)
    # With events first, rows that are equal in time can be taken one by one: the factors of
    # their product, and the terms of Greenwood's sum, cancel into those of the whole step.
    times, censored, weights = jax.lax.sort((times, ~events, weights), num_keys=2)
    remaining = jnp.cumsum(weights[::-1])[::-1]
    after = jnp.append(remaining[1:], jnp.zeros(1, times.dtype))
    falls = (censored == reverse) & (weights > 0)
    before = jnp.where(falls, remaining, 1)
    share = jnp.where(falls, jnp.minimum(after / before, 1), 1)
    terms = jnp.where(falls, weights / before / after, 0)
    # Products are formed in pairs, and their rounding would let the curve rise by a digit.
    survival = jax.lax.cummin(jnp.cumprod(share))
    return checks.poison(KaplanMeier(times, survival, jnp.cumsum(terms)), valid)


@functools.partial(jax.jit, static_argnames="side")
def _step(curve: KaplanMeier, t, side: str):
    place = jnp.searchsorted(curve.times, t, side=side)

    def value(start, steps):
        found = jnp.append(jnp.full(1, start, steps.dtype), steps)[place]
        return jnp.where(jnp.isnan(t) | jnp.isnan(steps[0]), jnp.nan, found)

    return value(1, curve.survival), value(0, curve.hazard_variance)


@jax.jit
def _first_reached(times, survival, levels):
    # A share that is reached exactly may be missed by the rounding of the product.
    slack = 16 * jnp.finfo(survival.dtype).eps
    place = jnp.searchsorted(-survival, levels - 1 - slack)
    return jnp.append(times, jnp.inf)[place]
