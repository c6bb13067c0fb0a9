"""Is there any dependence at all? Permutation tests, exact for every n."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key, Real

from estimators._core import Stored, checks
from estimators.information._estimate import as_pair
from estimators.information._inference._statistic import as_estimator, number_of, number_of_blocks
from estimators.information._neighbours._ksg import ksg, mean_contribution
from estimators.information._ranks import score_vector


class PermutationTest(Stored):
    """Outcome of `permutation_test`.

    Attributes:
        p_value: `(1 + #{null >= observed}) / (1 + permutations)`.
        observed: the statistic of the data as they are.
        null: `(permutations,)`, the statistic after permuting the rows of y.
    """

    p_value: Float[Array, ""]
    observed: Float[Array, ""]
    null: Float[Array, " permutations"]


def permutation_test(
    x: Real[ArrayLike, "n dx"],
    y: Real[ArrayLike, "n dy"],
    *,
    key: Key[Array, ""],
    statistic: Any = ksg,
    permutations: int = 199,
    block: int = 1,
) -> PermutationTest:
    """Test whether x and y are independent, by permuting the rows of y.

    If the rows are exchangeable under independence (independent draws are) the p-value is at
    most a with probability at most a, for every n, every statistic and every a: the bias of the
    statistic does not matter. Memory is that of one evaluation, time that of
    `1 + permutations`; all run on the device in one program.

    Args:
        x: `(n, dx)`, float32 or float64; rows are joint samples with those of y.
        y: `(n, dy)`.
        key: draws the permutations.
        statistic: an estimator object, as `KSG()`, or a function that takes x and y and returns
            a scalar or an `Estimate`; large for dependence. A function is compiled once for each
            function object: pass the same one, not a fresh lambda.
        permutations: B, static; the smallest possible p-value is 1 / (1 + B).
        block: length of the runs of rows that are kept together, static. 1 is for independent
            rows; for a time series take it several times the range of its memory. The rows that
            do not fill a last block stay in place.

    Raises:
        ValueError: for different numbers of rows, `permutations < 1`, fewer than 2 blocks, or
            (outside jit) a constant column or a value that is not finite; inside jit the p-value
            is NaN.

    Reference: Phipson & Smyth (2010), *Permutation P-values should never be zero*; for blocks,
    Winkler et al. (2015), *Multi-level block permutation*.

    Example:
        >>> import jax
        >>> from estimators import information
        >>> x, noise = jax.random.normal(jax.random.key(0), (2, 200, 1))
        >>> test = information.permutation_test(x, x**2 + noise, key=jax.random.key(1))
        >>> print(f"{test.p_value:.3f}")
        0.005

    When it fails: rows of a time series are not exchangeable, and with `block=1` the test finds
    their autocorrelation. With blocks the level is no longer exact: what is left of the memory
    across the seams makes it somewhat too large, and B blocks have no more than B! orders.
    """
    checks.integer("permutations", permutations, at_least=1)
    statistic = as_estimator("statistic", statistic)
    x, y = as_pair(x, y, at_least=2, why="to permute")
    number_of_blocks(block, x.shape[0])
    return _permutation_test(x, y, checks.as_key(key), statistic, permutations, block)


def ksg_null(
    n: int, *, key: Key[Array, ""], neighbours: int = 5, permutations: int = 999
) -> Float[Array, " permutations"]:
    """What `ksg` gives in nats for two independent columns of n normal scores.

    After `normal_scores(..., key=key)` any column, whatever its distribution, is a permutation
    of the same n numbers, and under independence one that is uniformly distributed relative to
    another. This null distribution therefore serves every pair of columns of n rows, and
    `(1 + #{null >= observed}) / (1 + permutations)` is an exact p-value for each.

    Args:
        n: number of rows, static.
        key: draws the permutations.
        neighbours: k of the estimator, static.
        permutations: how many values, static.

    Raises:
        ValueError: if `n < neighbours + 2` or `permutations < 1`.

    Reference: rank tests; Kraskov et al. (2004) for the statistic.

    Example:
        >>> import jax
        >>> from estimators import information
        >>> null = information.ksg_null(200, key=jax.random.key(0), permutations=99)
        >>> bool(abs(null.mean()) < 0.02)
        True

    When it fails: single columns only. With more columns a side the joint ranks of that side
    matter, and `permutation_test` is needed.
    """
    checks.integer("neighbours", neighbours, at_least=1)
    checks.integer("n", n, at_least=neighbours + 2)
    checks.integer("permutations", permutations, at_least=1)
    scores = score_vector(n, jnp.result_type(float))
    return null_of(scores, checks.as_key(key), neighbours, permutations)


@functools.partial(jax.jit, static_argnames=("neighbours", "permutations"))
def null_of(
    scores: Float[Array, " n"], key, neighbours: int, permutations: int
) -> Float[Array, " permutations"]:
    """KSG between a column and random permutations of it."""

    def one(key):
        shuffled = jax.random.permutation(key, scores)
        return mean_contribution(scores[:, None], shuffled[:, None], neighbours)

    return jax.lax.map(one, jax.random.split(key, permutations))


@functools.partial(jax.jit, static_argnames="permutations")
def null_of_estimator(
    scores: Float[Array, " n"], key, estimator: Any, permutations: int
) -> Float[Array, " permutations"]:
    """The same for any estimator."""

    def one(key):
        return number_of(estimator, scores[:, None], jax.random.permutation(key, scores)[:, None])

    return jax.lax.map(one, jax.random.split(key, permutations))


def p_value(null: Float[Array, " B"], observed: Float[Array, ""]) -> Float[Array, ""]:
    """Fraction of null values that reach the observed one, which counts among them.

    Equal up to rounding is reaching: the statistics are functions of counts, and ties happen.
    """
    # Rounding is far below the null's own spread; its unit is whatever the statistic's is.
    spread = jnp.nan_to_num(jnp.nanstd(null))
    slack = 1e-3 * spread + 64 * jnp.finfo(null.dtype).eps * jnp.abs(observed)
    reached = jnp.sum(~(null < observed - slack), dtype=null.dtype)
    p = (1 + reached) / (1 + null.shape[0])
    return jnp.where(jnp.isnan(observed), jnp.nan, p)


@functools.partial(jax.jit, static_argnames=("permutations", "block"))
def _permutation_test(x, y, key, statistic, permutations, block):
    n = x.shape[0]
    last = jnp.arange(n - n % block, n)

    def one(key):
        order = jax.random.permutation(key, n // block)
        rows = (block * order[:, None] + jnp.arange(block)[None]).reshape(-1)
        return number_of(statistic, x, y[jnp.concatenate([rows, last])])

    observed = number_of(statistic, x, y)
    null = jax.lax.map(one, jax.random.split(key, permutations))
    return PermutationTest(p_value(null, observed), observed, null)
