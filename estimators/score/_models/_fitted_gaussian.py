"""The Gaussian score approximation: score, denoiser, density and flow in closed form.

Data with mean mu and covariance U diag(lam) U^T + f (I - U U^T), observed with noise of
standard deviation sigma (variance exploding: x = x0 + sigma eps). Everything below acts on
each eigenmode by one number, so it costs two thin matrix products.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Key, Real

from estimators._core import Stored, checks
from estimators.score._models import _components
from estimators.score._models._components import Components
from estimators.score._models._model import as_noise, as_noised
from estimators.score._models._with_components import ComponentModel, by_rows


class GaussianInfo(Stored):
    """Diagnostics of a fit.

    Attributes:
        explained_variance: share of the total variance that the kept modes hold.
        shrinkage: share of the isotropic target in the covariance.
        status: 0 ok; 1 the points were not finite, or a weight or the shrinkage out of its range
            (every result is NaN).
    """

    explained_variance: Float[Array, ""]
    shrinkage: Float[Array, ""]
    status: Int[Array, ""]


class FittedGaussian(ComponentModel):
    """A Gaussian with a low-rank covariance plus an isotropic floor; see `Gaussian`.

    `sigma` is a noise standard deviation in data units: a number, or an array that
    broadcasts against the batch axes of `x`. It must be positive where a mode has no
    variance; there the density is singular.

    Attributes:
        mean: `(d,)`.
        basis: `(d, r)`, orthonormal columns, the modes of largest variance first.
        eigenvalues: `(r,)`, the variances of those modes.
        floor: variance of every direction outside the basis; 0 where r = d.
        info: diagnostics, see `GaussianInfo`.
    """

    mean: Float[Array, " d"]
    basis: Float[Array, "d r"]
    eigenvalues: Float[Array, " r"]
    floor: Float[Array, ""]
    info: GaussianInfo

    @property
    def components(self) -> Components:
        """The law as a mixture of one."""
        return Components(
            jnp.zeros(1, self.mean.dtype),
            self.mean[None],
            self.basis[None],
            self.eigenvalues[None],
            self.floor[None],
        )

    @property
    def total_variance(self) -> Float[Array, ""]:
        """Trace of the covariance."""
        d, rank = self.basis.shape
        return jnp.sum(self.eigenvalues) + (d - rank) * self.floor

    def transport(
        self,
        x: Real[ArrayLike, "*batch d"],
        from_sigma: Real[ArrayLike, "..."],
        to_sigma: Real[ArrayLike, "..."],
    ) -> Float[Array, "*batch d"]:
        """Carry `x` along the probability flow from one noise level to another.

        The exact solution of `dx/dsigma = -sigma score(x, sigma)`: each mode is scaled by
        `sqrt((lam_k + to^2) / (lam_k + from^2))`. It is invertible, keeps the pairing of
        noise and sample, and needs no steps (Wang & Vastola 2024, sec. 4).
        """
        x, *noises = as_noised(self, x, from_sigma=from_sigma, to_sigma=to_sigma)
        return by_rows(functools.partial(_by_mode, _flow), self, x, *noises)

    def endpoint(
        self,
        x: Real[ArrayLike, "*batch d"],
        from_sigma: Real[ArrayLike, "..."],
        to_sigma: Real[ArrayLike, "..."],
    ) -> Float[Array, "*batch d"]:
        """What the flow that starts at `x` takes its end to be, once it has come to `to_sigma`.

        `denoise(transport(x, from_sigma, to_sigma), to_sigma)`: each mode times
        `lam_k / sqrt((lam_k + from^2) (lam_k + to^2))`. Features of large variance settle first.
        """
        x, *noises = as_noised(self, x, from_sigma=from_sigma, to_sigma=to_sigma)
        return by_rows(functools.partial(_by_mode, _end), self, x, *noises)

    def log_determinant(
        self, from_sigma: Real[ArrayLike, "*batch"], to_sigma: Real[ArrayLike, "*batch"]
    ) -> Float[Array, "*batch"]:
        """Log of the factor by which `transport` changes volumes, nats.

        `sum_k log((lam_k + to^2) / (lam_k + from^2)) / 2`, and the floor's part. Densities
        change by its negative.
        """
        noises = []
        for name, noise in (("from_sigma", from_sigma), ("to_sigma", to_sigma)):
            noises.append(as_noise(name, checks.as_float(name, noise)).astype(self.mean.dtype))
        return _log_determinant(self.components, *jnp.broadcast_arrays(*noises))

    def reverse_transition(
        self,
        x: Real[ArrayLike, "*batch d"],
        from_sigma: Real[ArrayLike, "..."],
        to_sigma: Real[ArrayLike, "..."],
        *,
        key: Key[Array, ""],
    ) -> Float[Array, "*batch d"]:
        """Draw the point at `to_sigma` given that at the higher `from_sigma`, exactly.

        Each mode is normal with mean `(lam_k + to^2) / (lam_k + from^2)` times its coordinate
        and variance `(lam_k + to^2) (from^2 - to^2) / (lam_k + from^2)`: the transition that
        stochastic samplers approximate.

        Raises:
            ValueError: if `to_sigma` is above `from_sigma`.
        """
        x, from_sigma, to_sigma = as_noised(self, x, from_sigma=from_sigma, to_sigma=to_sigma)
        if checks.is_concrete(from_sigma) and checks.is_concrete(to_sigma):
            if not checks.holds(lambda a, b: (a >= b).all(), from_sigma, to_sigma):
                raise ValueError(
                    f"to_sigma must not be above from_sigma; got {to_sigma} above {from_sigma}"
                )
        noise = jax.random.normal(checks.as_key(key), x.shape, x.dtype)
        moved = by_rows(functools.partial(_by_mode, _regression), self, x, from_sigma, to_sigma)
        return moved + by_mode(self, _scatter, noise, from_sigma, to_sigma)


def as_gaussian(name: str, fitted) -> FittedGaussian:
    """Check that something is a fitted Gaussian."""
    if not isinstance(fitted, FittedGaussian):
        raise ValueError(
            f"{name} must be a FittedGaussian (score.Gaussian().fit(points)); got "
            f"{type(fitted).__name__}"
        )
    return fitted


def by_mode(fitted: FittedGaussian, factor, displacement, from_sigma, to_sigma):
    """Multiply each mode of a displacement, `(*batch, d)`, by `factor(variance, from, to)`."""
    mean = jnp.expand_dims(fitted.mean, tuple(range(displacement.ndim - 1)))
    # The kernel scales what lies beyond the mean: so the displacement is laid about it.
    function = functools.partial(_by_mode, factor)
    return by_rows(function, fitted, mean + displacement, from_sigma, to_sigma) - mean


# What each closed form multiplies a mode of variance v with. The floor is one more mode.


def _flow(v, before, after):
    return jnp.sqrt((v + after**2) / (v + before**2))


def _end(v, before, after):
    return v / jnp.sqrt((v + before**2) * (v + after**2))


def _regression(v, before, after):
    return (v + after**2) / (v + before**2)


def _scatter(v, before, after):
    return jnp.sqrt(_regression(v, before, after) * (before**2 - after**2))


@functools.partial(jax.jit, static_argnums=0)
def _by_mode(factor, components: Components, x, before, after):
    """Multiply each mode of `x - mean` by `factor(variance, before, after)`."""
    of_modes = factor(components.eigenvalues, before[:, None], after[:, None])
    return _components.rescale(components, x, of_modes, factor(components.floor, before, after))


@jax.jit
def _log_determinant(components: Components, before, after):
    _, d, rank = components.basis.shape
    of_modes = jnp.expand_dims(components.eigenvalues[0], tuple(range(before.ndim)))
    value = jnp.sum(jnp.log(_flow(of_modes, before[..., None], after[..., None])), -1)
    if components.complete:
        return value
    return value + (d - rank) * jnp.log(_flow(components.floor[0], before, after))
