"""Where a value falls within a part of an array that is sorted."""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


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
