"""Residuals of outcomes around predictions, in the unit of a scale where there is one."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from estimators._core import checks
from estimators.conformal._regression._ends import as_scale


def standardised(predictions, y, scale, scaled: bool) -> Float[Array, "*batch"]:
    """`(y - predictions) / scale`; NaN where a number turns out not to be finite."""
    centre, unit = as_centre(predictions, scale, scaled)
    y = checks.finite("y", checks.as_float("y", y))
    if y.shape != centre.shape:
        raise ValueError(f"y must have the shape {centre.shape} of predictions; got {y.shape}")
    return (_or_nan(y) - centre) / unit


def as_centre(
    predictions, scale, scaled: bool
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    """Check predictions, and a positive scale exactly where it is needed; else the scale is 1."""
    centre = checks.finite("predictions", checks.as_float("predictions", predictions))
    centre = _or_nan(centre)
    if (scale is not None) != scaled:
        needed = "was" if scaled else "was not"
        raise ValueError(f"scale must be given exactly where calibration had it; it {needed}")
    if scale is None:
        return centre, jnp.ones(centre.shape, centre.dtype)
    return centre, as_scale("scale", scale, centre.shape)


def _or_nan(array):
    return jnp.where(jnp.isfinite(array), array, jnp.nan)
