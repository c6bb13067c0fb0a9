"""The score of the data points themselves after noise: a Gaussian kernel density's."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key, Real

from estimators._core import Spec, checks, normalised, weighted_mean
from estimators._core._moments import log_of_weights
from estimators.score._models._model import AnalyticModel, as_noise, as_noised
from estimators.score._models._point_sums import (
    log_kernel_sum,
    mean_shift,
    participation_ratio,
)


class FittedEmpirical(AnalyticModel):
    """The data points, noised; see `Empirical`.

    Attributes:
        points: `(n, d)`, relative to `location`.
        log_weights: `(n,)`, of weights that sum to one.
        location: `(d,)`, the weighted mean.
    """

    points: Float[Array, "n d"]
    log_weights: Float[Array, " n"]
    location: Float[Array, " d"]

    @property
    def dimension(self) -> int:
        """Number of columns of the data."""
        return self.points.shape[1]

    def denoise(
        self, x: Real[ArrayLike, "*batch d"], sigma: Real[ArrayLike, "..."]
    ) -> Float[Array, "*batch d"]:
        """Mean of the points under their kernel weights at `x`."""
        x, sigma = as_noised(self, x, positive=True, sigma=sigma)
        return x + _flat(_shift, self, x, sigma)

    def score(
        self, x: Real[ArrayLike, "*batch d"], sigma: Real[ArrayLike, "..."]
    ) -> Float[Array, "*batch d"]:
        """Gradient of the log density at noise `sigma`."""
        x, sigma = as_noised(self, x, positive=True, sigma=sigma)
        return _flat(_shift, self, x, sigma) / sigma[..., None] ** 2

    def log_density(
        self, x: Real[ArrayLike, "*batch d"], sigma: Real[ArrayLike, "..."]
    ) -> Float[Array, "*batch"]:
        """Log density at noise `sigma`: that of `density.KDE(sigma)`."""
        return _flat(_log_density, self, *as_noised(self, x, positive=True, sigma=sigma))

    def participation_ratio(
        self, x: Real[ArrayLike, "*batch d"], sigma: Real[ArrayLike, "..."]
    ) -> Float[Array, "*batch"]:
        """Sum of the squared kernel weights: one over the number of points that answer.

        Near one, a single point does: the score has memorised it.
        """
        return _flat(_participation_ratio, self, *as_noised(self, x, positive=True, sigma=sigma))

    def sample(
        self, n: int, sigma: Real[ArrayLike, ""] = 0.0, *, key: Key[Array, ""]
    ) -> Float[Array, "n d"]:
        """Draw `n` of the points with replacement, and noise them."""
        checks.integer("n", n, at_least=1)
        sigma = as_noise("sigma", checks.as_number("sigma", sigma))
        of_points, of_noise = jax.random.split(checks.as_key(key))
        chosen = jax.random.categorical(of_points, self.log_weights, shape=(n,))
        noise = jax.random.normal(of_noise, (n, self.dimension), self.points.dtype)
        return self.points[chosen] + self.location[None] + sigma.astype(noise.dtype) * noise


class Empirical(Spec):
    """The exact score of a finite set of points after noise.

    Its law at noise sigma is the Gaussian kernel density of bandwidth sigma, so the regimes of
    that density are the memorisation regimes of this score: below the noise
    `score.condensation_noise` it points at the nearest data point. Where the noise is so low
    that a matrix product of squared distances would round too much (below about 1/140 of the
    data's radius in float32), distances are computed by differences, which is slower.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from estimators import score
        >>> points = jax.random.normal(jax.random.key(0), (500, 3))
        >>> fitted = score.Empirical().fit(points)
        >>> print(abs(fitted.denoise(points[:5], sigma=1e-3) - points[:5]).max() < 1e-4)
        True

    Reference: Biroli & Mezard, Kernel Density Estimators in Large Dimensions (arXiv
    2408.05807); Wang & Vastola 2024, who call it the delta score.
    """

    def fit(
        self, points: Real[ArrayLike, "n d"], weights: Real[ArrayLike, " n"] | None = None
    ) -> FittedEmpirical:
        """Keep `points`, one row a sample.

        Raises:
            ValueError: for shapes that do not fit, values that are not finite, or negative
                weights. Inside jit such values give NaN.
        """
        points = checks.as_points("points", points)
        weights = checks.as_weights("weights", weights, points.shape[0], points.dtype)
        return _fit(points, weights)


@jax.jit
def _fit(points, weights) -> FittedEmpirical:
    weights = normalised(weights)
    location = weighted_mean(points, weights)
    fitted = FittedEmpirical(points - location[None], log_of_weights(weights), location)
    return checks.poison(fitted, jnp.all(jnp.isfinite(points)))


def _flat(function, fitted: FittedEmpirical, x, sigma):
    rows = x.reshape(-1, x.shape[-1]) - fitted.location[None]
    value = function(fitted, rows, sigma.reshape(-1))
    return value.reshape(x.shape[:-1] + value.shape[1:])


@jax.jit
def _shift(fitted: FittedEmpirical, rows, sigma):
    """From each row to the weighted mean of the points: sigma^2 times the score."""
    return mean_shift(rows, fitted.points, fitted.log_weights, sigma**-2.0)


@jax.jit
def _log_density(fitted: FittedEmpirical, rows, sigma):
    d = rows.shape[1]
    value = log_kernel_sum(rows, fitted.points, fitted.log_weights, sigma**-2.0)
    return value - 0.5 * d * jnp.log(2 * jnp.pi) - d * jnp.log(sigma)


@jax.jit
def _participation_ratio(fitted: FittedEmpirical, rows, sigma):
    return participation_ratio(rows, fitted.points, fitted.log_weights, sigma**-2.0)
