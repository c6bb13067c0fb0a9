"""Normal scores: every column by its ranks onto the standard normal."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key, Real

from estimators._core import checks, runs


def normal_scores(
    x: Real[ArrayLike, "n d"], *, key: Key[Array, ""] | None = None
) -> Float[Array, "n d"]:
    """Replace every entry by the standard normal quantile of its rank, `ndtri(rank / (n + 1))`.

    Mutual information does not change under an increasing map of a continuous column, and
    normal marginals suit every estimator here. Ties get their average rank; with a key they are
    broken at random, independently in every column. That is the distributional transform
    (Rüschendorf 2009): for a column with repeated values it adds randomness that knows nothing
    of the other columns, so that in the limit of many rows I(scores of x; y) = I(x; y), and the
    scores are continuous.

    Args:
        x: `(n, d)`, float32 or float64; integers become the default float.
        key: breaks ties at random; without it they share a score.

    Returns:
        `(n, d)`, in the dtype of `x`; O(n log n) a column. A column with a NaN is NaN.

    Raises:
        ValueError: if `x` is not `(n, d)` or (outside jit) not finite.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import information
        >>> scores = information.normal_scores(jnp.array([[1.0], [9.0], [2.0], [2.0]]))
        >>> print(jnp.round(scores[:, 0], 2))
        [-0.84  0.84  0.    0.  ]

    When it fails: ranks do not depend on small changes of `x`; the gradient is zero. Average
    ranks of a column with many ties are not normal: give a key.
    """
    x = checks.as_points("x", x)
    return _normal_scores(x, None if key is None else checks.as_key(key))


@jax.jit
def _normal_scores(x, key):
    n, d = x.shape
    if key is None:
        ranks = jax.vmap(average_ranks, 1, 1)(x)
    else:
        ranks = jax.vmap(_random_ranks, (1, 0), 1)(x, jax.random.split(key, d))
    scores = jax.scipy.special.ndtri(ranks / (n + 1))
    return jnp.where(jnp.isnan(x).any(0, keepdims=True), jnp.nan, scores)


def average_ranks(column: Float[Array, " n"]) -> Float[Array, " n"]:
    """Ranks from 1; equal values share the mean of theirs."""
    order = jnp.argsort(column)
    _, start, stop = runs(column[order])
    # Twice the mean of 2 places is whole: exact, whatever the dtype of the column.
    return jnp.zeros_like(column).at[order].set((start + stop + 2).astype(column.dtype) / 2)


def _random_ranks(column: Float[Array, " n"], key) -> Float[Array, " n"]:
    """Ranks from 1; equal values in random order."""
    n = column.shape[0]
    shuffled = jax.random.permutation(key, n)
    order = shuffled[jnp.argsort(column[shuffled], stable=True)]
    return jnp.zeros_like(column).at[order].set(jnp.arange(1, n + 1, dtype=column.dtype))


@functools.partial(jax.jit, static_argnames=("n", "dtype"))
def score_vector(n: int, dtype) -> Float[Array, " n"]:
    """The normal scores of any column of n different values, in increasing order."""
    return jax.scipy.special.ndtri(jnp.arange(1, n + 1, dtype=dtype) / (n + 1))
