"""One score for all intervals: how far an outcome lies outside predicted ends.

A point prediction has both ends in one place, a quantile prediction has two; each end may have
a scale of its own. Split conformal, normalised, asymmetric and quantile regression differ in
nothing else.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from estimators._core import checks


class Ends(NamedTuple):
    """Predicted ends, and the unit in which each is moved; None for that of the outcome."""

    lower: Float[Array, "*batch"]
    upper: Float[Array, "*batch"]
    below: Float[Array, "*batch"] | None = None
    above: Float[Array, "*batch"] | None = None


def outside(ends: Ends, y: Float[Array, "*batch"], symmetric: bool) -> Float[Array, "*batch ends"]:
    """The distance of `y` below the lower and above the upper end, negative within.

    Both in a last axis; where symmetric the larger one alone.
    """
    below, above = ends.lower - y, y - ends.upper
    if ends.below is not None:
        below = below / ends.below
    if ends.above is not None:
        above = above / ends.above
    if symmetric:
        return jnp.maximum(below, above)[..., None]
    return jnp.stack([below, above], -1)


def widen(
    ends: Ends, thresholds: Float[Array, "*batch ends"]
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    """The interval of all outcomes that are no further outside than the thresholds."""
    down, up = thresholds[..., 0], thresholds[..., -1]
    lower = ends.lower - (down if ends.below is None else down * ends.below)
    upper = ends.upper + (up if ends.above is None else up * ends.above)
    return uncrossed(lower, upper)


def uncrossed(
    lower: Float[Array, "*batch"], upper: Float[Array, "*batch"]
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    """Both ends of an empty set in its centre: a point covers no less, and ends never cross."""
    centre = 0.5 * (lower + upper)
    ordered = lower <= upper  # false for NaN at either end, which then reaches both
    return jnp.where(ordered, lower, centre), jnp.where(ordered, upper, centre)


def as_scale(name: str, scale, shape: tuple[int, ...]) -> Float[Array, "*batch"]:
    """Check a positive scale, one number a prediction; NaN where it turns out not to be."""
    array = checks.as_float(name, scale)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, as the predictions; got {array.shape}")
    checks.positive(name, array)
    return jnp.where(jnp.isfinite(array) & (array > 0), array, jnp.nan)
