"""What the ranks of a batch may cost together, with the coverage asked for."""

import functools
from fractions import Fraction
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from estimators.conformal._batch_score._rank_sum import rank_sum_quantile
from estimators.conformal._batch_score._ranks import ordering_quantile


class Budget(NamedTuple):
    """Ranks that a batch may take: `sum_j levels[r_j] <= total`, with the scores of the ranks.

    Attributes:
        levels: `(k,)`, what each rank costs, from rank 1 on, nondecreasing.
        scores: `(k,)`, the largest score of each rank.
        total: +inf where any ranks may occur.
    """

    levels: Float[Array, " k"]
    scores: Float[Array, " k"]
    total: Float[Array, ""]


def rank_budget(ordered, bound, test: int, coverage: Fraction) -> tuple[Float[Array, " k"], int]:
    """Scores that r - 1 = 0, 1, .. steps buy, and the number of steps, for the sum of ranks."""
    steps = rank_sum_quantile(ordered.size, test, coverage) - test
    return jnp.append(ordered, bound)[: steps + 1], steps


@functools.partial(jax.jit, static_argnames=("bound", "test", "coverage", "draws"))
def ordering_budget(
    ordered, bound, reference, test: int, coverage: Fraction, key: Key[Array, ""], draws: int
) -> Budget:
    """Each rank costs the quantile of a reference sample at r / (n + 1), rank n + 1 the bound.

    Where scores have no bound, rank n + 1 costs +inf: no finite budget buys it.

    Between order statistics of the reference (at i / (k + 1), i = 1..k) it is interpolated
    linearly; beyond them it is the first or the last. With k = n it is the r-th of them.
    """
    n, k = ordered.size, reference.size
    place = jnp.arange(1, n + 1, dtype=ordered.dtype) * ((k + 1) / (n + 1)) - 1
    levels = jnp.interp(place, jnp.arange(k, dtype=ordered.dtype), jnp.sort(reference))
    levels = jax.lax.cummax(levels)  # interpolation may round downwards
    costs = jnp.append(levels, jnp.maximum(levels[-1], bound))
    drawn = ordering_quantile(
        lambda ranks: costs[ranks - 1].sum(), n, test, coverage, key=key, draws=draws
    )
    # So that no ranks are lost to the rounding of their sum.
    rounding = test * jnp.finfo(levels.dtype).eps * jnp.abs(levels).max()
    payable = n if np.isinf(bound) else n + 1
    return Budget(costs[:payable], jnp.append(ordered, bound)[:payable], drawn + rounding)


@functools.partial(jax.jit, static_argnames=("test", "resolution"))
def in_steps(budget: Budget, test: int, resolution: int) -> Float[Array, " k"]:
    """The largest score that 0, 1, .., `resolution` steps buy, with costs rounded down to steps.

    All the steps together are the budget, so every batch within the budget stays within it.
    """
    levels, scores, total = budget
    dearer = levels - levels[0]
    whole = jnp.maximum(total - test * levels[0], jnp.finfo(levels.dtype).tiny)
    shrink = 1 - 8 * jnp.finfo(levels.dtype).eps  # rounding must not make a rank dearer
    steps = jnp.floor(dearer / whole * (resolution * shrink))
    bought = jnp.searchsorted(steps, jnp.arange(resolution + 1, dtype=steps.dtype), side="right")
    return scores[bought - 1]
