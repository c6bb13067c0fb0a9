"""How often given lower bounds cover, judged on test rows that are censored."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Real

from estimators._core import checks
from estimators.conformal._survival._weights import inverse_censoring_weights


class CensoredCoverage(NamedTuple):
    """The estimated coverage of lower bounds, and confidence limits.

    Attributes:
        coverage: the estimate.
        lower: lower confidence limit.
        upper: upper confidence limit.
    """

    coverage: Float[Array, ""]
    lower: Float[Array, ""]
    upper: Float[Array, ""]


def censored_coverage(
    lower_bounds: Real[ArrayLike, " n"],
    times: Real[ArrayLike, " n"],
    events: Bool[ArrayLike, " n"] | Real[ArrayLike, " n"],
    probabilities: Real[ArrayLike, " n"] | None = None,
    *,
    confidence: float = 0.95,
) -> CensoredCoverage:
    """The share of times at or above their bounds, where not all times are seen.

        1 - mean(w_i 1{time_i < bound_i}),   w_i = event_i / P(C >= time_i | x_i)

    Rows of both kinds enter the mean. An event before its bound was a miss and counts for those
    that censoring hid; whatever else happened is no miss that was seen. The limits are those of
    a score interval: the variance of the mean at a miss rate m is `(m W - m**2) / n`, with W
    the mean weight of the misses. Where all weights are 1 it is Wilson's.

    Args:
        lower_bounds: `(n,)`, made without these rows.
        times: `(n,)`, when each row was last seen.
        events: `(n,)`, booleans or 0 and 1: whether the event was seen then.
        probabilities: `(n,)`, in (0, 1], P(C >= time_i | x_i); None takes the Kaplan-Meier curve
            of these rows, for a censoring that does not depend on x.
        confidence: of the two limits together, in (0, 1).

    Returns:
        A `CensoredCoverage`. Where no miss was seen W is the largest weight of a row with an
        event, and 1 where there is none.

    Raises:
        ValueError: as `inverse_censoring_weights`, and for bounds that are not finite. Inside
            jit these give NaN.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> times, events = jnp.arange(1.0, 11.0), jnp.array([1, 0] * 5)
        >>> found = conformal.censored_coverage(jnp.full(10, 3.5), times, events)
        >>> print(f"{found.coverage:.3f} ({found.lower:.3f} to {found.upper:.3f})")
        0.788 (0.457 to 0.940)

    Reference: Robins & Rotnitzky 1992 for the weights; Wilson 1927 for the interval.

    When it fails: weights from the Kaplan-Meier curve are wrong where censoring depends on x.
    The interval takes weights as known, which is a little wide where they are estimated.
    """
    checks.probability("confidence", confidence)
    weights = inverse_censoring_weights(times, events, probabilities)
    bounds = checks.as_vector("lower_bounds", lower_bounds, length=weights.shape[0])
    times = jnp.asarray(times).astype(weights.dtype)
    bounds = jnp.where(jnp.isfinite(bounds), bounds, jnp.nan).astype(weights.dtype)
    return _estimate(weights, times, bounds, jnp.asarray(confidence, weights.dtype))


@jax.jit
def _estimate(weights, times, bounds, confidence):
    misses = jnp.where(times < bounds, weights, 0)
    rate, total = jnp.mean(misses), jnp.sum(misses)
    largest = jnp.maximum(jnp.max(weights), 1)
    weight = jnp.where(total > 0, jnp.sum(misses**2) / jnp.where(total > 0, total, 1), largest)
    # The two rates m with (m - rate)**2 = z**2 (m weight - m**2) / n.
    share = jax.scipy.special.ndtri((1 + confidence) / 2) ** 2 / weights.shape[0]
    centre = (rate + share * weight / 2) / (1 + share)
    inside = share * (weight * rate - rate**2) + (share * weight / 2) ** 2
    reach = jnp.sqrt(jnp.maximum(inside, 0)) / (1 + share)
    ends = jnp.clip(1 - jnp.stack([rate, centre + reach, centre - reach]), 0, 1)
    broken = jnp.isnan(weights).any() | jnp.isnan(bounds).any()
    return CensoredCoverage(*jnp.where(broken, jnp.nan, ends))
