"""Correlation matrices of (X, Y) with few parameters: dense, sparse, of a latent-variable model."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Integer, Real

from estimators._core import checks
from estimators.information.simulate._simulator import parameters


def dense_correlation(
    dx: int, dy: int, *, correlation: Real[ArrayLike, ""] = 0.5
) -> Float[Array, "d d"]:
    """All columns correlated alike.

    Args:
        dx: number of columns of x, static.
        dy: number of columns of y, static.
        correlation: of every two different columns, within `(-1 / (dx + dy - 1), 1)`.

    Returns:
        `(dx + dy, dx + dy)`.

    Raises:
        ValueError: if `dx` or `dy` is not a whole number >= 1.

    Reference: the dense tasks of Czyż et al. (2023), *Beyond Normal*.

    Example:
        >>> from estimators.information import simulate
        >>> law = simulate.Normal(simulate.dense_correlation(2, 2, correlation=0.5), dx=2)
        >>> print(f"{law.mutual_information:.4f}")
        0.2939

    When it fails: a correlation out of its range gives a matrix that is no covariance, which
    `Normal` and `Student` refuse.
    """
    (correlation,) = parameters(correlation=correlation)
    return _dense(_width(dx, dy), correlation)


def sparse_correlation(
    dx: int,
    dy: int,
    *,
    interacting: int | Integer[ArrayLike, ""] = 2,
    strength: Real[ArrayLike, ""] = 2.0,
) -> Float[Array, "d d"]:
    """Column i of x correlated with column i of y alone, for the first columns of each.

    The correlation is `strength^2 / (1 + strength^2)`. The default of two interacting columns
    is called the 2-pair model.

    Args:
        dx: number of columns of x, static.
        dy: number of columns of y, static.
        interacting: the number of correlated pairs, at most `min(dx, dy)`; may be traced.
        strength: standard deviation of what a pair shares, in units of its noise.

    Returns:
        `(dx + dy, dx + dy)`.

    Raises:
        ValueError: if `interacting` (outside jit), `dx` or `dy` is out of its range.

    Reference: the sparse and 2-pair tasks of Czyż et al. (2023), *Beyond Normal*.

    Example:
        >>> from estimators.information import simulate
        >>> law = simulate.Normal(simulate.sparse_correlation(3, 3), dx=3)
        >>> print(f"{law.mutual_information:.4f}")
        1.0217

    When it fails: for more than `min(dx, dy)` pairs inside jit, the pairs that exist count.
    """
    return latent_correlation(
        dx, dy, interacting=interacting, shared=0.0, paired=strength, within=0.0, unpaired=strength
    )


def latent_correlation(
    dx: int,
    dy: int,
    *,
    interacting: int | Integer[ArrayLike, ""],
    shared: Real[ArrayLike, ""],
    paired: Real[ArrayLike, ""],
    within: Real[ArrayLike, ""] = 0.0,
    unpaired: Real[ArrayLike, ""] = 0.0,
) -> Float[Array, "d d"]:
    """Correlations of a linear model with independent standard normal latent variables.

        X_i = shared U + within U_x + paired Z_i + noise_i      for i <= interacting
        X_i = shared U + within U_x + unpaired V_i + noise_i    for the others

    and Y alike with the same U and Z, its own U_y, V and noise.

    Args:
        dx: number of columns of x, static.
        dy: number of columns of y, static.
        interacting: the number of pairs that share a Z, at most `min(dx, dy)`; may be traced.
        shared: alpha, what all columns have in common.
        paired: lambda, what a pair has in common.
        within: beta, what the columns of x have in common, and those of y.
        unpaired: eta, extra noise of the columns without a partner.

    Returns:
        `(dx + dy, dx + dy)`, scaled to unit variances.

    Raises:
        ValueError: if `interacting` (outside jit), `dx` or `dy` is out of its range.

    Reference: Czyż et al. (2023), *Beyond Normal*, the Gaussian latent-variable model.

    Example:
        >>> from estimators.information import simulate
        >>> matrix = simulate.latent_correlation(1, 1, interacting=1, shared=0.0, paired=1.0)
        >>> print(f"{matrix[0, 1]:.2f}")
        0.50

    When it fails: as `sparse_correlation`.
    """
    _width(dx, dy)
    if checks.is_concrete(interacting):
        pairs = checks.integer("interacting", np.asarray(interacting)[()], at_least=0)
        if pairs > min(dx, dy):
            raise ValueError(
                f"interacting must be at most min(dx, dy) = {min(dx, dy)}; got {pairs}"
            )
    shared, paired, within, unpaired = parameters(
        shared=shared, paired=paired, within=within, unpaired=unpaired
    )
    return _latent(dx, dy, jnp.asarray(interacting), shared, paired, within, unpaired)


def _width(dx: int, dy: int) -> int:
    return checks.integer("dx", dx, at_least=1) + checks.integer("dy", dy, at_least=1)


@functools.partial(jax.jit, static_argnums=0)
def _dense(d, correlation):
    return jnp.where(jnp.eye(d, dtype=bool), 1, correlation)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _latent(dx, dy, interacting, shared, paired, within, unpaired):
    place = jnp.concatenate([jnp.arange(dx), jnp.arange(dy)])
    of_y = jnp.arange(dx + dy) >= dx
    has_partner = place < interacting
    same_side = of_y[:, None] == of_y[None, :]
    partners = (place[:, None] == place[None, :]) & has_partner[:, None] & ~same_side
    own = 1 + jnp.where(has_partner, paired, unpaired) ** 2
    covariance = shared**2 + within**2 * same_side + paired**2 * partners + jnp.diag(own)
    scale = jnp.sqrt(jnp.diagonal(covariance))
    return covariance / (scale[:, None] * scale[None, :])
