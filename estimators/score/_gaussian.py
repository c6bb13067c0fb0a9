"""The Gaussian score approximation: score, denoiser, density and flow in closed form.

Data with mean mu and covariance U diag(lam) U^T + f (I - U U^T), observed with noise of
standard deviation sigma (variance exploding: x = x0 + sigma eps). Everything below acts on
each eigenmode by one number, so it costs two thin matrix products.
"""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Real

from estimators._core import Fitted, Spec, Stored, checks, weighted_mean

OK, NOT_FINITE = range(2)


class GaussianInfo(Stored):
    """Diagnostics of a fit.

    Attributes:
        explained_variance: share of the total variance that the kept modes hold.
        status: 0 ok; 1 the points were not finite (every result is NaN).
    """

    explained_variance: Float[Array, ""]
    status: Int[Array, ""]


class FittedGaussian(Fitted):
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

    def denoise(
        self, x: Real[ArrayLike, "*batch d"], sigma: Real[ArrayLike, "..."]
    ) -> Float[Array, "*batch d"]:
        """Posterior mean of the clean point given `x` at noise `sigma`.

        `mu + sum_k lam_k / (lam_k + sigma^2) u_k u_k^T (x - mu)`, and the floor likewise.
        """
        x, sigma = self._check(x, sigma=sigma)
        return _denoise(self, x, sigma)

    def score(
        self, x: Real[ArrayLike, "*batch d"], sigma: Real[ArrayLike, "..."]
    ) -> Float[Array, "*batch d"]:
        """Gradient of the log density at noise `sigma`: `-(Sigma + sigma^2 I)^-1 (x - mu)`."""
        x, sigma = self._check(x, sigma=sigma)
        return _score(self, x, sigma)

    def log_density(
        self, x: Real[ArrayLike, "*batch d"], sigma: Real[ArrayLike, "..."]
    ) -> Float[Array, "*batch"]:
        """Log of `N(x; mu, Sigma + sigma^2 I)`, `(*batch,)`."""
        x, sigma = self._check(x, sigma=sigma)
        return _log_density(self, x, sigma)

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
        x, from_sigma, to_sigma = self._check(x, from_sigma=from_sigma, to_sigma=to_sigma)
        return _transport(self, x, from_sigma, to_sigma)

    def _check(self, x, **noises):
        x = checks.as_queries("x", x, self.mean.shape[0])
        checked = []
        for name, noise in noises.items():
            noise = checks.positive(name, checks.as_float(name, noise), zero=True).astype(x.dtype)
            try:
                checked.append(jnp.broadcast_to(noise, x.shape[:-1]))
            except ValueError:
                raise ValueError(
                    f"{name} must broadcast to the batch shape {x.shape[:-1]} of x; "
                    f"got shape {noise.shape}"
                ) from None
        return x, *checked


class Gaussian(Spec):
    """The Gaussian approximation of a data set's score at every noise level.

    Args:
        rank: how many modes to keep, 1 <= rank <= d; None keeps all. The variance outside
            them is spread evenly (probabilistic PCA; Tipping & Bishop 1999, eq. 8): setting
            it to zero instead ruins the score at small sigma.

    Example:
        >>> import jax
        >>> from estimators import score
        >>> points = 3.0 + 2.0 * jax.random.normal(jax.random.key(0), (5000, 4))
        >>> fitted = score.Gaussian().fit(points)
        >>> x = 80.0 * jax.random.normal(jax.random.key(1), (2, 4))
        >>> fitted.transport(x, from_sigma=80.0, to_sigma=0.01).shape
        (2, 4)
        >>> print(f"{abs(fitted.score(fitted.mean, sigma=1.0)).max():.1f}")
        0.0

    Reference: Wang & Vastola, The Unreasonable Effectiveness of Gaussian Score
    Approximation for Diffusion Models and its Applications, TMLR 2024 (arXiv 2412.09726).

    When it fails: at noise below the scale of the data's non-Gaussian structure (clusters,
    curvature), where the true score points to the nearest part and this one to the mean.
    """

    rank: int | None = eqx.field(static=True, default=None)

    def fit(self, points: Real[ArrayLike, "n d"]) -> FittedGaussian:
        """Mean, leading modes and floor of `points`, one row a sample.

        The covariance is the unbiased one (divisor n - 1). With fewer rows than columns
        the modes that the data do not reach have variance zero, or the floor's.

        Raises:
            ValueError: for shapes that do not fit, fewer than two rows, values that are not
                finite, or a rank outside 1..d. Inside jit such values give NaN.
        """
        points = checks.as_points("points", points, at_least=2)
        d = points.shape[1]
        rank = d if self.rank is None else checks.integer("rank", self.rank, at_least=1)
        if rank > d:
            raise ValueError(f"rank must be at most the {d} columns of points; got {rank}")
        return _fit(points, rank)


