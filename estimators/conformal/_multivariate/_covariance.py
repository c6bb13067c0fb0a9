"""Covariances of errors: checked, factored, and the norm that they give."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from estimators._core import checks, unscale, weighted_covariance, weighted_mean, whitening


def as_factor(
    covariance, batch: tuple[int, ...], columns: int, dtype
) -> Float[Array, "*batch k k"]:
    """The lower Cholesky factor of each covariance; NaN where there is none.

    `covariance` is one matrix, or one for every row of `batch`.
    """
    array = checks.finite("covariance", checks.as_float("covariance", covariance)).astype(dtype)
    shared, local = (columns, columns), (*batch, columns, columns)
    if array.shape not in (shared, local):
        raise ValueError(
            f"covariance must have shape {shared}, or {local} for one a row; got {array.shape}"
        )
    flat = array.reshape(-1, columns, columns)
    factor, good = _factors(flat)
    if checks.is_concrete(good) and not checks.holds(jnp.all, good):
        row = int(jnp.argmin(good))
        where = f"; that of row {row} is not" if array.ndim > 2 else ""
        raise ValueError(
            "covariance must be symmetric and positive definite to working precision"
            f"{where}; got {flat[row].tolist()}"
        )
    return factor.reshape(array.shape)


def error_covariance(errors: Float[Array, "n k"]) -> Float[Array, "k k"]:
    """The unbiased covariance of rows."""
    weights = jnp.full(errors.shape[0], 1 / errors.shape[0], errors.dtype)
    return weighted_covariance(errors, weights, weighted_mean(errors, weights))


@jax.jit
def mahalanobis(
    errors: Float[Array, "m k"], factor: Float[Array, "*rows k k"]
) -> Float[Array, " m"]:
    """The length of each error in units of its covariance."""

    def white(error, factor):
        return unscale(error[None], factor)[0]

    each = 0 if factor.ndim == 3 else None
    return jnp.linalg.norm(jax.vmap(white, (0, each))(errors, factor), axis=-1)


@jax.jit
@jax.vmap
def _factors(covariance):
    factor, _, definite = whitening(covariance)
    spread = jnp.sqrt(jnp.diagonal(covariance))
    gap = jnp.abs(covariance - covariance.T) / (spread[:, None] * spread[None])
    limit = 16 * jnp.sqrt(jnp.finfo(covariance.dtype).eps)
    good = definite & (jnp.max(gap) < limit)
    return jnp.where(good, factor, jnp.nan), good
