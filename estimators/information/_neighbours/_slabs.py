"""Exact nearest neighbours of the rows of two single columns, well below O(n^2) on usual data.

Sort by one column and cut the order into slabs of some sqrt(k n) rows; sort each slab by the
other column. The neighbours of a row are then within a few places of it in its own slab and in
the two beside. What has not been looked at lies beyond the places looked at, or beyond the three
slabs: where both edges are farther than the k-th distance found, that distance is exact. The rows
for which it is not are tried again with the columns exchanged (an outlier in one column has few
neighbours along the other), and what still resists is left, by name, to brute force.

Every array that distances are formed from is the output of one sort: nothing can be fused into
them, and a difference rounds the same wherever it is formed.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

# Rows a slab, over sqrt(neighbours * n). Measured at n = 1e3 .. 1e5 on normal, dependent and
# heavy-tailed pairs: between 0.5 and 1 it does not matter.
SLAB = 0.7


class Sorted(NamedTuple):
    """Two columns, and each in increasing order."""

    x: Float[Array, " n"]
    y: Float[Array, " n"]
    ordered_x: Float[Array, " n"]
    ordered_y: Float[Array, " n"]
    by_x: tuple
    by_y: tuple


class Nearest(NamedTuple):
    """The smallest joint distances of each row to other rows, where `exact`.

    Attributes:
        distances: `(n, m)`, in increasing order.
        rows: `(n, m)`, which rows these are.
        exact: whether every row not among these m is farther than all of them.
    """

    distances: tuple[Float[Array, " n"], ...]
    rows: tuple[Int[Array, " n"], ...]
    exact: Bool[Array, " n"]


def sort_columns(x: Float[Array, " n"], y: Float[Array, " n"]) -> Sorted:
    """Sort two columns, each with the other in tow."""
    row = jnp.arange(x.shape[0], dtype=jnp.int32)
    by_x = jax.lax.sort((x, y, row), num_keys=1)
    by_y = jax.lax.sort((by_x[1], by_x[0], by_x[2]), num_keys=1)
    x, y = (jnp.zeros_like(by_x[0]).at[by_x[2]].set(column) for column in by_x[:2])
    return Sorted(x, y, by_x[0], by_y[0], by_x, by_y)


def nearest(columns: Sorted, m: int) -> Nearest:
    """The m nearest other rows of every row."""
    everyone = jnp.isfinite(columns.x) & jnp.isfinite(columns.y)
    first = _search(columns.by_x, m, everyone)
    second = _search(columns.by_y, m, everyone & ~first.exact)

    def choose(one, other):
        return jnp.where(first.exact, one, other)

    return Nearest(
        tuple(map(choose, first.distances, second.distances)),
        tuple(map(choose, first.rows, second.rows)),
        first.exact | second.exact,
    )


def _search(by_a, m: int, wanted: Bool[Array, " n"]) -> Nearest:
    """Look through slabs of the column `a` for the neighbours of the rows `wanted`."""
    n = by_a[0].shape[0]
    size = min(n, math.ceil(SLAB * math.sqrt(m * n)))
    slabs = -(-n // size)
    padding = (0, slabs * size - n)

    def cut(column, fill):
        return jnp.pad(column, padding, constant_values=fill).reshape(slabs, size)

    b, a, row = jax.lax.sort(
        (cut(by_a[1], jnp.inf), cut(by_a[0], jnp.inf), cut(by_a[2], n)), num_keys=1
    )
    a, b, row = (column.reshape(-1)[:n] for column in (a, b, row))
    place = jnp.arange(n, dtype=jnp.int32)
    slab = place // size

    # Per row: where its neighbours begin, downwards and upwards, in each of three slabs.
    runs = []
    for beside in (-1, 0, 1):
        start = jnp.clip((slab + beside) * size, 0, n)
        stop = jnp.clip((slab + beside + 1) * size, 0, n)
        if beside:
            here = start + _count(b, lambda value: value < b, start, stop, size)
            runs += [(here - 1, -1, start, stop), (here, 1, start, stop)]
        else:
            runs += [(place - 1, -1, start, stop), (place + 1, 1, start, stop)]

    def gap(index, inside):
        return jnp.where(inside, jnp.abs(by_a[0][jnp.clip(index, 0, n - 1)] - a), jnp.inf)

    below, above = (slab - 1) * size - 1, (slab + 2) * size
    edge_a = jnp.minimum(gap(below, below >= 0), gap(above, above < n))
    looked_for = wanted[row]

    def step(carry):
        offset, found, _ = carry
        edge = jnp.full_like(a, jnp.inf)
        for origin, direction, start, stop in runs:
            index = origin + direction * offset
            inside = (index >= start) & (index < stop)
            index = jnp.clip(index, 0, n - 1)
            along_b = jnp.where(inside, jnp.abs(b[index] - b), jnp.inf)
            found = _insert(found, jnp.maximum(along_b, jnp.abs(a[index] - a)), row[index])
            edge = jnp.minimum(edge, along_b)
        # Beyond the places of this turn everything is at least as far along b.
        return offset + 1, found, edge

    def unfinished(carry):
        offset, found, edge = carry
        searching = looked_for & ~(found[-1][0] < edge) & ~(edge_a < edge)
        # Where brute force on the rest costs no more than the search so far, it has its turn.
        return (offset < size) & (jnp.sum(searching, dtype=jnp.int32) > len(runs) * offset)

    nothing = jnp.full_like(a, jnp.inf)
    start = (jnp.int32(0), ((nothing, row),) * m, jnp.full_like(a, -jnp.inf))
    _, found, edge = jax.lax.while_loop(unfinished, step, start)
    exact = looked_for & (found[-1][0] < jnp.minimum(edge, edge_a))

    def by_row(column):
        return jnp.zeros_like(column).at[row].set(column)

    distances, rows = zip(*((by_row(d), by_row(r)) for d, r in found), strict=True)
    return Nearest(distances, rows, by_row(exact))


def _insert(found, distance, row):
    """Keep the nearest, in increasing order."""
    kept = []
    for held, by in found:
        nearer = distance < held
        kept.append((jnp.where(nearer, distance, held), jnp.where(nearer, row, by)))
        distance, row = jnp.where(nearer, held, distance), jnp.where(nearer, by, row)
    return tuple(kept)


def _count(column, below, start, stop, size: int) -> Int[Array, " n"]:
    """How many of `column[start:stop]` a test holds for that holds for the first ones only."""
    bits = size.bit_length()

    def step(bit, count):
        trial = count + jnp.right_shift(jnp.int32(1 << (bits - 1)), bit)
        index = jnp.clip(start + trial - 1, 0, column.shape[0] - 1)
        return jnp.where((start + trial <= stop) & below(column[index]), trial, count)

    return jax.lax.fori_loop(0, bits, step, jnp.zeros_like(start))


def interval(
    ordered: Float[Array, " n"], values: Float[Array, " n"], radius: Float[Array, " n"]
) -> tuple[Int[Array, " n"], Int[Array, " n"]]:
    """The places `[low, high)` of `ordered` whose pairwise difference is strictly below `radius`.

    The differences are formed and compared as brute force does: the counts are the same to the
    last bit, while a search for `values + radius` would round another way.
    """
    n = ordered.shape[0]
    start = jnp.zeros(values.shape, jnp.int32)
    stop = jnp.full_like(start, n)
    low = _count(ordered, lambda other: values - other >= radius, start, stop, n)
    high = _count(ordered, lambda other: other - values < radius, start, stop, n)
    return low, high
