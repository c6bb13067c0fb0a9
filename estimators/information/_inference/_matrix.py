"""Mutual information of all pairs of columns, with p-values and a false discovery rate."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Key, Real

from estimators._core import Stored, checks, constant_columns
from estimators.information._estimate import as_columns, conclude, status_of
from estimators.information._inference._permutation import null_of, null_of_estimator, p_value
from estimators.information._inference._statistic import as_estimator
from estimators.information._neighbours._ksg import jackknife
from estimators.information._ranks import _normal_scores, score_vector


class MutualInformationMatrix(Stored):
    """Pairwise mutual information of p columns; every matrix is symmetric.

    Attributes:
        value: `(p, p)`, nats; infinite on the diagonal.
        standard_error: `(p, p)`, nats; NaN on the diagonal.
        lower: `(p, p)`, nats: lower end of the interval of each pair; infinite on the diagonal.
        upper: `(p, p)`, nats: upper end; infinite on the diagonal.
        p_value: `(p, p)`, of independence, exact for each pair; NaN on the diagonal.
        discovered: `(p, p)`, the pairs that Benjamini & Hochberg's procedure reports.
        null: `(permutations,)`, nats: the values under independence, the same for all pairs.
    """

    value: Float[Array, "p p"]
    standard_error: Float[Array, "p p"]
    lower: Float[Array, "p p"]
    upper: Float[Array, "p p"]
    p_value: Float[Array, "p p"]
    discovered: Bool[Array, "p p"]
    null: Float[Array, " permutations"]


def mutual_information_matrix(
    data: Real[ArrayLike, "n p"],
    *,
    key: Key[Array, ""],
    estimator: Any = None,
    neighbours: int = 5,
    permutations: int = 999,
    false_discovery_rate: float | Float[Array, ""] = 0.05,
    coverage: float | Float[Array, ""] = 0.9,
) -> MutualInformationMatrix:
    """Mutual information of every pair of columns, and which pairs are dependent.

    The columns become normal scores with ties broken at random (so they may be discrete), then
    one simulated null distribution serves all pairs, see `ksg_null`: the cost is that of
    `permutations` evaluations and of two for each pair, in one compiled program. Under
    independence two columns of scores are one vector and a random permutation of it, whatever
    the estimator: the p-values are exact for every one.

    Args:
        data: `(n, p)`, float32 or float64, p >= 2; rows are samples.
        key: breaks the ties and draws the permutations.
        estimator: an estimator object, as `GaussianCopula()`, or a function of x and y that
            returns a number (its errors and intervals are NaN); it is given the normal scores of
            a pair. None is KSG.
        neighbours: k of KSG, static; without a meaning for another estimator.
        permutations: B, static. The smallest p-value is 1 / (1 + B); for a lone dependence to
            be found it must be at most `2 false_discovery_rate / (p (p - 1))`.
        false_discovery_rate: the expected fraction, among the pairs reported, of those that
            are independent.
        coverage: of the interval of each pair; it is that of the estimator, see its
            `interval`, and not corrected for the number of pairs.

    Returns:
        See `MutualInformationMatrix`.

    Raises:
        ValueError: for fewer than 2 columns or k + 2 rows, or (outside jit) a constant column
            or a value that is not finite. Inside jit the pairs of such a column are NaN and
            not discovered.

    Reference: Kraskov et al. (2004), equation 8; Benjamini & Hochberg (1995).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from estimators import information
        >>> data = jax.random.normal(jax.random.key(0), (300, 3))
        >>> data = data.at[:, 2].set(data[:, 0] ** 2 + 0.3 * data[:, 2])
        >>> found = information.mutual_information_matrix(data, key=jax.random.key(1))
        >>> print(found.discovered.astype(int))
        [[0 0 1]
         [0 0 0]
         [1 0 0]]

    When it fails: rows must be independent draws. Each p-value is exact; the false discovery
    rate is proven where those of the independent pairs are independent or positively
    dependent (Benjamini & Yekutieli 2001), and pairs that share a column need not be.
    """
    checks.integer("neighbours", neighbours, at_least=1)
    data = as_columns(data, at_least=neighbours + 2)
    checks.integer("permutations", permutations, at_least=1)
    checks.probability("false_discovery_rate", false_discovery_rate)
    checks.probability("coverage", coverage)
    rate, coverage = (jnp.asarray(a, data.dtype) for a in (false_discovery_rate, coverage))
    if estimator is not None:
        estimator = as_estimator("estimator", estimator)
    key = checks.as_key(key)
    return _matrix(data, key, estimator, rate, coverage, neighbours, permutations)


@functools.partial(jax.jit, static_argnames=("neighbours", "permutations"))
def _matrix(data, key, estimator, rate, coverage, neighbours, permutations):
    n, p = data.shape
    ties, shuffles = jax.random.split(key)
    scores = _normal_scores(data, ties)
    column = score_vector(n, data.dtype)
    if estimator is None:
        null = null_of(column, shuffles, neighbours, permutations)
    else:
        null = null_of_estimator(column, shuffles, estimator, permutations)
    usable = jnp.isfinite(data).all(0) & ~constant_columns(data)
    rows, columns = jnp.triu_indices(p, 1)

    def one(pair):
        first, second = pair
        x = jnp.take(scores, first, axis=1)[:, None]
        y = jnp.take(scores, second, axis=1)[:, None]
        if estimator is None:
            result = conclude(*jackknife(x, y, neighbours), x, y, status_of(x, y))
        else:
            result = estimator.estimate(x, y)
        numbers = jax.tree.map(lambda a: jnp.asarray(a, data.dtype), _numbers(result, coverage))
        numbers = checks.poison(numbers, usable[first] & usable[second])
        return *numbers, p_value(null, numbers[0])

    value, error, lower, upper, p_values = jax.lax.map(one, (rows, columns))
    adjusted = benjamini_hochberg(jnp.where(jnp.isnan(p_values), 1, p_values))

    def square(of_pairs, diagonal):
        full = jnp.full((p, p), diagonal, of_pairs.dtype)
        return full.at[rows, columns].set(of_pairs).at[columns, rows].set(of_pairs)

    return MutualInformationMatrix(
        value=square(value, jnp.inf),
        standard_error=square(error, jnp.nan),
        lower=square(lower, jnp.inf),
        upper=square(upper, jnp.inf),
        p_value=square(p_values, jnp.nan),
        discovered=square(adjusted <= rate, False),
        null=null,
    )


def _numbers(result, coverage):
    """Value, standard error, and the ends of the interval; NaN for what there is not."""
    if not hasattr(result, "value"):
        return result, jnp.nan, jnp.nan, jnp.nan
    error = getattr(result, "standard_error", jnp.nan)
    interval = getattr(result, "interval", None)
    ends = (jnp.nan, jnp.nan) if interval is None else interval(coverage)
    return result.value, error, *ends


def benjamini_hochberg(p_values: Float[Array, " m"]) -> Float[Array, " m"]:
    """Adjusted p-values: the smallest false discovery rate at which each would be reported."""
    m = p_values.shape[0]
    order = jnp.argsort(p_values)
    scaled = p_values[order] * (m / jnp.arange(1, m + 1, dtype=p_values.dtype))
    adjusted = jnp.minimum(jax.lax.cummin(scaled, reverse=True), 1)
    return jnp.zeros_like(adjusted).at[order].set(adjusted)
