"""Reductions that go on over the devices of a mesh axis, where the rows are split over one.

Inside `jax.shard_map` a sum over rows is the sum over the rows of one device. These finish it by
one all-reduce; with `axis_name=None` they do nothing, so that one function serves both.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree


def total(tree: PyTree[Array], axis_name: str | None = None) -> PyTree[Array]:
    """The sum over devices; several arrays travel together."""
    return tree if axis_name is None else jax.lax.psum(tree, axis_name)


def greatest(array: Array, axis_name: str | None = None) -> Array:
    """The maximum over devices; constant to derivatives."""
    if axis_name is None:
        return array
    return jax.lax.pmax(jax.lax.stop_gradient(array), axis_name)


def least(array: Array, axis_name: str | None = None) -> Array:
    """The minimum over devices; constant to derivatives."""
    if axis_name is None:
        return array
    return jax.lax.pmin(jax.lax.stop_gradient(array), axis_name)


def everywhere(condition: Bool[Array, "..."], axis_name: str | None = None) -> Bool[Array, "..."]:
    """Whether it holds on every device."""
    if axis_name is None:
        return condition
    return greatest((~condition).astype(jnp.int32), axis_name) == 0


def first_row(rows: Float[Array, "n d"], axis_name: str | None = None) -> Float[Array, " d"]:
    """The first row of the first device, the same to all."""
    if axis_name is None:
        return rows[0]
    mine = jax.lax.axis_index(axis_name) == 0
    return jax.lax.psum(jnp.where(mine, rows[0], 0), axis_name)


def log_total(log_sums: Float[Array, "*batch"], axis_name: str | None = None):
    """Log of the sum over devices of what each has the log of: two all-reduces."""
    if axis_name is None:
        return log_sums
    top = greatest(log_sums, axis_name)
    top = jnp.where(jnp.isfinite(top), top, 0)
    sums = jax.lax.psum(jnp.exp(log_sums - top), axis_name)
    nothing = sums == 0  # the log's derivative there would be NaN, the value is -inf
    return jnp.where(nothing, -jnp.inf, top + jnp.log(jnp.where(nothing, 1, sums)))


class Part(NamedTuple):
    """Which of all the rows this device has, inside `jax.shard_map`.

    Attributes:
        number: `(n,)`, the number of each, from 0; -1 for one that only fills up.
        count: how many rows all devices have together; static.
        axis_name: the mesh axis over which they are split; static.
    """

    number: Int[Array, " n"]
    count: int
    axis_name: str


def every(rows: PyTree[Array], stride: int, part: Part | None = None) -> PyTree[Array]:
    """Each `stride`-th of all rows, the same on every device: one all-reduce of so many."""
    if part is None:
        return jax.tree.map(lambda leaf: leaf[::stride], rows)
    size = -(-part.count // stride)
    chosen = (part.number >= 0) & (part.number % stride == 0)
    place = jnp.where(chosen, part.number // stride, size)

    def put(leaf):
        return jnp.zeros((size, *leaf.shape[1:]), leaf.dtype).at[place].set(leaf, mode="drop")

    return jax.lax.psum(jax.tree.map(put, rows), part.axis_name)
