"""Fold numbers."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key

from estimators._core import checks


def folds(n: int, count: int, *, key: Key[Array, ""] | None = None) -> Int[Array, " n"]:
    """Fold numbers for n rows, of sizes that differ by one at most.

    Args:
        n: number of rows.
        count: number of folds, at least 2 and at most n.
        key: shuffles; without one, folds are contiguous blocks, as rows in order of time
            want it.

    Returns:
        Numbers from 0 to `count - 1`.

    Raises:
        ValueError: if `count` does not lie between 2 and n.

    Example:
        >>> from estimators import quantile
        >>> print(quantile.folds(7, 3))
        [0 0 0 1 1 2 2]
    """
    count = checks.integer("count", count, at_least=2)
    n = checks.integer("n", n, at_least=1)
    if n < count:
        raise ValueError(f"count must be at most n, {n}; got {count}")
    fold = jnp.asarray(np.arange(n) * count // n, jnp.int32)
    return fold if key is None else jax.random.permutation(checks.as_key(key), fold)
