"""Work on many short rows: a cache-sized block at a time, and from level to level."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

# In CPU time at 99 levels, 256 rows a block take 0.7 of what 2048 do in the isotonic projection,
# whose state then stays in the nearest caches, and as long in sorting. Elsewhere a block is as
# large as memory is small.
CPU_BLOCK, BLOCK = 256, 65536


def by_columns(function: Callable, *rows: Array):
    """Apply `function` to the transpose of rows `(*batch, L)`, in blocks.

    `function` takes arrays `(L, block)` and returns arrays of that shape. With the levels
    leading, a step that compares two levels is one vector operation over the rows.
    """
    *batch, length = rows[0].shape
    flat = [array.reshape(-1, length) for array in rows]
    count = flat[0].shape[0]
    size = CPU_BLOCK if jax.default_backend() == "cpu" else BLOCK
    if count <= size:
        out = function(*(array.T for array in flat))
        return jax.tree.map(lambda array: array.T.reshape(*batch, length), out)
    padding = -count % size
    blocks = [jnp.pad(array, ((0, padding), (0, 0))).reshape(-1, size, length) for array in flat]

    def block(arrays):
        return jax.tree.map(lambda array: array.T, function(*(array.T for array in arrays)))

    out = jax.lax.map(block, blocks)
    return jax.tree.map(
        lambda array: array.reshape(-1, length)[:count].reshape(*batch, length), out
    )


def running(operation: Callable, columns: Array, reverse: bool = False) -> Array:
    """The cumulative sum, maximum or minimum over the levels of `(L, block)`.

    One level after the other: on a CPU in a fifth of the time of `jax.lax.cummax`.
    """

    def step(so_far, column):
        so_far = operation(so_far, column)
        return so_far, so_far

    first, rest = (columns[-1], columns[:-1]) if reverse else (columns[0], columns[1:])
    _, found = jax.lax.scan(step, first, rest, reverse=reverse)
    return jnp.concatenate([found, first[None]] if reverse else [first[None], found])
