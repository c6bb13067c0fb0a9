"""Information of a Gaussian law or copula from log-determinants of some of its columns.

Every quantity of the family is `sum_p sign_p h_p`, h_p half the log-determinant of the
correlations of the columns p, with as many columns counted positively as negatively. The bias of
each h_p is known for Gaussian rows, and does not depend on the correlations.
"""

import jax.numpy as jnp
from jax.scipy.special import digamma
from jaxtyping import Array, Float

from estimators._core import checks, weighted_covariance, weighted_mean, whiten, whitening
from estimators.information._estimate import COLLINEAR, OK, Estimate, conclude, status_of
from estimators.information._ranks import _normal_scores


def signed_log_determinants(
    variables: tuple[Float[Array, "n _"], ...],
    parts: tuple[tuple[int, tuple[int, ...]], ...],
    independent: float,
    *,
    by_rank: bool = True,
    correct: bool = True,
) -> Estimate:
    """Estimate `sum_p sign_p h_p` of the normal scores, or of the columns as they are.

    Args:
        variables: `(n, d)` each.
        parts: a sign and which variables, for each term.
        independent: variance times n^2 of the estimate where the truth is zero and the first
            order vanishes: half the degrees of freedom, for 2 n times it is chi-squared.
        by_rank: whether the columns become normal scores first.
        correct: whether the bias is subtracted.

    Returns:
        The estimate; the standard error is that of the mean of the log density ratio, and what
        is left where that ratio is constant.
    """
    n, dtype = variables[0].shape[0], variables[0].dtype
    scores = tuple(_normal_scores(v, None) if by_rank else v for v in variables)
    weights = jnp.full(n, 1 / n, dtype)
    value, log_ratio, regular = jnp.zeros((), dtype), jnp.zeros(n, dtype), jnp.asarray(True)
    for sign, which in parts:
        columns = jnp.concatenate([scores[i] for i in which], 1)
        half, square, definite = _gaussian(columns, weights)
        value += sign * (half - _bias(n, columns.shape[1], dtype) if correct else half)
        log_ratio += sign * (half + square / 2)
        regular &= definite
    both = jnp.concatenate(variables, 1)
    status = status_of(both, both)
    status = jnp.where((status == OK) & ~regular, COLLINEAR, status)
    variance = jnp.var(log_ratio) / n + independent / n**2
    return conclude(value, jnp.sqrt(variance), both, both, status)


def refuse_collinear(estimate: Estimate, message: str) -> Estimate:
    """Raise where the status is known to be that of collinear columns."""
    if checks.is_concrete(estimate.info.status) and int(estimate.info.status) == COLLINEAR:
        raise ValueError(message)
    return estimate


def _gaussian(scores, weights):
    """Half the log-determinant of the covariance, the squared norm of each whitened row."""
    mean = weighted_mean(scores, weights)
    factor, half_log_det, definite = whitening(weighted_covariance(scores, weights, mean))
    return half_log_det, jnp.sum(whiten(scores, mean, factor) ** 2, -1), definite


def _bias(n: int, d: int, dtype) -> Float[Array, ""]:
    """What half the log-determinant of the sample covariance has too much, up to `const d`.

    For n Gaussian rows E log det S = log det C + sum_{i=1..d} psi((n - i) / 2) + const d, and
    the constants cancel between the parts.
    """
    i = jnp.arange(1, d + 1, dtype=dtype)
    return jnp.sum(digamma((n - i) / 2)) / 2
