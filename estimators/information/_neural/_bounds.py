"""Variational lower bounds on mutual information, as functions of a matrix of critic scores.

`scores[i, j]` is the critic at (x_i, y_j): the diagonal holds joint draws, the rest pairs that are
independent. Every bound holds for any critic in expectation, and is tight for the best one.
"""

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float

BOUNDS = ("donsker_varadhan", "nwj", "infonce", "smile")


def bound_value(
    scores: Float[Array, "m m"], bound: str, clip: Float[Array, ""] | float
) -> Float[Array, ""]:
    """The bound, in nats."""
    joint = jnp.diagonal(scores)
    m = scores.shape[0]
    if bound == "infonce":
        return jnp.mean(joint - logsumexp(scores, 1)) + jnp.log(jnp.asarray(m, scores.dtype))
    if bound == "nwj":
        return jnp.mean(joint) - jnp.exp(_log_mean_apart(scores - 1))
    if bound == "smile":
        return jnp.mean(joint) - _log_mean_apart(jnp.clip(scores, -clip, clip))
    return jnp.mean(joint) - _log_mean_apart(scores)


def objective(
    scores: Float[Array, "m m"], bound: str, clip: Float[Array, ""] | float
) -> Float[Array, ""]:
    """What the critic maximises: the bound, or for SMILE the Jensen-Shannon objective.

    Song & Ermon (2020, section 4) train by the Jensen-Shannon bound, whose optimum is the same
    critic and whose gradient has no exponential in it.
    """
    if bound != "smile":
        return bound_value(scores, bound, clip)
    m = scores.shape[0]
    joint = -jnp.mean(jax.nn.softplus(-jnp.diagonal(scores)))
    total = jnp.sum(jax.nn.softplus(scores)) - jnp.sum(jax.nn.softplus(jnp.diagonal(scores)))
    return joint - total / (m * (m - 1))


def contributions(
    scores: Float[Array, "m m"], bound: str, clip: Float[Array, ""] | float
) -> Float[Array, " m"]:
    """What each row adds to the bound, to first order: their mean strays as the bound does."""
    joint = jnp.diagonal(scores)
    if bound == "infonce":
        return joint - logsumexp(scores, 1)
    shifted = scores - 1 if bound == "nwj" else scores
    shifted = jnp.clip(scores, -clip, clip) if bound == "smile" else shifted
    weights = jnp.exp(shifted - _log_mean_apart(shifted)) * (
        1 - jnp.eye(scores.shape[0], dtype=scores.dtype)
    )
    of_row = (jnp.sum(weights, 1) + jnp.sum(weights, 0)) / (scores.shape[0] - 1)
    if bound == "nwj":
        of_row = of_row * jnp.exp(_log_mean_apart(shifted))
    return joint - of_row


def _log_mean_apart(scores):
    """Log of the mean exponential over the pairs off the diagonal."""
    m = scores.shape[0]
    apart = jnp.where(jnp.eye(m, dtype=bool), -jnp.inf, scores)
    return logsumexp(apart) - jnp.log(jnp.asarray(m * (m - 1), scores.dtype))
