"""Mutual information of all pairs of columns, with p-values and a false discovery rate."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Key, Real

from estimators._core import Stored, checks, constant_columns
from estimators.information._estimate import varied
from estimators.information._ksg import jackknife
from estimators.information._permutation import null_of, p_value
from estimators.information._ranks import _normal_scores, score_vector


class MutualInformationMatrix(Stored):
    """Pairwise mutual information of p columns; every matrix is symmetric.

    Attributes:
        value: `(p, p)`, nats; infinite on the diagonal.
        standard_error: `(p, p)`, nats; NaN on the diagonal.
        p_value: `(p, p)`, of independence, exact for each pair; NaN on the diagonal.
        discovered: `(p, p)`, the pairs that Benjamini & Hochberg's procedure reports.
        null: `(permutations,)`, nats: the values under independence, the same for all pairs.
    """

    value: Float[Array, "p p"]
    standard_error: Float[Array, "p p"]
    p_value: Float[Array, "p p"]
    discovered: Bool[Array, "p p"]
    null: Float[Array, " permutations"]


def mutual_information_matrix(
    data: Real[ArrayLike, "n p"],
    *,
    key: Key[Array, ""],
    neighbours: int = 5,
    permutations: int = 999,
    false_discovery_rate: float | Float[Array, ""] = 0.05,
) -> MutualInformationMatrix:
    """KSG mutual information of every pair of columns, and which pairs are dependent.

    The columns become normal scores with ties broken at random (so they may be discrete), then
    one simulated null distribution serves all pairs, see `ksg_null`: the cost is that of
    `permutations` evaluations and of two for each pair, in one compiled program.

    Args:
        data: `(n, p)`, float32 or float64, p >= 2; rows are samples.
        key: breaks the ties and draws the permutations.
        neighbours: k of KSG, static.
        permutations: B, static. The smallest p-value is 1 / (1 + B); for a lone dependence to
            be found it must be at most `2 false_discovery_rate / (p (p - 1))`.
        false_discovery_rate: the expected fraction, among the pairs reported, of those that
            are independent.

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
    data = checks.as_points("data", data, at_least=neighbours + 2)
    checks.integer("neighbours", neighbours, at_least=1)
    checks.integer("permutations", permutations, at_least=1)
    checks.probability("false_discovery_rate", false_discovery_rate)
    if data.shape[1] < 2:
        raise ValueError(f"data must have at least 2 columns; got shape {data.shape}")
    varied("data", data)
    rate = jnp.asarray(false_discovery_rate, data.dtype)
    return _matrix(data, checks.as_key(key), rate, neighbours, permutations)


@functools.partial(jax.jit, static_argnames=("neighbours", "permutations"))
def _matrix(data, key, rate, neighbours, permutations):
    n, p = data.shape
    ties, shuffles = jax.random.split(key)
    scores = _normal_scores(data, ties)
    null = null_of(score_vector(n, data.dtype), shuffles, neighbours, permutations)
    usable = jnp.isfinite(data).all(0) & ~constant_columns(data)
    rows, columns = jnp.triu_indices(p, 1)

    def one(pair):
        first, second = pair
        x = jnp.take(scores, first, axis=1)[:, None]
        y = jnp.take(scores, second, axis=1)[:, None]
        value, error = jackknife(x, y, neighbours)
        value, error = checks.poison((value, error), usable[first] & usable[second])
        return value, error, p_value(null, value)

    value, error, p_values = jax.lax.map(one, (rows, columns))
    adjusted = benjamini_hochberg(jnp.where(jnp.isnan(p_values), 1, p_values))

    def square(of_pairs, diagonal):
        full = jnp.full((p, p), diagonal, of_pairs.dtype)
        return full.at[rows, columns].set(of_pairs).at[columns, rows].set(of_pairs)

    return MutualInformationMatrix(
        value=square(value, jnp.inf),
        standard_error=square(error, jnp.nan),
        p_value=square(p_values, jnp.nan),
        discovered=square(adjusted <= rate, False),
        null=null,
    )


def benjamini_hochberg(p_values: Float[Array, " m"]) -> Float[Array, " m"]:
    """Adjusted p-values: the smallest false discovery rate at which each would be reported."""
    m = p_values.shape[0]
    order = jnp.argsort(p_values)
    scaled = p_values[order] * (m / jnp.arange(1, m + 1, dtype=p_values.dtype))
    adjusted = jnp.minimum(jax.lax.cummin(scaled, reverse=True), 1)
    return jnp.zeros_like(adjusted).at[order].set(adjusted)
