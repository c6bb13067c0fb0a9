"""RED-diff: the most plausible clean point, by optimisation against a denoiser."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Float, Key, Real

from estimators._core import checks, product
from estimators.score._inverse._observation import Observation, as_observation
from estimators.score._models import (
    ScoreModel,
    as_model,
)
from estimators.score._schedules import as_schedule


def red_diff(
    prior: ScoreModel,
    observation: Observation,
    start: Real[ArrayLike, "*batch d"],
    sigmas: Real[ArrayLike, " levels"],
    *,
    key: Key[Array, ""],
    weight: float = 1.0,
    rounds: int = 1,
    learning_rate: float = 0.1,
) -> Float[Array, "*batch d"]:
    """Minimise `|y - A x|^2 / (2 noise^2)` regularised by denoising, over levels from high to low.

    Each step noises the current point, denoises it, and takes `weight (x - D(x + s eps, s)) /
    s^2` as the gradient of the prior: its mean over s is that of a divergence to the prior
    (Mardani et al., eq. 9, weights of their prop. 2 with 1 / s^2). Adam makes the steps.

    Args:
        prior: any score model.
        observation: what was seen.
        start: `(*batch, d)`, where to begin; independent runs.
        sigmas: `(levels,)`, decreasing, positive.
        key: for the noise.
        weight: of the prior.
        rounds: steps at each level.
        learning_rate: of Adam at the start; it falls to zero as a cosine.

    Returns:
        `(*batch, d)`: points, not draws; a mode-seeking approximation of the posterior's mean.

    Raises:
        ValueError: for a schedule that ends in zero, or an operator of other columns.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from estimators import score
        >>> prior = score.Gaussian().fit(jax.random.normal(jax.random.key(0), (2000, 2)))
        >>> seen = score.Observation(jnp.array([[1.0, 0.0]]), jnp.array([2.0]), 0.1)
        >>> levels = score.log_uniform_schedule(300, sigma_min=0.1, sigma_max=3.0)[:-1]
        >>> found = score.red_diff(prior, seen, jnp.zeros((8, 2)), levels, key=jax.random.key(1))
        >>> print(f"{found[:, 0].mean():.0f}")
        2

    Reference: Mardani, Song, Kautz & Vahdat, A Variational Perspective on Solving Inverse
    Problems with Diffusion Models (arXiv 2305.04391), algorithm 1.
    """
    prior = as_model("prior", prior)
    x = checks.as_queries("start", start, prior.dimension)
    levels = as_schedule("sigmas", sigmas)
    if levels[-1] == 0:
        raise ValueError("sigmas must be positive; the last is 0: leave it out")
    checks.positive("weight", weight)
    checks.positive("learning_rate", learning_rate)
    rounds = checks.integer("rounds", rounds, at_least=1)
    levels = jnp.repeat(jnp.asarray(levels, x.dtype), rounds)
    fitting = as_observation(observation, prior.dimension)
    numbers = jnp.asarray([weight, learning_rate], x.dtype)
    return _descend(prior, fitting, x, levels, numbers, checks.as_key(key))


@eqx.filter_jit
def _descend(prior, observation: Observation, x, levels, numbers, key):
    weight, rate = numbers
    steps = levels.shape[0]
    optimiser = optax.adam(lambda step: 0.5 * rate * (1 + jnp.cos(jnp.pi * step / steps)))
    precision = observation.noise**-2.0

    def step(carry, level):
        x, state = carry
        sigma, key = level
        noised = x + sigma * jax.random.normal(key, x.shape, x.dtype)
        of_prior = (x - prior.denoise(noised, sigma).astype(x.dtype)) / sigma**2
        gap = product(x, observation.operator.T) - jnp.expand_dims(
            observation.value, tuple(range(x.ndim - 1))
        )
        scaled = gap * jnp.expand_dims(precision, tuple(range(x.ndim - 1)))
        gradient = product(scaled, observation.operator) + weight * of_prior
        updates, state = optimiser.update(gradient, state)
        return (x + updates, state), None

    keys = jax.random.split(key, steps)
    (x, _), _ = jax.lax.scan(step, (x, optimiser.init(x)), (levels, keys))
    return x
