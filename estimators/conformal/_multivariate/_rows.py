"""Predictions and outcomes of several columns: checked, and split where a part is needed."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from estimators._core import checks


def as_calibration_rows(predictions, y) -> tuple[Float[Array, "n k"], Float[Array, "n k"]]:
    """Check `(n, k)` predictions and the outcomes that belong to them; both in one dtype."""
    predictions = checks.as_points("predictions", predictions)
    return as_new_rows(predictions, checks.as_points("y", y), predictions.shape[1])


def as_new_rows(
    predictions, y, columns: int
) -> tuple[Float[Array, "*batch k"], Float[Array, "*batch k"]]:
    """Check `(*batch, k)` predictions and outcomes; both in one dtype."""
    predictions = checks.as_queries("predictions", predictions, columns)
    y = checks.finite("y", checks.as_float("y", y))
    if y.shape != predictions.shape:
        raise ValueError(f"y must have the shape {predictions.shape} of predictions; got {y.shape}")
    dtype = jnp.result_type(predictions, y)
    return predictions.astype(dtype), y.astype(dtype)


def set_aside(predictions, y, name: str, least: int):
    """The errors of the first half of the rows, and predictions and outcomes of the others."""
    half = predictions.shape[0] // 2
    if half < least:
        raise ValueError(
            f"{name} must be given with so few rows: to estimate it from half of them takes "
            f"{2 * least}; got predictions of shape {predictions.shape}"
        )
    return (y - predictions)[:half], predictions[half:], y[half:]
