"""Checks of predicted probabilities, and of the labels that go with them."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from estimators._core import checks
from estimators.conformal._grouped import as_whole, refuse_outside

TOLERANCE = 0.01  # of the sum of a row: probabilities of half precision pass, logits do not


def as_probabilities(
    name: str, probabilities, *, classes: int | None = None
) -> Float[Array, "*batch K"]:
    """Check rows that are not negative and sum to one, within `TOLERANCE`."""
    array = checks.as_float(name, probabilities)
    if array.ndim == 0 or array.shape[-1] < 2:
        raise ValueError(
            f"{name} must have shape (*batch, K), a column for each of at least 2 classes; got "
            f"shape {array.shape}"
        )
    if classes is not None and array.shape[-1] != classes:
        raise ValueError(
            f"{name} must have {classes} columns, one a class, as in calibration; got shape "
            f"{array.shape}"
        )
    if checks.is_concrete(array) and not checks.holds(lambda a: is_law(a).all(), array):
        raise ValueError(_fault(name, np.asarray(array)))
    return array


def as_table(name: str, probabilities) -> Float[Array, "n K"]:
    """Check probabilities of rows that are all in one axis."""
    array = checks.as_float(name, probabilities)
    if array.ndim != 2 or array.shape[0] == 0:
        raise ValueError(f"{name} must have shape (n, K), n at least 1; got shape {array.shape}")
    return as_probabilities(name, array)


def as_labels(name: str, labels, shape: tuple[int, ...], classes: int) -> Int[Array, "*batch"]:
    """Check the column of each row's class; -1 where it turns out to be none."""
    array = as_whole(name, labels, shape)
    refuse_outside(name, array, classes, ", the columns of the probabilities")
    return jnp.where(array < classes, array, -1)


@jax.jit
def is_law(probabilities: Float[Array, "*batch K"]) -> Bool[Array, "*batch"]:
    """Whether each row is one of probabilities."""
    near = jnp.abs(jnp.sum(probabilities, -1) - 1) <= TOLERANCE
    return near & (jnp.min(probabilities, -1) >= 0)  # false for NaN


def _fault(name: str, values: np.ndarray) -> str:
    bad = np.argwhere(~np.asarray(is_law(values)))
    row = values[tuple(bad[0])]
    where = f"{name}[{', '.join(map(str, bad[0]))}]" if bad.shape[1] else name
    count = f"{len(bad)} of {values[..., 0].size} rows are at fault"
    if not (row >= 0).all():
        column = int(np.argmin(row >= 0))
        return f"{name} must not be negative or NaN; {where} has {row[column]} ({count})"
    near = f"{name} must sum to one in each row, within {TOLERANCE}"
    return f"{near}; {where} sums to {row.sum():g} ({count})"
