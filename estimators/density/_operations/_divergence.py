"""Entropy, cross-entropy and Kullback-Leibler divergence of kernel density estimates.

None has a closed form. Each is a mean of log densities over draws from the estimate itself,
which is unbiased for the estimate, with the standard error of that mean.
"""

import functools

import jax
from jaxtyping import Array, Key

from estimators._core import checks
from estimators.density._fitted import FittedKDE, as_fitted
from estimators.density._operations._monte_carlo import MonteCarloEstimate, mean_of


def entropy(fitted: FittedKDE, *, key: Key[Array, ""], samples: int = 4096) -> MonteCarloEstimate:
    """Differential entropy of the estimate, `-E log f(X)` with X from f, in nats.

    Unbiased for the entropy of the estimate, not for that of the law behind the data: the
    estimate is smoother, and its entropy is larger by the divergence that smoothing costs.
    Costs `samples` times n kernel evaluations in O(block) memory. It has a derivative in the
    bandwidth and the centres (that of the draws, unbiased), but none in the weights.

    Args:
        fitted: a kernel density estimate.
        key: of the draws.
        samples: number of draws, at least 2. The error falls with its root.

    Raises:
        ValueError: if `samples` is not a whole number of at least 2, or `key` is no new-style
            key.

    Example:
        >>> import jax
        >>> from estimators import density
        >>> fitted = density.KDE(1.0).fit(jax.numpy.zeros((1, 1)))  # one kernel: a normal law
        >>> lower, upper = density.entropy(fitted, key=jax.random.key(1)).interval(0.999)
        >>> bool(lower < 1.4189 < upper)  # log(2 pi e) / 2
        True

    When it fails: in high dimension, where the estimate is the echo of single points (see
    `regime`): its entropy is then about log n plus that of one kernel.
    """
    as_fitted("fitted", fitted)
    checks.integer("samples", samples, at_least=2)
    return _cross_entropy(fitted, fitted, samples, checks.as_key(key))


def cross_entropy(
    p: FittedKDE, q: FittedKDE, *, key: Key[Array, ""], samples: int = 4096
) -> MonteCarloEstimate:
    """Cross-entropy `-E log q(X)` with X from p, in nats.

    With data in place of p it is `-q.log_density(rows).mean()`.

    Args:
        p: the estimate that is drawn from.
        q: the one that is judged; of as many columns.
        key: of the draws.
        samples: number of draws, at least 2.

    Raises:
        ValueError: as `entropy`, and if p and q have different numbers of columns.

    Example:
        >>> import jax
        >>> from estimators import density
        >>> p = density.KDE(1.0).fit(jax.numpy.zeros((1, 1)))
        >>> q = density.KDE(2.0).fit(jax.numpy.zeros((1, 1)))
        >>> result = density.cross_entropy(p, q, key=jax.random.key(1))
        >>> print(f"{result.value:.1f}")  # log(2 sqrt(2 pi)) + 1/8 = 1.737
        1.7

    When it fails: as `entropy`.
    """
    _same_columns(p, q)
    checks.integer("samples", samples, at_least=2)
    return _cross_entropy(p, q, samples, checks.as_key(key))


def divergence(
    p: FittedKDE, q: FittedKDE, *, key: Key[Array, ""], samples: int = 4096
) -> MonteCarloEstimate:
    """Kullback-Leibler divergence `E log p(X) / q(X)` with X from p, in nats.

    Both densities are asked at the same draws: where they are close, so are their logarithms,
    and the error is far below that of two entropies. It is unbiased, and may come out negative
    by its error where the divergence, which never is, is near zero.

    Args:
        p: the estimate that is drawn from.
        q: the one that is judged; of as many columns.
        key: of the draws.
        samples: number of draws, at least 2.

    Raises:
        ValueError: as `entropy`, and if p and q have different numbers of columns.

    Example:
        >>> import jax
        >>> from estimators import density
        >>> p = density.KDE(1.0).fit(jax.numpy.zeros((1, 1)))
        >>> q = density.KDE(1.0).fit(jax.numpy.ones((1, 1)))
        >>> result = density.divergence(p, q, key=jax.random.key(1))
        >>> lower, upper = result.interval(0.999)
        >>> bool(lower < 0.5 < upper)  # two normals one apart
        True

    When it fails: where q all but vanishes on part of p. The log ratio there is that of the
    kernels' tails, seldom drawn and large: the error is then too optimistic. Under compact
    kernels the divergence is often infinite, and comes out so, with an error of NaN.
    """
    _same_columns(p, q)
    checks.integer("samples", samples, at_least=2)
    return _divergence(p, q, samples, checks.as_key(key))


def _same_columns(p: FittedKDE, q: FittedKDE) -> None:
    as_fitted("p", p)
    as_fitted("q", q)
    if p.points.shape[1] != q.points.shape[1]:
        raise ValueError(
            f"q must have as many columns as p; got {q.points.shape[1]} against {p.points.shape[1]}"
        )


@functools.partial(jax.jit, static_argnums=2)
def _cross_entropy(p, q, samples, key) -> MonteCarloEstimate:
    return mean_of(-q.log_density(p.sample(samples, key=key)))


@functools.partial(jax.jit, static_argnums=2)
def _divergence(p, q, samples, key) -> MonteCarloEstimate:
    draws = p.sample(samples, key=key)
    return mean_of(p.log_density(draws) - q.log_density(draws))
