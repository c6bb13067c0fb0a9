"""Bounds that fall as a threshold rises, and the least threshold at which one lies below a time.

Either a predicted time that is moved down, or a predicted quantile function that is read at a
lower level. No bound leaves the range from 0 to the cutoff, beyond which nothing is known.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from estimators._core import checks
from estimators.conformal._predictive._centres import as_quantiles
from estimators.conformal._predictive._piecewise import level_at, value_at


def as_predictions(predictions, levels: Float[Array, " L"] | None) -> Float[Array, "..."]:
    """Check predicted times, or predicted quantiles where there are levels."""
    if levels is not None:
        return as_quantiles(predictions, levels.shape[0])
    return checks.finite("predictions", checks.as_float("predictions", predictions))


@jax.jit
def scores(
    predictions: Float[Array, "n ..."],
    levels: Float[Array, " L"] | None,
    times: Float[Array, " n"],
    cutoff: Float[Array, ""],
) -> Float[Array, " n"]:
    """The least threshold at which the bound does not lie above the time."""
    if levels is None:
        # The predicted quantile of the time is that of the time up to the cutoff, once cut.
        least = jnp.minimum(predictions, cutoff) - times
    else:
        highest = functools.partial(level_at, side="right")
        least = -jax.vmap(highest, (0, None, 0))(predictions, levels, times)
    # No bound lies above the cutoff, so such a time is above all of them.
    return jnp.where((times >= cutoff) & ~jnp.isnan(least), -jnp.inf, least)


@jax.jit
def bounds(
    predictions: Float[Array, "m ..."],
    levels: Float[Array, " L"] | None,
    thresholds: Float[Array, " m"],
    cutoff: Float[Array, ""],
) -> Float[Array, " m"]:
    """The bound at each threshold."""
    if levels is None:
        lower = jnp.minimum(predictions, cutoff) - thresholds
    else:
        lower = jax.vmap(value_at, (0, None, 0))(predictions, levels, -thresholds)
    return jnp.clip(lower, 0, cutoff)
