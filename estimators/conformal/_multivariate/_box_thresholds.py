"""Three ways from errors of several columns to one threshold a column."""

from fractions import Fraction

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from estimators.conformal._quantile import as_fraction, conformal_quantile, conformal_rank


def scaled_thresholds(errors: Float[Array, "n k"], coverage: float) -> Float[Array, " k"]:
    """One for all columns: the conformal quantile of the largest error of each row."""
    threshold = conformal_quantile(jnp.max(errors, 1), coverage)
    return jnp.broadcast_to(threshold, errors.shape[1:])


def bonferroni_thresholds(errors: Float[Array, "n k"], coverage: float) -> Float[Array, " k"]:
    """For each column the conformal quantile that misses a k-th as often."""
    each = of_each_column(coverage, errors.shape[1])
    return jax.vmap(lambda column: conformal_quantile(column, each))(errors.T)


def copula_thresholds(errors: Float[Array, "n k"], coverage: float) -> Float[Array, " k"]:
    """The order statistic of one and the same rank in each column, whose box covers jointly."""
    return _at_common_rank(errors, conformal_rank(errors.shape[0], coverage))


def of_each_column(coverage: float, columns: int) -> Fraction:
    """The coverage of each column, exactly, whose misses add up to those allowed."""
    return 1 - (1 - as_fraction(coverage)) / columns


@jax.jit
def _at_common_rank(errors, rank):
    n = errors.shape[0]
    ordered = jnp.sort(errors, 0)
    before = jax.vmap(jnp.searchsorted, 1, 1)(ordered, errors)
    # The largest of a row's ranks, 1 to n, and how many rows have at most each.
    rows = jnp.bincount(jnp.max(before, 1) + 1, length=n + 1)
    level = jnp.searchsorted(jnp.cumsum(rows), rank)
    # One rank above the level: with the new row among them, ranks grow by one at most.
    above = jnp.concatenate([ordered, jnp.full_like(ordered[:1], jnp.inf)])
    found = above[jnp.minimum(level, n)]
    return jnp.where(jnp.isnan(errors).any(), jnp.nan, found)


METHODS = {
    "scaled": scaled_thresholds,
    "bonferroni": bonferroni_thresholds,
    "copula": copula_thresholds,
}