@functools.partial(jax.jit, static_argnums=1)
def _fit(points, rank: int) -> FittedGaussian:
    n, d = points.shape
    mean = weighted_mean(points, jnp.full(n, 1 / n, points.dtype))
    centred = points - mean[None]
    covariance = jnp.matmul(centred.T, centred, precision="highest") / (n - 1)
    eigenvalues, basis = jnp.linalg.eigh(covariance)
    eigenvalues = jnp.maximum(eigenvalues[::-1], 0)
    total = jnp.sum(eigenvalues)
    kept = eigenvalues[:rank]
    floor = jnp.mean(eigenvalues[rank:]) if rank < d else jnp.zeros((), points.dtype)
    finite = jnp.all(jnp.isfinite(points))
    status = jnp.where(finite, OK, NOT_FINITE).astype(jnp.int32)
    info = GaussianInfo(jnp.sum(kept) / total, status)
    return checks.poison(FittedGaussian(mean, basis[:, ::-1][:, :rank], kept, floor, info), finite)


def _by_mode(fitted: FittedGaussian, centred, of_mode, of_floor):
    """Scale each mode of `centred` by `of_mode`, what lies outside the basis by `of_floor`."""
    projected = jnp.matmul(centred, fitted.basis, precision="highest")
    if _complete(fitted):
        scaled = of_mode * projected
        return jnp.matmul(scaled, fitted.basis.T, precision="highest")
    within = (of_mode - of_floor[..., None]) * projected
    return of_floor[..., None] * centred + jnp.matmul(within, fitted.basis.T, precision="highest")


def _complete(fitted: FittedGaussian) -> bool:
    """Whether the basis spans everything: then nothing of the floor may be computed, for it
    would be the difference of two equal numbers over sigma^2.
    """
    return fitted.basis.shape[0] == fitted.basis.shape[1]


def _variances(fitted: FittedGaussian, sigma):
    """Variance of each mode, and outside them, at noise `sigma` (`(*batch,)`)."""
    modes = jnp.expand_dims(fitted.eigenvalues, tuple(range(sigma.ndim)))
    return modes + sigma[..., None] ** 2, fitted.floor + sigma**2


def _centre(fitted: FittedGaussian, x):
    return x - jnp.expand_dims(fitted.mean, tuple(range(x.ndim - 1)))


@jax.jit
def _denoise(fitted: FittedGaussian, x, sigma):
    of_modes, outside = _variances(fitted, sigma)
    clean = jnp.expand_dims(fitted.eigenvalues, tuple(range(sigma.ndim)))
    centred = _by_mode(fitted, _centre(fitted, x), clean / of_modes, fitted.floor / outside)
    return x - _centre(fitted, x) + centred


@jax.jit
def _score(fitted: FittedGaussian, x, sigma):
    of_modes, outside = _variances(fitted, sigma)
    return -_by_mode(fitted, _centre(fitted, x), 1 / of_modes, 1 / outside)


@jax.jit
def _transport(fitted: FittedGaussian, x, from_sigma, to_sigma):
    of_modes, outside = _variances(fitted, from_sigma)
    to_modes, to_outside = _variances(fitted, to_sigma)
    centred = _centre(fitted, x)
    moved = _by_mode(fitted, centred, jnp.sqrt(to_modes / of_modes), jnp.sqrt(to_outside / outside))
    return x - centred + moved


@jax.jit
def _log_density(fitted: FittedGaussian, x, sigma):
    d, rank = fitted.basis.shape
    centred = _centre(fitted, x)
    projected = jnp.matmul(centred, fitted.basis, precision="highest")
    of_modes, outside = _variances(fitted, sigma)
    value = jnp.sum(projected**2 / of_modes + jnp.log(of_modes), -1) + d * jnp.log(2 * jnp.pi)
    if not _complete(fitted):
        rest = jnp.maximum(jnp.sum(centred**2, -1) - jnp.sum(projected**2, -1), 0)
        value = value + rest / outside + (d - rank) * jnp.log(outside)
    return -0.5 * value
