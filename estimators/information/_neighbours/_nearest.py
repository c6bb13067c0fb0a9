"""Exact nearest neighbours in the maximum norm, a block of rows at a time.

Distances between a block of rows and all points are formed, used and dropped: memory is
O(block), never O(n^2), and the same code runs on a CPU and on an accelerator. A point is a row
of several variables; distances are formed in each of them, and the caller combines them.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from estimators._core._collect import total
from estimators.sharding import Layout

# Measured at n = 500 .. 5000 on two CPU cores: 2^18 to 2^20 are alike; beyond, float64 leaves the
# cache, and below, the overhead of a block shows.
BLOCK_ENTRIES = 1 << 19
# Rows that one turn of `over_rows` takes: the few that a search left open.
FEW = 32
UNROLLED_COLUMNS = 8


def over_blocks(function, variables: tuple[Float[Array, "n _"], ...], layout: Layout | None = None):
    """Apply `function` to the distances from each block of rows to all rows.

    Args:
        function: takes a tuple of maximum-norm distances `(b, n)`, one for each variable, and
            which of the b rows are real: the last block is filled up with rows that came
            before. Returns a pytree of `(b,)` arrays and a `(n,)` array or a scalar.
        variables: `(n, d)` each, d may differ.
        layout: the devices over which the blocks are shared out; every one has all variables.

    Returns:
        The pytree with `(n,)` arrays, and the sum of the last over the blocks.
    """
    n = variables[0].shape[0]
    # Two blocks at least. XLA inlines a loop of one turn and fuses the caller's arithmetic into
    # the distances; x_i - x_j then rounds differently from place to place, and a point is no
    # longer at distance zero from itself. (An optimization_barrier does not prevent that.)
    devices = 1 if layout is None else layout.devices
    most = BLOCK_ENTRIES // (n * max(1, len(variables) // 2))
    rows = min(-(-n // (2 * devices)), max(1, most))
    index = jnp.arange(n + -n % (rows * devices), dtype=jnp.int32)

    def sweep(index, variables):
        def step(sums, block):
            away = tuple(distances(variable[block % n], variable) for variable in variables)
            of_rows, of_points = function(away, block < n)
            return sums + of_points, of_rows

        # Not zeros: inside `jax.shard_map` the carry must vary over devices as the blocks do.
        nothing = 0 * variables[0][:, 0] + 0 * index[0]
        sums, of_rows = jax.lax.scan(step, nothing, index.reshape(-1, rows))
        return jax.tree.map(lambda leaf: leaf.reshape(-1), of_rows), sums

    if layout is None:
        of_rows, sums = sweep(index, variables)
    else:
        of_rows, sums = layout.run(
            lambda *part: _of_all(sweep(*part), layout.axis),
            index,
            variables,
            layout.whole,
            check=False,  # what was gathered is alike everywhere; the check cannot know
        )
    return jax.tree.map(lambda leaf: leaf[:n], of_rows), sums


def _of_all(found, axis_name: str):
    of_rows, of_points = found
    return jax.lax.all_gather(of_rows, axis_name, tiled=True), total(of_points, axis_name)


def over_rows(function, variables, chosen: Bool[Array, " n"], start):
    """`over_blocks` for the rows `chosen` alone; the others keep what `start` has for them.

    The number of rows that are chosen is not static: time is proportional to it. The variables
    must be in memory, as the output of a sort is, and not the outcome of arithmetic that may be
    fused into the distances.
    """
    n = chosen.shape[0]
    rows = min(FEW, n)
    place = jnp.cumsum(chosen, dtype=jnp.int32)
    count = place[-1]
    listed = jnp.full(n + rows, n, jnp.int32)
    listed = listed.at[jnp.where(chosen, place - 1, n + rows)].set(
        jnp.arange(n, dtype=jnp.int32), mode="drop"
    )

    def step(carry):
        done, of_rows, total = carry
        block = jax.lax.dynamic_slice(listed, (done,), (rows,))
        real = block < n
        away = tuple(distances(v[jnp.minimum(block, n - 1)], v) for v in variables)
        of_block, of_points = function(away, real)
        of_rows = jax.tree.map(lambda a, b: a.at[block].set(b, mode="drop"), of_rows, of_block)
        return done + rows, of_rows, total + of_points

    carry = (0 * count, start, 0 * variables[0][:, 0])
    _, of_rows, total = jax.lax.while_loop(lambda carry: carry[0] < count, step, carry)
    return of_rows, total


def kth_neighbour(
    away: Float[Array, "b n"], k: int | Int[Array, " b"], most: int
) -> tuple[Float[Array, " b"], Float[Array, " b"]]:
    """Distance to the k-th and the (k+1)-th nearest other point.

    k + 1 rounds of "the smallest value above the last", each with a count, so that ties are
    exact. For the small k of neighbour estimators this is 2 (float32) to 100 (float64) times
    faster on a CPU than `jax.lax.top_k`, and it needs no index to leave the point itself out:
    at distance zero it is among those that the first count finds.

    Args:
        away: distances; the point itself is among them.
        k: which neighbour, one number or one for each row.
        most: the largest k, static.
    """

    def step(wanted, last):
        others = jnp.sum(away <= last[:, None], -1, dtype=jnp.int32) - 1
        above = jnp.min(jnp.where(away > last[:, None], away, jnp.inf), -1)
        return jnp.where(others < wanted, above, last)

    # Not a constant, as above; in whole numbers, where XLA sees that it is zero.
    zero = (0 * (away[:, 0] < 0).astype(jnp.int32)).astype(away.dtype)
    radius = jax.lax.fori_loop(0, most, lambda _, last: step(k, last), zero)
    return radius, step(k + 1, radius)


def within(away: Float[Array, "b n"], radius: Float[Array, " b"]) -> Bool[Array, "b n"]:
    """Which distances are strictly below the radius; below zero taken as: are zero."""
    return away < strictly(radius)[:, None]


def strictly(radius: Float[Array, " b"]) -> Float[Array, " b"]:
    """The radius, or where it is zero the smallest one that only zero is strictly within."""
    return jnp.maximum(radius, jnp.finfo(radius.dtype).tiny)


def distances(rows: Float[Array, "b d"], points: Float[Array, "n d"]) -> Float[Array, "b n"]:
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
