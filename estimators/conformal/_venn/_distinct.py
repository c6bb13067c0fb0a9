"""Rows of equal score as one."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from estimators._core import runs


class Distinct(NamedTuple):
    """Scores in order without repeats, filled up to the number of rows by empty ones at +inf."""

    scores: Float[Array, " n"]
    sums: Float[Array, " n"]
    """Of weight times label, over the rows of the score."""
    weights: Float[Array, " n"]
    """Summed over the rows of the score."""
    count: Int[Array, ""]
    """How many scores there are before the empty ones."""


def distinct(
    scores: Float[Array, " n"], labels: Float[Array, " n"], weights: Float[Array, " n"]
) -> Distinct:
    """Sort the rows, and add up those of equal score."""
    scores, sums, weights = jax.lax.sort((scores, weights * labels, weights), num_keys=1)
    group = jnp.cumsum(runs(scores).first) - 1

    def total(column):
        return jax.ops.segment_sum(column, group, column.shape[0], indices_are_sorted=True)

    alone = jnp.full_like(scores, jnp.inf).at[group].set(scores)
    return Distinct(alone, total(sums), total(weights), group[-1] + 1)
