"""What a Gaussian kernel sum over data points says at any noise: its log, its mean, its spread.

Squared distances are made of a matrix product as long as its rounding, about `4 eps (R / sigma)^2`
with R the radius of the points, stays within that of a kernel density; for lower noise they are
sums of squared differences, two to ten times slower and exact.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from estimators._core import kernel_statistics, log_sum_exp, product
from estimators._core._kernel_sum import pairwise_log_sum
from estimators._core._rounding import product_rounding, too_coarse

_COLUMNS_AT_ONCE = 8


def log_kernel_sum(rows, points, log_weights, precision) -> Float[Array, " m"]:
    """Log of the weighted sum of `exp(-precision |row - point|^2 / 2)` at each row."""
    arguments = rows, points, log_weights, precision
    return _exactly(_by_differences, log_sum_exp, *arguments)


def mean_shift(rows, points, log_weights, precision) -> Float[Array, "m d"]:
    """From each row to the mean of the points under their kernel weights."""

    def by_differences(rows, points, log_weights, precision):
        def log_sum(rows):
            return jnp.sum(_by_differences(rows, points, log_weights, precision))

        return jax.grad(log_sum)(rows) / precision[:, None]

    def by_products(*arguments):
        return kernel_statistics(*arguments).mean_shift

    return _exactly(by_differences, by_products, rows, points, log_weights, precision)


def participation_ratio(rows, points, log_weights, precision) -> Float[Array, " m"]:
    """Sum of the squared kernel weights at each row."""

    def by_differences(rows, points, log_weights, precision):
        whole = _by_differences(rows, points, log_weights, precision)
        squares = _by_differences(rows, points, 2 * log_weights, 2 * precision)
        return jnp.exp(squares - 2 * whole)

    def by_products(*arguments):
        return kernel_statistics(*arguments).participation_ratio

    return _exactly(by_differences, by_products, rows, points, log_weights, precision)


def _exactly(by_differences, by_products, rows, points, log_weights, precision):
    inexact = too_coarse(product_rounding(points, log_weights, jnp.max(precision, initial=0.0)))
    arguments = rows, points, log_weights, precision
    return jax.lax.cond(inexact, by_differences, by_products, *arguments)


def _by_differences(rows, points, log_weights, precision):
    def log_kernel(queries, points):
        rows, precision = queries
        return -0.5 * precision[:, None] * _squared_distances(rows, points)

    return pairwise_log_sum(log_kernel, (rows, precision), points, log_weights)


def _squared_distances(rows, points):
    """Squared differences; their derivatives are those of products.

    In a derivative the rounding of products is `eps R / sigma`, that of the coordinates, and
    nothing of the size of all differences has to be kept.
    """

    def add(squares, columns):
        ours, theirs = columns
        return squares + (ours[:, None] - theirs[None, :]) ** 2, None

    fixed = jax.lax.stop_gradient((rows.T, points.T))
    zeros = jnp.zeros((rows.shape[0], points.shape[0]), rows.dtype)
    value = jax.lax.scan(add, zeros, fixed, unroll=_COLUMNS_AT_ONCE)[0]
    squares = jnp.sum(rows**2, -1)[:, None] + jnp.sum(points**2, -1)[None, :]
    rounded = squares - 2 * product(rows, points.T)
    return value + (rounded - jax.lax.stop_gradient(rounded))
