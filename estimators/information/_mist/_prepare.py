"""Coordinates in which the network looks at two variables: canonical ones of normal scores.

Ranks make it blind to monotone maps of single columns, and whitening, up to rotations that no
distance sees, to their order.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from estimators._core import power_of_two, product, unscale
from estimators.information._ranks import average_ranks

# Of the unit variance of normal scores: copies of a column then have a covariance with an inverse.
RIDGE = 1e-5


class Pair(NamedTuple):
    """Two variables of `count` rows, filled up to N rows and D or E columns.

    Attributes:
        uniform_x: ranks over (count + 1), in (0, 1); 0.5 in what only fills.
        uniform_y: see `uniform_x`.
        white_x: normal scores with unit covariance; 0 in what only fills.
        white_y: see `white_x`.
        canonical_x: canonical coordinates, in decreasing order of correlation.
        canonical_y: see `canonical_x`.
        correlations: the canonical correlations, decreasing, in [0, 1).
        real: `(N,)`, 1 for rows of data and 0 for those that fill.
        count: the number of rows of data.
        columns: `(2,)`, the numbers of columns of data, dx and dy.
    """

    uniform_x: Float[Array, "N D"]
    uniform_y: Float[Array, "N E"]
    white_x: Float[Array, "N D"]
    white_y: Float[Array, "N E"]
    canonical_x: Float[Array, "N K"]
    canonical_y: Float[Array, "N K"]
    correlations: Float[Array, " K"]
    real: Float[Array, " N"]
    count: Float[Array, ""]
    columns: Float[Array, " 2"]


class Part(NamedTuple):
    """Features: of both variables together, and of each; exchanging x and y swaps the last two."""

    shared: Float[Array, " S"]
    of_x: Float[Array, " T"]
    of_y: Float[Array, " T"]


def prepare(
    x: Float[Array, "N D"],
    y: Float[Array, "N E"],
    count: Int[Array, ""],
    columns: Int[Array, " 2"],
    rank: Callable,
) -> Pair:
    """Ranks, normal scores, whitening, canonical rotation; in float32 from the ranks on.

    `rank` is `ranks` or `soft_ranks`.
    """
    real = jnp.arange(x.shape[0]) < count
    size = count.astype(jnp.float32)

    def alone(side, own):
        live = real[:, None] & (jnp.arange(side.shape[1]) < own)[None]
        uniform = jnp.where(live, rank(side, count).astype(jnp.float32) / (size + 1), 0.5)
        scores = jax.scipy.special.ndtri(uniform)
        scores = jnp.where(live, scores - jnp.sum(scores, 0, keepdims=True) / size, 0)
        return uniform, _white(scores, live[0], size)

    uniform_x, white_x = alone(x, columns[0])
    uniform_y, white_y = alone(y, columns[1])
    left, correlations, right = jnp.linalg.svd(
        product(white_x.T, white_y) / size, full_matrices=False
    )
    return Pair(
        uniform_x,
        uniform_y,
        white_x,
        white_y,
        product(white_x, left),
        product(white_y, right.T),
        jnp.clip(correlations, 0, 1 - RIDGE),
        real.astype(jnp.float32),
        size,
        columns.astype(jnp.float32),
    )


def ranks(x: Float[Array, "N D"], count: Int[Array, ""]) -> Float[Array, "N D"]:
    """Average ranks from 1 within the first `count` rows of every column."""
    rows = x.shape[0]
    filled = jnp.where((jnp.arange(rows) < count)[:, None], x, jnp.inf)
    return jax.vmap(average_ranks, 1, 1)(filled)


def soft_ranks(x: Float[Array, "N D"], count: Int[Array, ""]) -> Float[Array, "N D"]:
    """Ranks that move with the data: n times a kernel estimate of the distribution function.

    At a bandwidth of n^(-1/3) standard deviations they differ from ranks by less than ranks
    differ from the truth, and they have a derivative.
    """
    real = (jnp.arange(x.shape[0]) < count).astype(x.dtype)
    size = count.astype(x.dtype)

    def one(column):
        column = column - column[0]
        column = column * power_of_two(jnp.max(jnp.abs(column * real)))
        mean = jnp.sum(column * real) / size
        spread = jnp.sqrt(jnp.sum(real * (column - mean) ** 2) / size)
        steps = (column[:, None] - column[None]) / (spread * size ** (-1 / 3))
        return 0.5 + jnp.sum(jax.scipy.special.ndtr(steps) * real[None], 1)

    return jax.vmap(one, 1, 1)(x)


def _white(scores, kept, size):
    """Unit covariance over the rows of data; columns that only fill stay zero."""
    covariance = product(scores.T, scores) / size
    ridge = jnp.where(kept, RIDGE * jnp.diagonal(covariance), 1.0)
    factor = jnp.linalg.cholesky(covariance + jnp.diag(ridge))
    return unscale(scores, factor)
