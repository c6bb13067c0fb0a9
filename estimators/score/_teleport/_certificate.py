"""How far the law of an analytic model is from the true one at each noise: from denoising alone.

Let D* be the true denoiser and D the analytic one, r^2(t) = E |D*(x_t) - D(x_t)|^2. Then
(I-MMSE; Guo, Shamai & Verdu 2005)

    KL(p_s || q_s) = int_s^inf r^2(t) t^-3 dt = int r^2(t) / t^2 dln t,

and because the probability flow is a bijection this is the divergence between the true law and
what an exact sampler makes of points that were carried to noise s by the analytic flow: the
price of teleporting to s, known before any sampling.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Key, Real

from estimators._core import Stored, checks
from estimators._core._blocks import map_blocks
from estimators.score._models import (
    AnalyticModel,
    ScoreModel,
    as_model,
)

ESTIMATES = ("distance", "losses")


class Certificate(Stored):
    """Divergence of the true law from an analytic model's at each noise level; `certificate`.

    Attributes:
        sigmas: `(L,)`, increasing.
        divergence: `(L,)`, KL in nats, from that noise upwards.
        standard_error: `(L,)`, over the rows.
        model_loss: `(L,)`, mean squared denoising error of the model.
        analytic_loss: `(L,)`, that of the analytic one.
        loss_gap_error: `(L,)`, standard error of their difference.
    """

    sigmas: Float[Array, " L"]
    divergence: Float[Array, " L"]
    standard_error: Float[Array, " L"]
    model_loss: Float[Array, " L"]
    analytic_loss: Float[Array, " L"]
    loss_gap_error: Float[Array, " L"]

    def at(self, sigma: Real[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
        """Divergence at noise `sigma`, linear between the levels in log sigma, nats.

        NaN below the lowest level; zero above the highest, where the integral starts.
        """
        at = jnp.log(checks.as_float("sigma", sigma).astype(self.sigmas.dtype))
        grid = jnp.log(self.sigmas)
        return jnp.interp(at, grid, self.divergence, left=jnp.nan, right=0.0)

    def skip_sigma(self, tolerance: float = 0.05) -> float:
        """The lowest noise from which on the divergence stays certified, in data units.

        Certified means: the divergence plus two standard errors is at most `tolerance`. At
        0.05 nats the published figures show no loss of quality (FID on CIFAR-10), and one
        nat further they fall apart.

        Raises:
            ValueError: for a tolerance that is not positive, or one that no level meets.
        """
        checks.positive("tolerance", tolerance)
        if not checks.is_concrete(self.divergence):
            raise ValueError(
                "the noise to skip to must be known when compiling: ask the certificate outside "
                "jit, and give Teleport(analytic, to_sigma=certificate.skip_sigma())"
            )
        upper = np.asarray(self.divergence + 2 * self.standard_error, np.float64)
        sigmas = np.asarray(self.sigmas, np.float64)
        if not upper[-1] <= tolerance:
            raise ValueError(
                f"tolerance must be met at some level; got {tolerance}, and at the highest, "
                f"{sigmas[-1]:.3g}, the divergence is {upper[-1]:.3g}: certify more noise"
            )
        above = ~(upper <= tolerance)  # so that NaN, too, is not certified
        if not above.any():
            return float(sigmas[0])
        last = int(np.max(np.nonzero(above)))
        if not np.isfinite(upper[last]):
            return float(sigmas[last + 1])
        # Straight in log-log between the two levels on either side of the tolerance.
        low, high = np.log(np.maximum(upper[last : last + 2], 1e-30))
        share = (low - np.log(tolerance)) / (low - high)
        return float(sigmas[last] * (sigmas[last + 1] / sigmas[last]) ** share)

    def loses_at(self) -> Float[Array, " worse"]:
        """Noise levels where the model denoises worse than the closed form, beyond two
        standard errors: it should be replaced by it there.
        """
        worse = self.model_loss - self.analytic_loss > 2 * self.loss_gap_error
        return self.sigmas[np.asarray(worse)]


def certificate(
    analytic: AnalyticModel,
    model: ScoreModel,
    points: Real[ArrayLike, "n d"],
    *,
    key: Key[Array, ""],
    sigmas: Real[ArrayLike, " L"] | None = None,
    repeats: int = 4,
    estimate: str = "distance",
) -> Certificate:
    """Certify an analytic model at every noise level, by a better model's denoising.

    Args:
        analytic: what would replace the model at high noise: a `FittedGaussian`, a
            `FittedMixture`.
        model: the best denoiser at hand.
        points: `(n, d)`, rows that neither was fitted to.
        key: for the noise; every level uses the same draws, so that the integral's error is
            that of its rows.
        sigmas: `(L,)`, increasing; None takes 48 levels from .02 to 30 times the rows' mean
            standard deviation. The integral starts at the highest: beyond it the divergence
            falls as the sixth power of the noise.
        repeats: draws of the noise for each row.
        estimate: "distance", r^2 as the mean squared distance of the two denoisers: what
            teleporting changes in what this model would sample. "losses", as the difference of
            their denoising losses: never above the divergence from the truth, in the mean.

    Returns:
        A `Certificate`.

    Raises:
        ValueError: for fewer than two rows, widths that differ, or levels that do not increase.

    Example:
        >>> import jax
        >>> from estimators import score
        >>> points = jax.random.normal(jax.random.key(0), (1000, 2)).at[:500, 0].add(6.0)
        >>> mixture = score.Mixture(2).fit(points[::2], key=jax.random.key(1))
        >>> gaussian = score.Gaussian().fit(points[::2])
        >>> held = score.certificate(gaussian, mixture, points[1::2], key=jax.random.key(2))
        >>> 1.0 < held.skip_sigma(0.05) < 6.0
        True

    Reference: Guo, Shamai & Verdu, Mutual information and minimum mean-square error in Gaussian
    channels (2005); Wang & Vastola 2024 for the flow that it certifies.

    When it fails: it speaks of the law that the model knows. A model that has not learned yet
    what the closed form lacks certifies the closed form; one that is worse than it (see
    `Certificate.loses_at`) certifies less than is true.
    """
    checks.one_of("estimate", estimate, ESTIMATES)
    checks.integer("repeats", repeats, at_least=1)
    model = as_model("model", model)
    points = checks.as_points("points", points, dimension=model.dimension, at_least=2)
    if not isinstance(analytic, AnalyticModel) or analytic.dimension != model.dimension:
        raise ValueError(
            f"analytic must be an analytic model of {model.dimension} columns; got "
            f"{type(analytic).__name__}"
        )
    if sigmas is None:
        spread = jnp.sqrt(jnp.mean(jnp.var(points, axis=0)))
        sigmas = spread * jnp.geomspace(0.02, 30.0, 48, dtype=points.dtype)
    else:
        sigmas = checks.as_vector("sigmas", sigmas, at_least=2).astype(points.dtype)
        checks.positive("sigmas", sigmas)
        rising = not checks.is_concrete(sigmas) or np.all(np.diff(np.asarray(sigmas)) > 0)
        if not rising:
            raise ValueError(f"sigmas must increase strictly; got {np.asarray(sigmas).tolist()}")
    return _certify(analytic, model, points, sigmas, checks.as_key(key), repeats, estimate)


@eqx.filter_jit
def _certify(analytic, model, points, sigmas, key, repeats: int, estimate: str) -> Certificate:
    n, d = points.shape
    noise = jax.random.normal(key, (n, repeats, d), points.dtype)

    def level(sigma):
        """Squared distance of the denoisers and their two losses at one level, by row."""

        def block(part):
            clean, noise = part
            x = clean[:, None] + sigma * noise
            of_model, of_analytic = model.denoise(x, sigma), analytic.denoise(x, sigma)

            def square(a):
                return jnp.mean(jnp.sum(a**2, -1), -1)

            return (
                square(of_model - of_analytic),
                square(of_model - clean[:, None]),
                square(of_analytic - clean[:, None]),
            )

        return map_blocks(block, (points, noise))

    apart, of_model, of_analytic = jax.lax.map(level, sigmas)
    gap = of_analytic - of_model
    rate = (apart if estimate == "distance" else gap) / sigmas[:, None] ** 2
    width = jnp.diff(jnp.log(sigmas))
    pieces = (width * _power_law(jnp.mean(rate, -1)))[:, None] * 0.5 * (rate[1:] + rate[:-1])
    above = jnp.cumsum(pieces[::-1], 0)[::-1]
    by_row = jnp.concatenate([above, jnp.zeros_like(above[:1])])
    root = jnp.sqrt(jnp.asarray(n, points.dtype))
    certificate = Certificate(
        sigmas,
        jnp.mean(by_row, -1),
        jnp.std(by_row, -1, ddof=1) / root,
        jnp.mean(of_model, -1),
        jnp.mean(of_analytic, -1),
        jnp.std(gap, -1, ddof=1) / root,
    )
    return checks.poison(certificate, jnp.all(jnp.isfinite(points)))


def _power_law(rate):
    """What the trapezoidal rule must be multiplied with to be exact for power laws.

    The integrand falls as the sixth power of the noise in its tail: on the default levels the
    plain rule would certify 7 % too much there.
    """
    low, high = rate[:-1], rate[1:]
    safe = (low > 0) & (high > 0)
    ratio = jnp.log(jnp.where(safe, low / jnp.where(safe, high, 1), 1))
    # The logarithmic mean over the arithmetic one is tanh(ratio / 2) / (ratio / 2).
    half = jnp.where(jnp.abs(ratio) > 1e-3, 0.5 * ratio, 1)
    return jnp.where(jnp.abs(ratio) > 1e-3, jnp.tanh(half) / half, 1)
