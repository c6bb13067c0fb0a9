"""Probabilities and labels as one confidence a row, and whether it was right."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from estimators._core import checks
from estimators.conformal._venn._labels import as_labels

TOLERANCE = 1e-3  # on the sum of a row: that of float16 logits, and far below any that matters


def as_probabilities(name: str, probabilities) -> Float[Array, "..."]:
    """Check `(n,)` probabilities of class 1, or `(n, classes)` whose rows sum to one."""
    array = checks.as_unit(name, probabilities)
    if array.ndim == 1 or (array.ndim == 2 and array.shape[1] >= 2):
        if array.shape[0] == 0:
            raise ValueError(f"{name} must have at least 1 row; got shape {array.shape}")
    else:
        raise ValueError(f"{name} must have shape (n,) or (n, classes); got shape {array.shape}")
    if array.ndim == 1:
        return array

    def sums_to_one(rows):
        return jnp.abs(jnp.sum(rows, 1, keepdims=True) - 1) <= TOLERANCE

    if checks.is_concrete(array) and not checks.holds(lambda a: sums_to_one(a).all(), array):
        sums = np.asarray(array).sum(1)
        row = int(np.argmax(np.abs(sums - 1)))
        raise ValueError(f"{name} must have rows that sum to one; row {row} sums to {sums[row]}")
    return jnp.where(sums_to_one(array), array, jnp.nan)


def as_confidences(probabilities, labels) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """The probability of each row, and the outcome that it is of, 0 or 1.

    With two classes the probability and the label; with more the largest probability of the row
    and whether the label is its class, the lower of two that are equal.
    """
    probabilities = as_probabilities("probabilities", probabilities)
    several = probabilities.ndim == 2
    classes = probabilities.shape[1] if several else 2
    columns = as_labels("labels", labels, len(probabilities), classes, probabilities.dtype)
    if not several:
        return probabilities, columns[:, 1]
    chosen = jnp.argmax(probabilities, 1)[:, None]
    return jnp.max(probabilities, 1), jnp.take_along_axis(columns, chosen, 1)[:, 0]
