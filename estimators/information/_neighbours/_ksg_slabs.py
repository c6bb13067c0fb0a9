"""Algorithm 1 for two single columns: slabs for the radii, bisection for the counts.

The rows whose neighbours the slabs did not settle, those with others at the same place, and
those with two neighbours at the very same distance go through brute force (`over_rows`).
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from estimators.information._neighbours._counting import (
    Counts,
    Recipe,
    contribution,
    jackknife_of_block,
    share_of,
    value_of_block,
)
from estimators.information._neighbours._nearest import over_rows, strictly
from estimators.information._neighbours._slabs import interval, nearest, sort_columns

PAIR = Recipe(lambda away: (jnp.maximum(*away), away), (-1, -1))

# Below, brute force is as fast and compiles sooner.
ENOUGH = 600


def in_slabs(x: Float[Array, "n dx"], y: Float[Array, "n dy"]) -> bool:
    """Whether this file is for such data: static, from the shapes."""
    return x.shape[1] == y.shape[1] == 1 and x.shape[0] >= ENOUGH


def slab_contributions(x: Float[Array, " n"], y: Float[Array, " n"], k: int) -> Float[Array, " n"]:
    """What each row adds to the mean of equation 8."""
    columns = sort_columns(x, y)
    found = nearest(columns, k)
    radius = found.distances[k - 1]
    settled = found.exact & (radius > 0)
    of_rows = contribution(PAIR, _counts(columns, radius, k)[0])
    variables = (columns.x[:, None], columns.y[:, None])
    return over_rows(value_of_block(PAIR, k), variables, ~settled, of_rows)[0]


def slab_jackknife(x: Float[Array, " n"], y: Float[Array, " n"], k: int):
    """What `jackknife_of_block` says of all rows: contributions, of themselves, changes."""
    columns = sort_columns(x, y)
    found = nearest(columns, k + 1)
    radius, next_radius = found.distances[k - 1 :]
    settled = found.exact & (0 < radius) & (radius < next_radius)

    now, places = _counts(columns, radius, k)
    then, _ = _counts(columns, next_radius, k)
    now_is = contribution(PAIR, now)
    share_x, share_y = (share_of(count, x.dtype) for count in now.inside)
    then_x, then_y = (share_of(count, x.dtype) for count in then.inside)

    # A point that goes and is not among the neighbours of a row takes a share where it counted.
    variables = (columns.x[:, None], columns.y[:, None])
    changes = jnp.zeros_like(columns.x)
    for share, (low, high), by in zip(
        (share_x, share_y), places, (columns.by_x, columns.by_y), strict=True
    ):
        changes = changes.at[by[2]].add(_spread(jnp.where(settled, share, 0), low, high))
    # One that is makes the radius grow instead: all k of them are then within it.
    grows = contribution(PAIR, then) - now_is + then_x + then_y
    for row in found.rows[:k]:
        # Only the farthest can fail to be strictly within the radius.
        in_x = jnp.abs(columns.x[row] - columns.x) < radius
        in_y = jnp.abs(columns.y[row] - columns.y) < radius
        instead = grows - jnp.where(in_x, share_x, 0) - jnp.where(in_y, share_y, 0)
        changes = changes.at[row].add(jnp.where(settled, instead, 0))

    start = (now_is, share_x + share_y)
    of_rows, of_points = over_rows(jackknife_of_block(PAIR, k), variables, ~settled, start)
    return *of_rows, changes + of_points


def _counts(columns, radius, k: int):
    """The counts around all rows, and the intervals of places that were counted."""
    radius = strictly(radius)
    places = (
        interval(columns.ordered_x, columns.x, radius),
        interval(columns.ordered_y, columns.y, radius),
    )
    inside = tuple(high - low - 1 for low, high in places)
    return Counts(radius, jnp.full_like(inside[0], k - 1), inside), places


def _spread(share: Float[Array, " n"], low, high) -> Float[Array, " n"]:
    """Add `share[j]` to all places from `low[j]` to before `high[j]`."""
    steps = jnp.concatenate([share, share[:1]]) * 0
    return jnp.cumsum(steps.at[low].add(share).at[high].add(-share))[:-1]
