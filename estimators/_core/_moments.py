"""Weighted mean and covariance, and the linear map that whitens by them.

Inside `jax.shard_map`, `axis_name` is the mesh axis over which the rows are split; the results
are then those of all rows.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from estimators._core._collect import everywhere, first_row, greatest, least, total
from estimators._core._product import product


def normalised(weights: Float[Array, " n"], axis_name: str | None = None) -> Float[Array, " n"]:
    """Weights that sum to one; NaN where one is negative."""
    weights = jnp.where(weights < 0, jnp.nan, weights)
    largest = greatest(jnp.max(weights), axis_name)
    weights = weights * jnp.where(largest > 1e30, 1e-30, 1.0)  # else their sum overflows
    return weights / total(jnp.sum(weights), axis_name)


def log_of_weights(weights: Float[Array, " n"]) -> Float[Array, " n"]:
    """Their logarithm: -inf at a weight of zero, where it is a constant to derivatives."""
    zero = weights == 0
    return jnp.where(zero, -jnp.inf, jnp.log(jnp.where(zero, 1, weights)))


def weighted_mean(
    points: Float[Array, "n d"], weights: Float[Array, " n"], axis_name: str | None = None
) -> Float[Array, " d"]:
    """Mean of the rows; `weights` sum to one.

    It is taken relative to a row of positive weight: far from the origin a plain sum loses the
    digits that hold the spread, and a constant column would come out with a spread that is not 0.
    """
    origin = first_with_weight(points, weights, axis_name)
    return origin + total(product(weights, points - origin[None]), axis_name)


def weighted_covariance(
    points: Float[Array, "n d"],
    weights: Float[Array, " n"],
    mean: Float[Array, " d"],
    axis_name: str | None = None,
) -> Float[Array, "d d"]:
    """Unbiased covariance, `sum w y y^T / (1 - sum w^2)`; `weights` sum to one.

    With equal weights the divisor is n - 1; with others it is that of reliability weights,
    as in `numpy.cov(aweights=)` and `scipy.stats.gaussian_kde`.
    """
    centred = points - mean[None]
    scatter = product(centred.T * weights[None], centred)
    scatter, squares = total((scatter, jnp.sum(weights**2)), axis_name)
    return scatter / (1 - squares)


def effective_sample_size(
    weights: Float[Array, " n"], axis_name: str | None = None
) -> Float[Array, ""]:
    """Kish's `(sum w)^2 / sum w^2`."""
    mass, squares = total((jnp.sum(weights), jnp.sum(weights**2)), axis_name)
    return mass**2 / squares


def constant_columns(
    points: Float[Array, "n d"],
    axis_name: str | None = None,
    *,
    weights: Float[Array, " n"] | None = None,
) -> Bool[Array, " d"]:
    """Which columns never change; with `weights`, among the rows where these are positive."""
    if weights is None:
        same = points == first_row(points, axis_name)[None]
    else:
        same = points == first_with_weight(points, weights, axis_name)[None]
        same |= ~(weights > 0)[:, None]
    return everywhere(jnp.all(same, axis=0), axis_name)


def first_with_weight(
    points: Float[Array, "n *row"], weights: Float[Array, " n"], axis_name: str | None = None
) -> Float[Array, "*row"]:
    """The first row of positive weight, the same to all: one without weight may lie anywhere."""
    counts = weights > 0
    mine = points[jnp.argmax(counts)]
    if axis_name is None:
        return mine
    device = jax.lax.axis_index(axis_name)
    first = least(jnp.where(jnp.any(counts), device, jnp.iinfo(device.dtype).max), axis_name)
    return jax.lax.psum(jnp.where(device == first, mine, 0), axis_name)


def whitening(
    covariance: Float[Array, "d d"],
) -> tuple[Float[Array, "d d"], Float[Array, ""], Bool[Array, ""]]:
    """Factor a covariance for whitening.

    Returns:
        The lower Cholesky factor `C`, with `C C^T` the covariance; the log-determinant of
        `C`; and whether the covariance is positive definite to working precision. The
        columns are scaled to unit variance before the test, so units do not matter.
    """
    scale = jnp.sqrt(jnp.diagonal(covariance))
    factor = jnp.linalg.cholesky(covariance / (scale[:, None] * scale[None, :]))
    diagonal = jnp.diagonal(factor)
    # The diagonal of the factor of a correlation matrix is sqrt(1 - R^2) of each column on
    # those before it: rounding leaves about sqrt(eps) of an exact linear dependence.
    limit = 4 * jnp.sqrt(covariance.shape[0] * jnp.finfo(covariance.dtype).eps)
    definite = jnp.all(jnp.isfinite(diagonal)) & jnp.all(diagonal > limit)
    factor = factor * scale[:, None]
    return factor, jnp.sum(jnp.log(jnp.diagonal(factor))), definite


def whiten(
    points: Float[Array, "n d"], location: Float[Array, " d"], factor: Float[Array, "d d"]
) -> Float[Array, "n d"]:
    """`C^-1 (y - location)` for each row y."""
    return unscale(points - location[None], factor)


def unscale(points: Float[Array, "n d"], factor: Float[Array, "d d"]) -> Float[Array, "n d"]:
    """`C^-1 y` for each row y, C lower triangular."""
    # The inverse is formed: a triangular solve with 10 000 right-hand sides costs XLA's CPU
    # backend as much as the kernel sums over them. A triangular inverse loses no digits to
    # the scales of the columns.
    inverse = jax.scipy.linalg.solve_triangular(
        factor, jnp.eye(factor.shape[0], dtype=factor.dtype), lower=True
    )
    return product(points, inverse.T)
