"""Labels of rows, checked, as one column a class."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from estimators._core import checks


def as_labels(
    name: str, labels, rows: int, classes: int, dtype, *, distinct: int = 1
) -> Float[Array, "n classes"]:
    """Check labels 0 to `classes - 1`: a one in the column of the class, zeros in the others.

    Labels that are found to be out of range only while running give a row of NaN. `distinct`
    is how many classes the rows must have between them.
    """
    array = jnp.asarray(labels)
    if not (jnp.issubdtype(array.dtype, jnp.integer) or array.dtype == bool):
        raise ValueError(f"{name} must be whole numbers, 0 and up; got {array.dtype}")
    if array.shape != (rows,):
        raise ValueError(f"{name} must have shape ({rows},), one a row; got shape {array.shape}")
    array = array.astype(jnp.int32)
    if checks.is_concrete(array):
        values = np.asarray(array)
        unknown = values[(values < 0) | (values >= classes)]
        if unknown.size:
            raise ValueError(
                f"{name} must lie between 0 and {classes - 1}; got {unknown[0]} "
                f"({unknown.size} of {rows} are outside)"
            )
        found = np.unique(values)
        if found.size < distinct:
            raise ValueError(f"{name} must be of at least {distinct} classes; all are {found}")
    inside = (array >= 0) & (array < classes)
    return jnp.where(inside[:, None], jax.nn.one_hot(array, classes, dtype=dtype), jnp.nan)
