"""Where a value falls among sorted scores: a search within bounds, and a p-value from counts."""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key


def search(
    ordered: Float[Array, " n"],
    values: Float[Array, "*batch"],
    start: Int[Array, "*batch"],
    end: Int[Array, "*batch"],
    side: Literal["left", "right"],
) -> Int[Array, "*batch"]:
    """The first place from `start` to `end` whose entry is not below each value.

    With `side="right"` the first whose entry is above it. Only the part of `ordered` between
    the two bounds needs to be sorted, so one array can hold many sorted groups.
    """
    before = jnp.less if side == "left" else jnp.less_equal

    def halve(_, bounds):
        low, high = bounds
        middle = (low + high) // 2
        later = before(ordered.at[middle].get(mode="clip"), values) & (low < high)
        return jnp.where(later, middle + 1, low), jnp.where(later, high, middle)

    steps = ordered.shape[0].bit_length()
    return jax.lax.fori_loop(0, steps, halve, (start, end))[0]


def counted_p_values(
    beyond: Float[Array, "*batch"],
    tied: Float[Array, "*batch"],
    total: Float[Array, "*batch"],
    own: Float[Array, "*batch"] | Float[Array, ""],
    key: Key[Array, ""] | None,
) -> Float[Array, "*batch"]:
    """The share `(beyond + u (tied + own)) / (total + own)`.

    Args:
        beyond: weight of the calibration scores that are more extreme than the new one.
        tied: weight of those equal to it.
        total: weight of all.
        own: weight of the new row.
        key: for u, uniform on (0, 1]; None takes u = 1.
    """
    at_value = tied + own
    if key is not None:
        # Not on [0, 1): a p-value of 0 would be an event of probability 0.
        at_value = (1 - jax.random.uniform(key, beyond.shape, beyond.dtype)) * at_value
    # Division by a constant is compiled as a product with its inverse, which rounds twice.
    return (beyond + at_value) / jax.lax.optimization_barrier(total + own)
