"""Posterior sampling with any prior: a denoiser that is pulled towards an observation.

By Bayes' rule the posterior's score at noise s is the prior's plus the gradient of
log p(y | x_s). If x0 given x_s were normal with mean D(x, s) and covariance C,

    grad log p(y | x_s) = J' A' (A C A' + R)^-1 (y - A D),     J = dD / dx,

and the methods differ in C:

    "moments"   C = s^2 J, the true second moment (Tweedie; Boys et al. 2023, Rozet et al. 2024):
                exact for a Gaussian prior
    "pigdm"     C = r^2 I, r^2 = s^2 v / (v + s^2), v the prior's mean variance
                (Song, Vahdat, Mardani & Kautz 2023)
    "dps"       C = 0, and `scale s / |y - A D|` in place of 1 / R: steps of one length, as in
                Chung et al. 2023, here in proportion to the noise that is left
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from estimators._core import checks, product
from estimators.score._inverse._observation import Observation, as_observation
from estimators.score._models import (
    ScoreModel,
    as_model,
    as_noised,
)

METHODS = ("moments", "pigdm", "dps")


class Guided(ScoreModel):
    """A prior pulled towards an observation; see `guided`."""

    prior: ScoreModel
    observation: Observation
    variance: Float[Array, ""]
    scale: Float[Array, ""]
    method: str = eqx.field(static=True)

    @property
    def dimension(self) -> int:
        """Number of columns of the data."""
        return self.prior.dimension

    def denoise(
        self, x: Real[ArrayLike, "*batch d"], sigma: Real[ArrayLike, "..."]
    ) -> Float[Array, "*batch d"]:
        """Approximate mean of the clean point given `x` and the observation."""
        x, sigma = as_noised(self, x, sigma=sigma)
        rows = x.reshape(-1, x.shape[-1])
        return _pulled(self, rows, sigma.reshape(-1)).reshape(x.shape)


def guided(
    prior: ScoreModel,
    observation: Observation,
    *,
    method: str = "moments",
    variance: Real[ArrayLike, ""] | None = None,
    scale: Real[ArrayLike, ""] = 1.0,
) -> Guided:
    """A score model of the posterior given a linear observation, for any prior.

    It samples like any other: `sample(guided(prior, seen), noise, sigmas, sampler=...)`. Each
    evaluation costs one of the prior and, for the Jacobian, one backwards pass ("moments": one
    more for each observed number).

    Args:
        prior: a learned denoiser, a mixture, ...
        observation: what was seen.
        method: "moments", "pigdm" or "dps"; see the module.
        variance: the prior's mean variance a column, for "pigdm".
        scale: size of the steps of "dps".

    Raises:
        ValueError: for an unknown method, "pigdm" without its variance, or an operator of
            other columns.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from estimators import score
        >>> prior = score.Gaussian().fit(jax.random.normal(jax.random.key(0), (2000, 2)))
        >>> seen = score.Observation(jnp.array([[1.0, 0.0]]), jnp.array([2.0]), 0.1)
        >>> x, exact = jnp.ones((1, 2)), score.posterior(prior, seen)
        >>> gap = score.guided(prior, seen).denoise(x, 0.5) - exact.denoise(x, 0.5)
        >>> print(abs(gap).max() < 1e-4)
        True

    When it fails: "pigdm" and "dps" are not exact even for a Gaussian prior; "moments" is not
    for any other. `posterior` gives the truth to compare with where the prior is a mixture.
    """
    prior = as_model("prior", prior)
    checks.one_of("method", method, METHODS)
    if variance is None:
        if method == "pigdm":
            raise ValueError("variance must be given for method='pigdm'; got None")
        variance = 1.0
    variance = checks.positive("variance", checks.as_number("variance", variance))
    scale = checks.positive("scale", checks.as_number("scale", scale))
    return Guided(prior, as_observation(observation, prior.dimension), variance, scale, method)


@eqx.filter_jit
def _pulled(model: Guided, rows, sigma):
    operator, noise = model.observation.operator, model.observation.noise

    def one(x, sigma):
        def denoise(x):
            return model.prior.denoise(x, sigma)

        clean, backwards = jax.vjp(denoise, x)
        gap = model.observation.value - product(operator, clean)
        if model.method == "dps":
            pull = backwards(product(gap, operator))[0]
            length = jnp.sqrt(jnp.sum(gap**2))
            return clean + model.scale * sigma * pull / jnp.where(length > 0, length, 1)
        if model.method == "moments":
            # A J, one backwards pass a number observed: J is symmetric where D is a posterior mean.
            images = jax.vmap(lambda row: backwards(row)[0])(operator)
            spread = sigma**2 * product(operator, images.T)
            spread = 0.5 * (spread + spread.T)
        else:
            spread = sigma**2 * model.variance / (model.variance + sigma**2)
            spread = spread * product(operator, operator.T)
        # In units of the noise, where it is a multiple of one; and the Jacobian of a network may
        # have negative eigenvalues, which no covariance has.
        scaled = spread / (noise[:, None] * noise[None, :])
        values, vectors = jnp.linalg.eigh(scaled)
        along = product(gap / noise, vectors) / (1 + jnp.maximum(values, 0))
        weights = product(vectors, along) / noise
        return clean + sigma**2 * backwards(product(weights, operator))[0]

    return jax.vmap(one)(rows, sigma)
