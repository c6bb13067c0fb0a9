"""Labels of rows, checked, as one column a class."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from estimators._core import checks
from estimators.conformal._grouped import as_whole, refuse_outside


def as_labels(
    name: str, labels, rows: int, classes: int, dtype, *, distinct: int = 1
) -> Float[Array, "n classes"]:
    """Check labels 0 to `classes - 1`: a one in the column of the class, zeros in the others.

    Labels that are found to be out of range only while running give a row of NaN. `distinct`
    is how many classes the rows must have between them.
    """
    given = jnp.asarray(labels)
    whole = given.astype(jnp.int32) if given.dtype == bool else labels
    array = as_whole(name, whole, (rows,))
    refuse_outside(name, array, classes)
    if checks.is_concrete(array):
        found = np.unique(np.asarray(array))
        if found.size < distinct:
            raise ValueError(f"{name} must be of at least {distinct} classes; all are {found}")
    inside = (array >= 0) & (array < classes)
    return jnp.where(inside[:, None], jax.nn.one_hot(array, classes, dtype=dtype), jnp.nan)
