"""Unions of balls: which points they hold, and their volume by Monte Carlo."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from estimators._core import Stored


class BallUnion(Stored):
    """A union of balls for each row; in units of y they are ellipsoids with parallel axes.

        {y : sum_j ((y_j - centre_j) / unit_j)^2 <= radius^2 for one of the centres}

    Attributes:
        centres: `(*batch, points, k)`, in units of y.
        radii: `(*batch, points)`, in units of `unit`; -1 for a ball that is empty.
        unit: `(k,)`, in units of y.
    """

    centres: Float[Array, "*batch points k"]
    radii: Float[Array, "*batch points"]
    unit: Float[Array, " k"]


def balls_within(
    centres: Float[Array, "*batch points k"],
    energies: Float[Array, " points"],
    threshold: Float[Array, ""],
    unit: Float[Array, " k"],
) -> BallUnion:
    """All outcomes whose squared distance and energy are at most the squared threshold."""
    left = threshold**2 - energies
    radii = jnp.where(left >= 0, jnp.sqrt(jnp.maximum(left, 0)), -1)
    radii = jnp.where(jnp.isnan(threshold), jnp.nan, radii)
    return BallUnion(centres, jnp.broadcast_to(radii, centres.shape[:-1]), unit)


@functools.partial(jax.jit, static_argnames="draws")
def union_volume(
    balls: BallUnion, key: Key[Array, ""], *, draws: int
) -> tuple[Float[Array, " m"], Float[Array, " m"]]:
    """The volume of each row's union and its standard error, from points in its bounding box."""

    def one(row):
        centres, radii, key = row
        centres, held = centres / balls.unit[None], radii >= 0
        apart = jnp.where(held, radii, -jnp.inf)[:, None]
        low, high = jnp.min(centres - apart, 0), jnp.max(centres + apart, 0)
        sides = jnp.where(held.any(), high - low, 0)
        uniform = jax.random.uniform(key, (draws, low.shape[0]), jnp.float32).astype(low.dtype)
        points = low[None] + sides[None] * uniform
        distances = jnp.sum((points[:, None] - centres[None]) ** 2, -1)
        hit = ((distances <= radii[None] ** 2) & held[None]).any(1)
        share = jnp.mean(hit.astype(low.dtype))
        box = jnp.prod(sides * balls.unit)
        return box * share, box * jnp.sqrt(share * (1 - share) / draws)

    keys = jax.random.split(key, balls.centres.shape[0])
    volume, error = jax.lax.map(one, (balls.centres, balls.radii, keys))
    infinite = jnp.isposinf(balls.radii).any(-1)
    broken = jnp.isnan(balls.radii).any(-1) | jnp.isnan(balls.centres).any((-1, -2))
    volume = jnp.where(infinite, jnp.inf, volume)
    error = jnp.where(infinite, 0, error)
    return jnp.where(broken, jnp.nan, volume), jnp.where(broken, jnp.nan, error)
