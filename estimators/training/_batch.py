"""Random rows, drawn on the device."""

import jax
from jaxtyping import Array, Key, PyTree

from estimators._core import checks


def batch(data: PyTree[Array], key: Key[Array, ""], size: int) -> PyTree[Array]:
    """Draw `size` random rows, the same ones from every array of `data`.

    Rows are drawn independently and with replacement: a batch then needs no state, so that
    step 1000 of a resumed run draws what step 1000 of an uninterrupted one does. The mean of
    a loss over the batch is an unbiased estimate of its mean over all rows.

    Args:
        data: a pytree of arrays, each of shape `(n, ...)` with the same n.
        key: a key; inside a loss, the one that the loss received.
        size: number of rows; static.

    Returns:
        The same pytree with arrays of shape `(size, ...)`; dtypes are kept.

    Raises:
        ValueError: if the arrays differ in their number of rows, or have none.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from estimators import training
        >>> data = {"x": jnp.arange(10.0), "y": -jnp.arange(10.0)}
        >>> drawn = training.batch(data, jax.random.key(0), 4)
        >>> drawn["x"].shape, bool((drawn["x"] == -drawn["y"]).all())
        ((4,), True)

    When it fails: with replacement, one pass of n/size batches misses about 37 % of the rows;
    that is of no consequence over many passes, and it is over one.
    """
    size = checks.integer("size", size, at_least=1)
    chosen = jax.random.randint(checks.as_key(key), (size,), 0, rows_of(data))
    return jax.tree.map(lambda leaf: leaf[chosen], data)


def rows_of(data: PyTree[Array]) -> int:
    """How many rows the arrays share."""
    shapes = [jax.numpy.shape(leaf) for leaf in jax.tree.leaves(data)]
    rows = {shape[:1] for shape in shapes}
    if len(rows) != 1 or () in rows or (0,) in rows:
        raise ValueError(
            f"data must hold arrays (n, ...) that share their n >= 1; got shapes {shapes}"
        )
    return shapes[0][0]
