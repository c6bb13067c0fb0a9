"""Leading modes of a weighted covariance, and the variance outside them: three routes.

    exact     the covariance (d, d) and its eigenvectors
    dual      where rows are few: eigenvectors of the Gram matrix (n, n)
    subspace  where both are many and the modes few: block power iteration, products of the
              rows with (d, rank) only; nothing of size d^2

The subspace starts from one fixed random matrix, so that a fit needs no key. Its modes are
those of the covariance up to the gap in the spectrum: where neighbours are nearly equal they
mix, which leaves the law that they describe almost the same.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from estimators._core import product
from estimators._core._blocks import into_blocks, reduce_blocks
from estimators._core._collect import Part, total

# Up to here the eigenvectors of the whole covariance take a few seconds.
EXACT_DIMENSION = 1024
# Extra columns, as a share of the rank, and rounds of the subspace iteration: on a 1/f^2
# spectrum of 3072 columns the kept variance is then within 1e-4 of the best.
_OVERSAMPLING = 0.5
_ROUNDS = 6


class Spectrum(NamedTuple):
    """A covariance of low rank plus floor."""

    basis: Float[Array, "d r"]
    eigenvalues: Float[Array, " r"]
    floor: Float[Array, ""]
    total: Float[Array, ""]  # the whole variance, floor included


def route(n: int, d: int, rank: int) -> str:
    """Which of the three to take for these shapes."""
    if rank < min(n, d) and 2 * n <= d and n <= EXACT_DIMENSION:
        return "dual"
    if d > EXACT_DIMENSION and 8 * rank <= min(n, d):
        return "subspace"
    return "exact"


def spectrum(
    points: Float[Array, "n d"],
    weights: Float[Array, " n"],
    mean: Float[Array, " d"],
    rank: int,
    start: Float[Array, "d columns"] | None = None,
    rounds: int = _ROUNDS,
    part: Part | None = None,
) -> Spectrum:
    """Modes of `sum_i weights_i (x_i - mean) (x_i - mean)^T`.

    Args:
        points: the rows.
        weights: of any sum; that of the covariance's divisor is theirs.
        mean: what is subtracted.
        rank: how many modes; static.
        start: where the subspace iteration starts, the bases of an earlier fit.
        rounds: rounds of that iteration.
        part: inside `jax.shard_map`, which rows these are; of few rows, not for the dual route.
    """
    n, d = points.shape
    axis_name = None
    if part is not None:
        n, axis_name = part.count, part.axis_name
    if rank == 0:
        variance = jnp.sum(product(weights, (points - mean[None]) ** 2))
        variance, nothing = total(variance, axis_name), jnp.zeros((0,), points.dtype)
        return Spectrum(jnp.zeros((d, 0), points.dtype), nothing, variance / d, variance)
    way = route(n, d, rank)
    if way == "dual" and part is None:
        return _dual(points, weights, mean, rank)
    if way == "subspace":
        return _subspace(points, weights, mean, rank, start, rounds, n, axis_name)
    return _exact(points, weights, mean, rank, axis_name)


def _exact(points, weights, mean, rank, axis_name):
    centred = points - mean[None]
    covariance = total(product(centred.T * weights[None], centred), axis_name)
    values, vectors = jnp.linalg.eigh(covariance)
    values = jnp.maximum(values[::-1], 0)
    floor = jnp.mean(values[rank:]) if rank < values.size else jnp.zeros((), points.dtype)
    return Spectrum(vectors[:, ::-1][:, :rank], values[:rank], floor, jnp.sum(values))


def _dual(points, weights, mean, rank):
    rows = (points - mean[None]) * jnp.sqrt(weights)[:, None]
    values, vectors = jnp.linalg.eigh(product(rows, rows.T))
    values, vectors = jnp.maximum(values[::-1], 0), vectors[:, ::-1][:, :rank]
    # Orthonormalised, and not divided by the root of an eigenvalue that may be zero.
    basis = jnp.linalg.qr(product(rows.T, vectors))[0]
    return _with_floor(basis, values[:rank], jnp.sum(values))


def _subspace(points, weights, mean, rank, start, rounds, n, axis_name):
    d = points.shape[1]
    columns = min(rank + max(8, round(_OVERSAMPLING * rank)), n, d)
    random = jax.random.normal(jax.random.key(0), (d, columns), points.dtype)
    if start is not None:
        random = random.at[:, : start.shape[1]].set(start)
    blocks = into_blocks(points), into_blocks(weights)

    def times(basis):
        """The covariance times a basis, block of rows after block."""

        def part(block):
            rows, weights = block
            rows = rows - mean[None]
            return product((rows * weights[:, None]).T, product(rows, basis))

        return total(reduce_blocks(part, jnp.add, blocks), axis_name)

    def variance(block):
        rows, weights = block
        return jnp.sum(product(weights, (rows - mean[None]) ** 2))

    basis = _orthonormal(random)
    basis = jax.lax.fori_loop(0, rounds - 1, lambda _, q: _orthonormal(times(q)), basis)
    image = times(basis)
    inner = product(basis.T, image)
    values, rotation = jnp.linalg.eigh(0.5 * (inner + inner.T))
    rotated = product(basis, rotation[:, ::-1][:, :rank])
    values = jnp.maximum(values[::-1][:rank], 0)
    return _with_floor(rotated, values, total(reduce_blocks(variance, jnp.add, blocks), axis_name))


def _orthonormal(columns):
    """An orthonormal basis by two rounds of Cholesky: a tall QR is far slower in XLA."""
    scale = jnp.sqrt(jnp.sum(columns**2, 0, keepdims=True))
    columns = columns / jnp.where(scale > 0, scale, 1)
    for _ in range(2):
        gram = product(columns.T, columns)
        count = gram.shape[0]
        # The shift keeps a nearly dependent set factorable; the second round removes it.
        shift = 10 * count * jnp.finfo(gram.dtype).eps * jnp.eye(count, dtype=gram.dtype)
        factor = jnp.linalg.cholesky(gram + jnp.trace(gram) / count * shift)
        columns = jax.scipy.linalg.solve_triangular(factor, columns.T, lower=True).T
    return columns


def _with_floor(basis, values, variance):
    d, rank = basis.shape
    rest = jnp.maximum(variance - jnp.sum(values), 0)
    return Spectrum(basis, values, rest / (d - rank), variance)
