"""Scores of outcomes from a density on a grid, and the lowest density in the set they give."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from estimators.conformal._predictive._piecewise import level_at, value_at


def above_floor(log_density: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """The log density, with the logarithm of 0 made finite, so that lines can be drawn to it."""
    return jnp.maximum(log_density, jnp.finfo(log_density.dtype).min / 4)


@functools.partial(jax.jit, static_argnames="score")
def grid_scores(
    rows: Float[Array, "n G"], grid: Float[Array, " G"], y: Float[Array, " n"], *, score: str
) -> Float[Array, " n"]:
    """The score of each outcome by its own row of log densities; +inf outside the grid.

    For "density" minus the log density, for "mass" the probability of a higher one. Between
    grid points the log density is a straight line.
    """

    def one(row, value):
        height = jnp.interp(value, grid, above_floor(row))
        if score == "density":
            return -height
        # A plateau at the top has no piece beyond it: there the level is that of the top.
        return 1 - jnp.clip(level_at(*_mass_below(row, grid), height, "right"), 0, 1)

    outside = (y < grid[0]) | (y > grid[-1])
    broken = jnp.isnan(rows).any(-1) | jnp.isnan(y) | jnp.isnan(grid).any()
    scores = jnp.where(outside, jnp.inf, jax.vmap(one)(rows, y))
    return jnp.where(broken, jnp.nan, scores)


@functools.partial(jax.jit, static_argnames="score")
def lowest_log_density(
    rows: Float[Array, "m G"], grid: Float[Array, " G"], threshold: Float[Array, ""], *, score: str
) -> Float[Array, " m"]:
    """The least log density whose score is at most the threshold, in each row; -inf for +inf."""
    if score == "density":
        return jnp.broadcast_to(-threshold, rows.shape[:1])

    def one(row):
        found = value_at(*_mass_below(row, grid), jnp.clip(1 - threshold, 0, 1))
        return jnp.where(threshold == jnp.inf, -jnp.inf, jnp.minimum(found, jnp.max(row)))

    return jax.vmap(one)(rows)


def _mass_below(row, grid):
    """Log densities in ascending order, and the mass where the density is below each.

    A grid point has the mass of the half cells on its sides; half of its own is counted. Joined
    by straight lines, this is the distribution function of the log density.
    """
    half = 0.5 * jnp.diff(grid)
    nothing = jnp.zeros(1, grid.dtype)
    cells = jnp.append(half, nothing) + jnp.append(nothing, half)
    order = jnp.argsort(row)
    mass = (cells * jnp.exp(row - jnp.max(row)))[order]
    mass = mass / jnp.sum(mass)
    return above_floor(row)[order], jnp.cumsum(mass) - 0.5 * mass
