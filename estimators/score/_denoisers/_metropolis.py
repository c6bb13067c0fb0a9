"""Sampling from a denoiser alone: Metropolis-Hastings with the energy's difference estimated."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key, Real

from estimators._core import Stored, checks
from estimators.score._models import (
    ScoreModel,
    as_model,
)


class Chain(Stored):
    """What `metropolis` returns.

    Attributes:
        samples: `(*batch, d)`, where the chains end.
        acceptance: mean share of proposals accepted.
    """

    samples: Float[Array, "*batch d"]
    acceptance: Float[Array, ""]


def metropolis(
    model: ScoreModel,
    start: Real[ArrayLike, "*batch d"],
    *,
    sigma: Real[ArrayLike, ""],
    step: Real[ArrayLike, ""],
    steps: int,
    key: Key[Array, ""],
) -> Chain:
    """Random-walk Metropolis-Hastings on the law at noise `sigma`, from its score alone.

    A denoiser has no density, but `D(x) - x = sigma^2 grad log p`, so the difference of log
    densities between two near points is the line integral of the score, here by Simpson's
    rule on the segment between them, whose error falls with the fifth power of the step.

    Args:
        model: any score model.
        start: `(*batch, d)`, one chain each.
        sigma: the noise at which the law is sampled.
        step: standard deviation of the proposal.
        steps: moves of each chain.
        key: for proposals and acceptances.

    Returns:
        A `Chain`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from estimators import score
        >>> model = score.Gaussian().fit(jax.random.normal(jax.random.key(0), (500, 2)))
        >>> chain = score.metropolis(
        ...     model, jnp.zeros((100, 2)), sigma=0.1, step=1.0, steps=50, key=jax.random.key(1)
        ... )
        >>> 0.3 < float(chain.acceptance) < 0.9
        True

    Reference: Alain & Bengio, What Regularized Auto-Encoders Learn from the Data-Generating
    Distribution (JMLR 2014), sec. 4, with a better quadrature.
    """
    model = as_model("model", model)
    x = checks.as_queries("start", start, model.dimension)
    values = []
    for name, value in (("sigma", sigma), ("step", step)):
        values.append(checks.positive(name, checks.as_number(name, value)).astype(x.dtype))
    steps = checks.integer("steps", steps, at_least=1)
    samples, accepted = _walk(model, x, values[0], values[1], checks.as_key(key), steps)
    return Chain(samples, accepted)


@eqx.filter_jit
def _walk(model, start, sigma, step, key, steps: int):
    def slope(x):
        return model.score(x, sigma).astype(x.dtype)

    def move(carry, key):
        x, of_x = carry
        of_proposal, of_acceptance = jax.random.split(key)
        jump = step * jax.random.normal(of_proposal, x.shape, x.dtype)
        there = slope(x + jump)
        middle = slope(x + 0.5 * jump)
        rise = jnp.sum((of_x + 4 * middle + there) * jump, -1) / 6
        accepted = jnp.log(jax.random.uniform(of_acceptance, rise.shape, x.dtype)) < rise
        chosen = accepted[..., None]
        following = jnp.where(chosen, x + jump, x), jnp.where(chosen, there, of_x)
        return following, jnp.mean(accepted.astype(x.dtype))

    first = start, slope(start)
    (x, _), accepted = jax.lax.scan(move, first, jax.random.split(key, steps))
    return x, jnp.mean(accepted)
