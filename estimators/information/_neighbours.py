"""Exact nearest neighbours in the maximum norm, a block of rows at a time.

Distances between a block of rows and all points are formed, used and dropped: memory is
O(block), never O(n^2), and the same code runs on a CPU and on an accelerator.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer

# Measured at n = 500 .. 5000 on two CPU cores: 2^18 to 2^20 are alike; beyond, float64 leaves the
# cache, and below, the overhead of a block shows.
BLOCK_ENTRIES = 1 << 19
UNROLLED_COLUMNS = 8


class Neighbours(NamedTuple):
    """What lies around each of the b points of a block."""

    radius: Float[Array, " b"]
    joint: Integer[Array, " b"]
    in_x: Integer[Array, " b"]
    in_y: Integer[Array, " b"]


def over_blocks(function, x: Float[Array, "n dx"], y: Float[Array, "n dy"]):
    """Apply `function` to the distances from each block of rows to all rows.

    Args:
        function: takes the maximum-norm distances in x, `(b, n)`, those in y, and which of the
            b rows are real: the last block is filled up with rows that came before. Returns a
            pytree of `(b,)` arrays and a `(n,)` array.
        x: the first variable.
        y: the second variable.

    Returns:
        The pytree with `(n,)` arrays, and the sum of the `(n,)` arrays over the blocks.
    """
    n = x.shape[0]
    # Two blocks at least. XLA inlines a loop of one turn and fuses the caller's arithmetic into
    # the distances; x_i - x_j then rounds differently from place to place, and a point is no
    # longer at distance zero from itself. (An optimization_barrier does not prevent that.)
    rows = min(-(-n // 2), max(1, BLOCK_ENTRIES // n))
    index = jnp.arange(n + -n % rows, dtype=jnp.int32)

    def step(total, block):
        to_x = _distances(x[block % n], x)
        to_y = _distances(y[block % n], y)
        of_rows, of_points = function(to_x, to_y, block < n)
        return total + of_points, of_rows

    # Not zeros: inside `jax.shard_map` the carry must vary over devices as the points do.
    total, of_rows = jax.lax.scan(step, 0 * x[:, 0], index.reshape(-1, rows))
    return jax.tree.map(lambda leaf: leaf.reshape(-1)[:n], of_rows), total


def kth_neighbour(
    to_x: Float[Array, "b n"], to_y: Float[Array, "b n"], k: int
) -> tuple[Float[Array, " b"], Float[Array, " b"]]:
    """Distance to the k-th and the (k+1)-th nearest other point in the joint space.

    k + 1 rounds of "the smallest value above the last", each with a count, so that ties are
    exact. For the small k of neighbour estimators this is 2 (float32) to 100 (float64) times
    faster on a CPU than `jax.lax.top_k`, and it needs no index to leave the point itself out:
    at distance zero it is among those that the first count finds.
    """
    distances = jnp.maximum(to_x, to_y)

    def step(wanted, last):
        others = jnp.sum(distances <= last[:, None], -1, dtype=jnp.int32) - 1
        above = jnp.min(jnp.where(distances > last[:, None], distances, jnp.inf), -1)
        return jnp.where(others < wanted, above, last)

    zero = jnp.zeros(distances.shape[0], distances.dtype)
    radius = jax.lax.fori_loop(0, k, lambda _, last: step(k, last), zero)
    return radius, step(k + 1, radius)


def around(
    to_x: Float[Array, "b n"], to_y: Float[Array, "b n"], radius: Float[Array, " b"], k: int
) -> Neighbours:
    """Count the other points strictly within `radius` in x and in y.

    Where k or more others coincide with a point nothing is strictly within its radius of zero:
    there `joint`, `in_x` and `in_y` are the numbers of others at distance zero. Elsewhere
    `joint` is k - 1, the number strictly within the distance to the k-th.
    """
    in_x = jnp.sum(within(to_x, radius), -1, dtype=jnp.int32) - 1
    in_y = jnp.sum(within(to_y, radius), -1, dtype=jnp.int32) - 1
    coincide = jnp.sum((to_x == 0) & (to_y == 0), -1, dtype=jnp.int32) - 1
    return Neighbours(radius, jnp.where(radius == 0, coincide, k - 1), in_x, in_y)


def within(distances: Float[Array, "b n"], radius: Float[Array, " b"]) -> Bool[Array, "b n"]:
    """Which distances are strictly below the radius; below zero taken as: are zero."""
    # Only zero lies strictly within the smallest positive normal number.
    return distances < jnp.maximum(radius, jnp.finfo(radius.dtype).tiny)[:, None]


def _distances(rows: Float[Array, "b d"], points: Float[Array, "n d"]) -> Float[Array, "b n"]:
    """Maximum-norm distances, one column after the other: (b, n, d) is never built."""

    def along(ours, theirs):
        return jnp.abs(ours[:, None] - theirs[None, :])

    farthest = along(rows[:, 0], points[:, 0])
    if rows.shape[1] <= UNROLLED_COLUMNS:
        for column in range(1, rows.shape[1]):
            farthest = jnp.maximum(farthest, along(rows[:, column], points[:, column]))
        return farthest

    def step(farthest, columns):
        return jnp.maximum(farthest, along(*columns)), None

    return jax.lax.scan(step, farthest, (rows.T[1:], points.T[1:]))[0]
