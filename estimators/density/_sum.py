"""The sum of normalised kernels in whitened units, for any radial kernel and any widths."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Real

from estimators._core import log_sum_exp
from estimators.density._kernels import Gaussian, Kernel, log_kernel_sum


def log_kernel_density(
    queries: Float[Array, "m d"],
    points: Float[Array, "n d"],
    log_weights: Float[Array, " n"],
    *,
    kernel: Kernel,
    bandwidth: Real[ArrayLike, ""] = 1.0,
    widths: Float[Array, " n"] | None = None,
    query_labels: Int[Array, " m"] | None = None,
    point_labels: Int[Array, " n"] | None = None,
    by_differences: bool = False,
) -> Float[Array, " m"]:
    """Log of `sum_j w_j K((q - x_j) / (h s_j)) / (h s_j)^d`, K of covariance one.

    Args:
        queries: where to evaluate, centred like `points`.
        points: the centres.
        log_weights: log weights; where labels leave points out, what is left is not rescaled.
        kernel: the shape K.
        bandwidth: h.
        widths: the s_j; None is faster than ones.
        query_labels: as in `log_sum_exp`.
        point_labels: as in `log_sum_exp`.
        by_differences: whether a Gaussian kernel takes squared differences column by column
            instead of a matrix product: slower, and exact for the narrowest kernels.
    """
    d = points.shape[1]
    precision = None
    if widths is not None:
        log_weights, precision = log_weights - d * jnp.log(widths), widths**-2
    bandwidth = jnp.asarray(bandwidth, points.dtype)
    if isinstance(kernel, Gaussian) and not by_differences:
        # The fast path, with derivatives of its own.
        value = log_sum_exp(
            queries,
            points,
            log_weights,
            bandwidth**-2,
            point_precision=precision,
            query_labels=query_labels,
            point_labels=point_labels,
        )
    else:
        value = log_kernel_sum(
            queries / bandwidth,
            points / bandwidth,
            log_weights,
            kernel,
            point_precision=precision,
            query_labels=query_labels,
            point_labels=point_labels,
            by_differences=by_differences,
        )
    return value - d * jnp.log(bandwidth) - kernel.log_normaliser(d, points.dtype)
