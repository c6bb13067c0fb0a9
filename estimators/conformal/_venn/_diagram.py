"""Isotonic regression by the cumulative-sum diagram, also with a row put in at every place.

The diagram has the corners `(W_i, Y_i)`: cumulative weights, and cumulative sums of weight times
value. The isotonic fit is the slope of its greatest convex minorant. All loops have a number of
steps that is known, and each step touches a few numbers: time is linear, whatever the data.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from estimators._core import power_of_two


def cumulative(column: Float[Array, " n"]) -> Float[Array, " corners"]:
    """Cumulative sums, from 0."""
    return jnp.pad(jnp.cumsum(column), (1, 0))


def _diagram(sums, weights):
    """Both cumulative sums, of weights whose products do not overflow, and what 1 became."""
    unit = power_of_two(jnp.maximum(1, jnp.max(weights)))
    return cumulative(unit * weights), cumulative(unit * sums), unit


@jax.custom_batching.sequential_vmap
def next_corners(
    across: Float[Array, " corners"], up: Float[Array, " corners"]
) -> Int[Array, " n"]:
    """For each point the next corner of the minorant of that point and all to its right."""
    n = across.shape[0] - 1

    def step(_, state):
        # `corner` is a guess for `point`, and `after` the corner next to it. Written before it
        # is read, the array stays where it is.
        point, corner, after, found = state
        rise, run = up[corner] - up[point], across[corner] - across[point]
        above = rise * (across[after] - across[corner]) >= (up[after] - up[corner]) * run
        skip = (corner < n) & (point >= 0) & above
        found = jax.lax.dynamic_update_index_in_dim(found, corner, point, 0)
        following = jnp.where(skip, found[after], corner)
        left = jnp.where(skip, point, jnp.maximum(point - 1, -1))
        return left, jnp.where(skip, after, point), following, found

    last = jnp.asarray(n, jnp.int32)
    # The extra place takes what is written when no point is left.
    state = last - 1, last, last, jnp.full(n + 1, n, jnp.int32)
    return jax.lax.fori_loop(0, 2 * n, step, state)[3][:n]


def isotonic(sums: Float[Array, " n"], weights: Float[Array, " n"]) -> Float[Array, " n"]:
    """The non-decreasing numbers of least weighted squared distance to `sums / weights`."""
    across, up, _ = _diagram(sums, weights)
    following = next_corners(across, up)
    place = jnp.arange(following.shape[0], dtype=jnp.int32)
    # No corner of all points lies within the edge from any point to its next corner.
    reached = jnp.concatenate([jnp.zeros(1, jnp.int32), jax.lax.cummax(following)[:-1]])
    start = jax.lax.cummax(jnp.where(place >= reached, place, 0))
    stop = following[start]
    return (up[stop] - up[start]) / (across[stop] - across[start])


@jax.custom_batching.sequential_vmap
def inserted(
    sums: Float[Array, " n"], weights: Float[Array, " n"], highest: Float[Array, ""]
) -> Float[Array, " places"]:
    """The isotonic fit at one more row of value `highest` and weight 1, put before each entry.

    The last place is behind all of them. No value may be above `highest`. Put before an entry,
    the row has the fit that it has put together with it, for the two are pooled either way.
    The fit is the slope of the line that touches the minorant of what is left of the row from
    above its end, and that of what is right of it: as the row moves on, both ends of that line
    only move to the right (Vovk, Petej & Fedorova 2015, algorithms 1 to 4).
    """
    across, up, unit = _diagram(sums, weights)
    following = next_corners(across, up)
    n = following.shape[0]

    def step(_, state):
        # `left` is the corner where the new row's own step ends, `unit` times (1, highest). Where
        # the weights come to much more than one row, the step would be lost in their sums: slopes
        # are compared with its part of the cross product apart.
        place, left, right, fits = state
        after = following.at[right].get(mode="clip")
        rise, run = up[right] - up[left], across[right] - across[left]
        next_rise, next_run = up[after] - up[right], across[after] - across[right]
        above = rise * next_run - next_rise * run >= unit * (next_rise - highest * next_run)
        # Whatever the rounding, the line ends beyond the new row, and begins where it can.
        skip = (right < n) & (above | (right <= place))
        fit = jnp.minimum((rise + unit * highest) / (run + unit), highest)
        fits = jax.lax.dynamic_update_index_in_dim(fits, fit, place, 0)
        moved = jnp.minimum(place + 1, n)
        own_rise, own_run = up[moved] - up[left], across[moved] - across[left]
        below = own_rise * run - rise * own_run < unit * (highest * own_run - own_rise)
        below |= moved >= right
        return (
            jnp.where(skip, place, moved),
            jnp.where(~skip & below, moved, left),
            jnp.where(skip, after, right),
            fits,
        )

    first = jnp.zeros((), jnp.int32)
    state = first, first, first, jnp.zeros_like(across)
    return jax.lax.fori_loop(0, 2 * n + 1, step, state)[3]
