"""Bounds of the mean of a batch of test scores."""

from typing import Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from estimators._core import checks
from estimators.conformal._batch_score._budget import in_steps, ordering_budget, rank_budget
from estimators.conformal._batch_score._envelope import concave_envelope
from estimators.conformal._batch_score._knapsack import largest_sum
from estimators.conformal._batch_score._spec import RankBounds


class BatchMean(RankBounds):
    """Bounds of the mean of m test scores by their ranks among n calibration scores.

    With R the ranks and h an ordering of them, P(h(R) <= q) >= coverage, the upper bound is
    `max {mean_j S_(r_j) : h(r) <= q}`. Here h(r) = sum_j phi(r_j), with phi(r) = r (the sum of
    ranks), or phi the quantiles of a reference sample. The lower bound is that of the negated
    scores, negated.

    Args:
        test: number m of test scores.
        coverage: probability that the bounds must cover, in (0, 1); two-sided bounds have
            (1 + coverage) / 2 each.
        ordering: `(k,)`, scores of an independent sample, such as the training rows: phi(r) is
            their quantile at r / (n + 1), and phi(n + 1) the bound of the scores, +inf
            without one. The result then follows the shape of the scores. For scores without a
            bound it is finite where 1 - coverage of a side is above m / (n + m) by more than
            the draws vary. None orders by the sum of ranks.
        lower_bound: what no score is below.
        upper_bound: what no score is above. Without it the sum of ranks seldom gives a finite
            bound.
        side: "upper", "lower" or "two-sided".
        method: "exact" solves for the maximum, in O((n m)^2 / 16) time and O(n m) memory;
            "envelope" bounds it from above, in O(n log n), by m times the concave envelope of
            the points (phi(r), S_(r)) at q / m. With an ordering "exact" rounds phi down.
        resolution: steps of that rounding, for the whole budget q; the error is at most that
            of a budget larger by the share m / resolution. Where that is more than the
            envelope is off by, the envelope is kept.
        draws: of ranks, for q with an ordering.

    Guarantee: for exchangeable scores (and an ordering that saw none of them) the mean is
    covered with probability at least `coverage`. It holds in finite samples, and with ties.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> scores = jnp.linspace(0.0, 1.0, 99)
        >>> spec = conformal.BatchMean(test=10, coverage=0.9, upper_bound=1.0)
        >>> print(f"{spec.calibrate(scores).upper:.3f}")
        0.631

    Reference: Lee, Tchetgen Tchetgen & Dobriban (arXiv 2409.13990), for the bound; the exact
    law of the sum of ranks, the envelope and the ordering by a reference are additions.

    When it fails: the sum of ranks gives loose bounds for scores far from uniform, which do
    not tighten as n grows. Where n / m is large, `PartitionMean` is tighter; see
    `choose_batch_mean`.
    """

    method: Literal["exact", "envelope"] = eqx.field(static=True, default="exact", kw_only=True)

    def __check_init__(self):
        checks.one_of("method", self.method, ("exact", "envelope"))

    def _bound(self, ordered, bound, reference, coverage, key, sign):
        m = self.test
        if reference is None:
            scores, steps = rank_budget(ordered, bound, m, coverage)
            if steps >= ordered.size and not np.isfinite(bound):
                return jnp.full((), bound, scores.dtype)
            if self.method == "exact":
                return largest_sum(scores, m, steps) / m
            levels = jnp.arange(scores.size, dtype=scores.dtype)
            share = jnp.asarray(steps / m, scores.dtype)
            return concave_envelope(levels, scores, share, levels.size - 1)
        budget = ordering_budget(ordered, bound, reference, m, coverage, key, self.draws)
        levels, scores, total = budget
        affordable = jnp.searchsorted(levels, total - (m - 1) * levels[0], side="right")
        largest = concave_envelope(levels, scores, total / m, affordable - 1)
        if self.method == "exact":
            exact = largest_sum(in_steps(budget, m, self.resolution), m, self.resolution) / m
            largest = jnp.minimum(largest, exact)
        return jnp.where(jnp.isposinf(total), bound, largest)

    def _trivial(self, dtype):
        return jnp.asarray(self.lower_bound, dtype), jnp.asarray(self.upper_bound, dtype)
