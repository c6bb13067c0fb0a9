"""The intervals on which a density on a grid is at least a level."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from estimators.conformal._predictive._density_scores import above_floor


class DensityIntervals(NamedTuple):
    """The intervals that a highest-density set is made of, in the unit of the grid.

    Attributes:
        lower: `(*batch, largest)`, in order; NaN after the last.
        upper: `(*batch, largest)`.
        count: `(*batch,)`, how many there are. Where it is above `largest` both ends of all are
            NaN; -1 where the density is NaN.
        cut: `(*batch,)`, whether one reaches an end of the grid and may go on beyond it.
    """

    lower: Float[Array, "*batch largest"]
    upper: Float[Array, "*batch largest"]
    count: Int[Array, "*batch"]
    cut: Bool[Array, "*batch"]


@functools.partial(jax.jit, static_argnames="largest")
def intervals_above(
    rows: Float[Array, "m G"], grid: Float[Array, " G"], levels: Float[Array, " m"], *, largest: int
) -> DensityIntervals:
    """Where each row, joined by straight lines, is at least its level."""
    return jax.vmap(lambda row, level: _of_row(above_floor(row), grid, level, largest))(
        rows, levels
    )


def _of_row(heights, grid, level, largest: int):
    inside = heights >= level
    starts = jnp.append(True, ~inside[:-1]) & inside
    ends = jnp.append(~inside[1:], True) & inside
    rise = jnp.diff(heights)
    share = jnp.clip((level - heights[:-1]) / jnp.where(rise == 0, 1, rise), 0, 1)
    crossing = grid[:-1] + share * jnp.diff(grid)

    def kept(mask, positions):
        places = jnp.nonzero(mask, size=largest, fill_value=grid.shape[0])[0]
        return positions.at[places].get(mode="fill", fill_value=jnp.nan)

    lower = kept(starts, jnp.append(grid[:1], crossing))
    upper = kept(ends, jnp.append(crossing, grid[-1:]))
    # The level of the infinite set, which goes beyond the grid.
    everything = jnp.isneginf(level)
    lower = jnp.where(everything & ~jnp.isnan(lower), -jnp.inf, lower)
    upper = jnp.where(everything & ~jnp.isnan(upper), jnp.inf, upper)

    broken = jnp.isnan(level) | jnp.isnan(heights).any() | jnp.isnan(grid).any()
    count = jnp.sum(starts, dtype=jnp.int32)
    lost = broken | (count > largest)
    return DensityIntervals(
        jnp.where(lost, jnp.nan, lower),
        jnp.where(lost, jnp.nan, upper),
        jnp.where(broken, -1, count),
        (inside[0] | inside[-1]) & ~everything,
    )
