"""The nearest rows of each row, a block at a time: how far they are, and their responses."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from estimators._core import Stored, checks, order_statistic
from estimators._core._blocks import map_blocks

# Pairs of rows that are worked on at once: a few megabytes.
BLOCK_ENTRIES = 1 << 18
# Columns that one pass over the pairs takes.
UNROLLED_COLUMNS = 8


class Neighbourhood(Stored):
    """The k nearest rows of each of m rows.

    Attributes:
        radius: `(m,)`, squared distance to the k-th.
        total: `(m,)`, sum of the responses of all k.
        last: `(m,)`, response of the k-th.
    """

    radius: Float[Array, " m"]
    total: Float[Array, " m"]
    last: Float[Array, " m"]


@functools.partial(jax.jit, static_argnums=2)
def among_themselves(
    features: Float[Array, "n d"], y: Float[Array, " n"], neighbours: int
) -> Neighbourhood:
    """The nearest other rows of every row."""
    index = jnp.arange(features.shape[0])

    def of_block(block):
        rows, own = block
        away = squared_distances(rows, features)
        others = jnp.where(own[:, None] == index[None], jnp.inf, away)
        return nearest(others, y, neighbours)

    found = map_blocks(of_block, (features, index), max(1, BLOCK_ENTRIES // len(index)))
    # NaN and distances that overflow; without this they would pass for far away.
    return checks.poison(found, jnp.isfinite(found.radius).all() & jnp.isfinite(y).all())


def nearest(away: Float[Array, "b n"], y: Float[Array, " n"], neighbours: int) -> Neighbourhood:
    """The nearest of n rows; of rows at the same distance, the earlier one first."""
    radius = jax.vmap(order_statistic, (0, None))(away, neighbours)
    closer = away < radius[:, None]
    tied = away == radius[:, None]
    room = neighbours - jnp.sum(closer, -1, keepdims=True)
    place = jnp.cumsum(tied, -1)
    total = jnp.sum(jnp.where(closer | (tied & (place <= room)), y[None], 0), -1)
    last = jnp.sum(jnp.where(tied & (place == room), y[None], 0), -1)
    return Neighbourhood(radius, total, last)


def squared_distances(
    rows: Float[Array, "b d"], points: Float[Array, "n d"]
) -> Float[Array, "b n"]:
    """Squared Euclidean distances, by differences: expanding the square would blur ties."""

    def add(total, columns):
        ours, theirs = columns
        return total + (ours[:, None] - theirs[None]) ** 2, None

    start = jnp.zeros((rows.shape[0], points.shape[0]), rows.dtype)
    return jax.lax.scan(add, start, (rows.T, points.T), unroll=UNROLLED_COLUMNS)[0]
