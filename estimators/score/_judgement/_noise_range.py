"""Which noise levels a data set asks for."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from estimators._core import Stored, checks
from estimators.score._judgement._bisection import crossing
from estimators.score._models import (
    FittedGaussian,
    as_gaussian,
)

# Karras et al. 2022 choose these for data of standard deviation 1/2; relative to it.
_LOWEST, _LOG_MEAN, _LOG_SPREAD = 0.004, -0.5, 1.2
_REACH = 20.0  # how far in log noise the highest may lie from the data's scale


class NoiseRange(Stored):
    """Noise levels to train and to sample at; see `suggest_noise`.

    Attributes:
        sigma_min: where to stop sampling.
        sigma_max: where pure noise can be taken for noised data.
        log_sigma_mean: mean of ln sigma in training (P_mean).
        log_sigma_spread: its standard deviation (P_std).
    """

    sigma_min: Float[Array, ""]
    sigma_max: Float[Array, ""]
    log_sigma_mean: Float[Array, ""]
    log_sigma_spread: Float[Array, ""]


def suggest_noise(gaussian: FittedGaussian, *, tolerance: float = 0.01) -> NoiseRange:
    """Noise levels that suit the data, from their mean and covariance.

    The highest is where the noised Gaussian is within `tolerance` nats of N(0, sigma^2 I),

        KL = sum_k (v_k - log(1 + v_k)) / 2 + |mean|^2 / (2 sigma^2),   v_k = lam_k / sigma^2;

    with teleportation it does not matter. The others scale the choices of Karras et al. to the
    mean standard deviation of a column.

    Args:
        gaussian: of the data.
        tolerance: nats.

    Example:
        >>> import jax
        >>> from estimators import score
        >>> points = 0.5 * jax.random.normal(jax.random.key(0), (2000, 3072 // 64))
        >>> found = score.suggest_noise(score.Gaussian().fit(points))
        >>> print(f"{found.sigma_min:.3f} {found.sigma_max:.1f} {found.log_sigma_mean:.1f}")
        0.002 3.0 -1.2

    Raises:
        ValueError: for a tolerance that is not positive.
    """
    as_gaussian("gaussian", gaussian)
    checks.positive("tolerance", tolerance)
    return _suggest(gaussian, jnp.asarray(tolerance, gaussian.mean.dtype))


@jax.jit
def _suggest(gaussian: FittedGaussian, tolerance):
    d, rank = gaussian.basis.shape
    total = gaussian.total_variance
    spread = jnp.sqrt(total / d)
    squared_mean = jnp.sum(gaussian.mean**2)

    def divergence(log_sigma):
        precision = jnp.exp(-2 * log_sigma)

        def excess(variance):
            v = variance * precision
            # v - log(1 + v) loses its digits where v is small: there it is a series.
            return jnp.where(v < 1e-2, 0.5 * v**2 - v**3 / 3, v - jnp.log1p(v))

        of_modes = jnp.sum(excess(gaussian.eigenvalues)) + (d - rank) * excess(gaussian.floor)
        return 0.5 * (of_modes + squared_mean * precision)

    scale = 0.5 * jnp.log(total + squared_mean)
    highest = crossing(divergence, tolerance, scale - _REACH, scale + _REACH)
    return NoiseRange(
        _LOWEST * spread,
        jnp.exp(highest),
        _LOG_MEAN + jnp.log(spread),
        jnp.full_like(spread, _LOG_SPREAD),
    )
