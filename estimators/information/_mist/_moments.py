"""Which columns depend on each other, and how: moments of the copula of every pair of columns."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from estimators._core import product
from estimators.information._mist._prepare import Pair, Part

DEGREE = 6


class Moments(NamedTuple):
    """Squared Legendre moments of pairs of columns, less what independence gives on average.

    The last row and column stand for the radii |x| and |y| of the whitened variables.
    """

    total: Float[Array, "D1 E1"]
    linear: Float[Array, "D1 E1"]
    even: Float[Array, "D1 E1"]
    live: Bool[Array, "D1 E1"]


def pair_moments(
    pair: Pair, rank: Callable
) -> tuple[Moments, Float[Array, "N D1"], Float[Array, "N E1"]]:
    """Moments, and the columns (radius last) as ranks in (0, 1)."""
    count = pair.count.astype(jnp.int32)

    def extended(uniform, white):
        radius = jnp.sum(white**2, 1, keepdims=True)
        radius = rank(radius, count) / (pair.count + 1)
        radius = jnp.where(pair.real[:, None] > 0, radius, 0.5)
        return jnp.concatenate([uniform, radius], 1)

    x = extended(pair.uniform_x, pair.white_x)
    y = extended(pair.uniform_y, pair.white_y)

    def kept(columns, width):
        return jnp.concatenate([jnp.arange(width) < columns, jnp.full(1, True)])

    live = (
        kept(pair.columns[0], x.shape[1] - 1)[:, None] & kept(pair.columns[1], y.shape[1] - 1)[None]
    )
    basis_x, basis_y = (_legendre(2 * u - 1) * pair.real[None, :, None] for u in (x, y))
    flat_x, flat_y = (jnp.moveaxis(b, 0, 1).reshape(b.shape[1], -1) for b in (basis_x, basis_y))
    moments = product(flat_x.T, flat_y) / pair.count
    moments = moments.reshape(DEGREE, x.shape[1], DEGREE, y.shape[1])
    # The mean square of a moment under independence is 1 / count, a little less with ranks.
    squares = jnp.moveaxis(moments**2, 2, 1) - 1 / pair.count  # (DEGREE, DEGREE, D1, E1)

    def live_sum(part):
        return jnp.where(live, part.sum((0, 1)), 0)

    degrees = squares, squares[:1, :1], squares[1::2, 1::2]
    total, linear, even = (live_sum(part) for part in degrees)
    return Moments(total, linear, even, live), x, y


def _legendre(z):
    """Orthonormal Legendre polynomials on (-1, 1) of degree 1 .. DEGREE: (DEGREE, N, D)."""
    before, now, result = jnp.ones_like(z), z, []
    for degree in range(1, DEGREE + 1):
        result.append(now * (2 * degree + 1) ** 0.5)
        before, now = now, ((2 * degree + 1) * z * now - degree * before) / (degree + 1)
    return jnp.stack(result)


def moment_features(moments: Moments) -> Part:
    """Sums, maxima and best matches over columns, and the radii."""

    def squash(value):
        return jnp.sign(value) * jnp.log1p(20 * jnp.abs(value))

    def best(values, axis=0):
        # Looked up, not `max`: the derivative of that asks which entry equals the maximum, and
        # where XLA computes the entries anew, rounded otherwise, it finds none, and is 0 / 0.
        place = jnp.expand_dims(jnp.argmax(values, axis), axis)
        largest = jnp.squeeze(jnp.take_along_axis(values, place, axis), axis)
        # No less than zero, what columns that only fill have: they must not be seen.
        return jnp.maximum(largest, 0)

    def of(matrix):
        columns, radii = matrix[:-1, :-1], matrix[-1, -1]
        shared = [columns.sum(), best(columns.ravel()), radii]
        one = [best(columns, 1).sum(), best(matrix[-1, :-1]), matrix[-1, :-1].sum()]
        two = [best(columns, 0).sum(), best(matrix[:-1, -1]), matrix[:-1, -1].sum()]
        return shared, one, two

    parts = [of(matrix) for matrix in (moments.total, moments.linear, moments.even)]
    # What exceeds a Gaussian copula, in the best partner of each column.
    excess = (moments.total - moments.linear - moments.linear**2)[:-1, :-1]
    shared = [best(excess, 1).sum() + best(excess, 0).sum(), best(excess.ravel()), excess.sum()]
    for own, _, _ in parts:
        shared += own
    sides = [[v for part in parts for v in part[side]] for side in (1, 2)]
    return Part(*(squash(jnp.stack(values)) for values in (shared, *sides)))


def best_columns(
    moments: Moments, x: Float[Array, "N D1"], y: Float[Array, "N E1"]
) -> tuple[Float[Array, "N 1"], Float[Array, "N 1"]]:
    """The two columns (radii included) that depend most on each other, as normal scores."""
    best = jnp.argmax(jnp.where(moments.live, moments.total, -jnp.inf))
    row, column = best // moments.total.shape[1], best % moments.total.shape[1]
    take = jax.lax.dynamic_slice_in_dim
    scores = jax.scipy.special.ndtri
    return scores(take(x, row, 1, axis=1)), scores(take(y, column, 1, axis=1))
