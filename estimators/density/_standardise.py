"""Rows in units of their columns' standard deviations, and the shapes a kernel may take there."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Integer

from estimators._core import weighted_covariance, weighted_mean, whitening

# Covariances of which the kernel's is a multiple: a ball in data units, the columns' variances,
# the whole covariance.
SHAPES = ("isotropic", "diagonal", "full")


class Standardised(NamedTuple):
    """Centred rows with columns of unit variance.

    Attributes:
        values: `(n, d)`.
        location: `(d,)`, the weighted mean that was subtracted.
        scale: `(d,)`, the standard deviations that were divided by.
        correlation: `(d, d)`.
    """

    values: Float[Array, "n d"]
    location: Float[Array, " d"]
    scale: Float[Array, " d"]
    correlation: Float[Array, "d d"]


def standardise(
    points: Float[Array, "n d"], weights: Float[Array, " n"], axis_name: str | None = None
) -> Standardised:
    """Centre the rows and scale the columns to unit variance; `weights` sum to one."""
    location = weighted_mean(points, weights, axis_name)
    covariance = weighted_covariance(points, weights, location, axis_name)
    scale = jnp.sqrt(jnp.diagonal(covariance))
    correlation = covariance / (scale[:, None] * scale[None])
    return Standardised((points - location[None]) / scale[None], location, scale, correlation)


def shape_factor(
    standard: Standardised, shape: Integer[ArrayLike, ""]
) -> tuple[Float[Array, "d d"], Float[Array, "d d"], Bool[Array, ""]]:
    """A covariance of `SHAPES`, by index, in standardised units.

    Returns:
        The covariance, its lower Cholesky factor, and whether it is positive definite.
    """
    scale = standard.scale
    eye = jnp.eye(scale.shape[0], dtype=scale.dtype)
    # The mean variance in data units, seen from columns in units of their own.
    ball = eye * (jnp.mean(scale**2) / scale**2)[None]
    covariance = jnp.select([shape == 0, shape == 1], [ball, eye], standard.correlation)
    factor, _, definite = whitening(covariance)
    return covariance, factor, definite
