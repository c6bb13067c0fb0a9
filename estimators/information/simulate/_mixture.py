"""Gaussian mixtures: the densities are known, the information is an integral over them."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from estimators._core import checks, normalised
from estimators.information.simulate._integration import integrate_over_normal
from estimators.information.simulate._simulator import (
    Information,
    Simulator,
    parameters,
    positive_definite,
)


class Mixture(Simulator):
    """A mixture of normal laws of `dx` columns of x followed by those of y.

    The information is the mean of `log p(x, y) - log p(x) - log p(y)`, all three densities
    exact, over points that fill the normal law of each component evenly
    (`standard_error` is that of 16 independent shifts of the points; it does not change from
    call to call). Time is O(draws k^2 d^2), memory that of a block.

    Attributes:
        weights: `(k,)`, not negative; they are divided by their sum.
        means: `(k, dx + dy)`.
        covariances: `(k, dx + dy, dx + dy)`, positive definite.
        dx: number of columns of x, static.
        draws: how many points the information takes, rounded up to 16 times whole blocks;
            static.

    Raises:
        ValueError: if the shapes do not fit; outside jit if a weight is negative, all are zero,
            or a covariance is not symmetric and positive definite.

    Reference: Czyż et al. (2025), *On the Properties and Estimation of Pointwise Mutual
    Information Profiles*, for mixtures; Cranley & Patterson (1976), *Randomization of number
    theoretic methods for multiple integration*, for the points.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators.information import simulate
        >>> crossed = jnp.array([[[1.0, 0.9], [0.9, 1.0]], [[1.0, -0.9], [-0.9, 1.0]]])
        >>> law = simulate.Mixture(jnp.ones(2), jnp.zeros((2, 2)), crossed, dx=1)
        >>> print(f"{law.mutual_information:.3f}")
        0.408

    When it fails: with more than about ten columns the points fill space no better than random
    ones do, and the standard error falls as `1 / sqrt(draws)`.
    """

    weights: Float[Array, " k"]
    means: Float[Array, "k d"]
    covariances: Float[Array, "k d d"]
    dx: int = eqx.field(static=True)
    draws: int = eqx.field(static=True)

    def __init__(
        self,
        weights: Real[ArrayLike, " k"],
        means: Real[ArrayLike, "k d"],
        covariances: Real[ArrayLike, "k d d"],
        *,
        dx: int,
        draws: int = 1 << 17,
    ):
        weights, means, covariances = parameters(
            weights=weights, means=means, covariances=covariances
        )
        checks.integer("dx", dx, at_least=1)
        if means.ndim != 2 or means.shape[1] <= dx:
            raise ValueError(
                f"means must have shape (k, dx + dy) with dx = {dx} and dy >= 1; got shape "
                f"{means.shape}"
            )
        k, d = means.shape
        if covariances.shape != (k, d, d):
            raise ValueError(
                f"covariances must have shape {(k, d, d)}, as the means have shape {means.shape}; "
                f"got shape {covariances.shape}"
            )
        positive_definite("covariances", covariances)
        self.weights = checks.as_weights("weights", weights, k, means.dtype)
        self.means, self.covariances, self.dx = means, covariances, dx
        self.draws = checks.integer("draws", draws, at_least=1)

    @property
    def dimensions(self) -> tuple[int, int]:
        """The numbers of columns `(dx, dy)`."""
        return self.dx, self.means.shape[-1] - self.dx

    @functools.partial(jax.jit, static_argnames="n")
    def _draw(self, key, n):
        of_labels, of_noise = jax.random.split(key)
        d = self.means.shape[1]
        labels = jax.random.categorical(of_labels, jnp.log(self.weights), shape=(n,))
        noise = jax.random.normal(of_noise, (n, d), self.means.dtype)
        everywhere = _of_components(noise, self.means, jnp.linalg.cholesky(self.covariances))
        rows = jnp.take_along_axis(everywhere, labels[:, None, None], 1)[:, 0]
        return rows[:, : self.dx], rows[:, self.dx :]

    def _information(self) -> Information:
        weights = normalised(self.weights)
        factors = jnp.linalg.cholesky(self.covariances)
        dx = self.dx
        # Rows below the first dx of a triangular factor are no part of the density of x.
        parts = (
            _log_density_of(weights, self.means, factors, slice(None), factors),
            _log_density_of(weights, self.means, factors, slice(dx), factors[:, :dx, :dx]),
            _log_density_of(
                weights,
                self.means,
                factors,
                slice(dx, None),
                jnp.linalg.cholesky(self.covariances[:, dx:, dx:]),
            ),
        )

        def mean_ratio(noise):
            joint, of_x, of_y = (log_density(noise) for log_density in parts)
            return jnp.sum(weights[None] * (joint - of_x - of_y), 1)

        dimension, dtype = self.means.shape[1], self.means.dtype
        value, error = integrate_over_normal(mean_ratio, dimension, self.draws, dtype)
        valid = jnp.all(self.weights >= 0) & (jnp.sum(self.weights) > 0)
        return Information(*checks.poison((value, error), valid))


def _of_components(noise, means, factors):
    """`(n, k, d)`: the same standard normal rows as draws of every component."""
    spread = jnp.einsum("nd,ked->nke", noise, factors, precision=jax.lax.Precision.HIGHEST)
    return means[None] + spread


def _log_density_of(weights, means, factors, columns: slice, own_factors):
    """Log density of some columns of the mixture, at the draws of every component.

    Residuals are formed in the units of the component whose density is asked for, which may be
    a hundred times narrower than the one that was drawn from: `W_j (L_i z + mean_i - mean_j)`
    with W_j the inverse of `own_factors[j]` has maps of z that are found beforehand.

    Returns:
        A function of standard normal rows, `(n, d) -> (n, k)`.
    """

    def between(mean, factor):
        """Of the draws of one component, in the units of all."""
        solve = jax.vmap(
            lambda own, right: jax.scipy.linalg.solve_triangular(own, right, lower=True)
        )
        k = means.shape[0]
        right = jnp.broadcast_to(factor[columns][None], (k, *factor[columns].shape))
        offset = (mean[None] - means)[:, columns, None]
        return solve(own_factors, jnp.concatenate([right, offset], 2))

    maps = jax.vmap(between)(means, factors)  # (from, to, columns, d + 1)
    volume = jnp.sum(jnp.log(jnp.diagonal(own_factors, axis1=1, axis2=2)), 1)
    volume = volume + own_factors.shape[1] * jnp.log(2 * jnp.pi) / 2
    constant = jnp.log(weights) - volume.astype(weights.dtype)

    def log_density(noise):
        rows = jnp.concatenate([noise, jnp.ones_like(noise[:, :1])], 1)
        residual = jnp.einsum("nd,ijed->nije", rows, maps, precision=jax.lax.Precision.HIGHEST)
        exponents = constant[None, None] - jnp.sum(residual**2, 3) / 2
        return jax.scipy.special.logsumexp(exponents, axis=2)

    return log_density
