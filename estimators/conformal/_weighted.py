"""Conformal quantiles of weighted scores, for calibration rows from another law."""

import functools
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Real

from estimators._core import Stored, checks
from estimators.conformal._grouped import as_groups, as_whole, known_groups
from estimators.conformal._quantile import as_scores
from estimators.conformal._search import search


def weighted_conformal_quantiles(
    scores: Real[ArrayLike, " n"],
    weights: Real[ArrayLike, " n"],
    new_weights: Real[ArrayLike, "*batch"],
    coverage: float | Fraction | Real[ArrayLike, ""],
    *,
    groups: Int[ArrayLike, " n"] | None = None,
    new_groups: Int[ArrayLike, "*batch"] | None = None,
    count: int | None = None,
) -> Float[Array, "*batch"]:
    """Thresholds under covariate shift: one for each new row, by its own weight.

        min{ s : sum_i w_i 1{S_i <= s} >= coverage (w_1 + ... + w_n + w_new) }

    or +inf where all the weights together do not reach that (Tibshirani et al. 2019, lemma 3).
    With equal weights it is `conformal_quantile`. O((n + m) log n) for m new rows: scores are
    sorted once, and each row is a search.

    Args:
        scores: `(n,)`.
        weights: `(n,)`, not negative: the ratio of the new rows' density to that of the
            calibration rows at each, up to one factor.
        new_weights: the same ratio at each new row, up to the same factor.
        coverage: in (0, 1).
        groups: as for `grouped_conformal_quantiles`, with `new_groups` that of each new row;
            the sums are then over the row's group.
        new_groups: see `groups`.
        count: number of groups; needed where groups are traced.

    Raises:
        ValueError: for shapes that do not belong together, NaN, weights that are negative or
            infinite, or unknown groups. Inside jit these give NaN, and an unknown group +inf.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> scores, weights = jnp.arange(10.0), jnp.arange(10.0)
        >>> new = jnp.array([0.0, 1.0, 9.0, 12.0])
        >>> print(conformal.weighted_conformal_quantiles(scores, weights, new, 0.8))
        [ 8.  9.  9. inf]

    Reference: Tibshirani, Barber, Candes & Ramdas 2019, Conformal prediction under covariate
    shift. With weights that are chosen, by the age of rows say, and new weights of 1, it is the
    method of Barber, Candes, Ramdas & Tibshirani 2023, Conformal prediction beyond exchangeability.

    When it fails: where few weights dominate, thresholds are noisy or infinite; the effective
    sample size of the weights, `sum(w)**2 / sum(w**2)`, says how few. Estimated ratios cost
    coverage, at most half the mean absolute error of the normalised ratio (Lei & Candes 2021,
    theorem 3).
    """
    checks.probability("coverage", coverage)
    if (groups is None) != (new_groups is None):
        raise ValueError("groups and new_groups must be given together; got one of them")
    weighed = weigh(scores, weights, groups, count)
    return weighed.thresholds(new_weights, new_groups, coverage)


class WeighedScores(Stored):
    """Scores in order within their groups, and the weight up to each.

    Attributes:
        scores: `(n,)`.
        reached: `(n,)`, cumulative weights within the group, in units of the largest weight.
        edges: `(groups + 1,)`, where each group starts.
        unit: the largest weight.
    """

    scores: Float[Array, " n"]
    reached: Float[Array, " n"]
    edges: Int[Array, " edges"]
    unit: Float[Array, ""]

    def thresholds(
        self,
        new_weights: Real[ArrayLike, "*batch"],
        new_groups: Int[ArrayLike, "*batch"] | None,
        coverage: float | Fraction | Real[ArrayLike, ""],
    ) -> Float[Array, "*batch"]:
        """A threshold for each new row; see `weighted_conformal_quantiles`."""
        new, valid = as_ratios("new_weights", new_weights)
        new = new.astype(self.scores.dtype)
        count = self.edges.shape[0] - 1
        group = jnp.zeros(new.shape, jnp.int32)
        if new_groups is not None:
            group = known_groups("new_groups", as_whole("new_groups", new_groups, new.shape), count)
        exact = float(coverage) if isinstance(coverage, Fraction) else coverage
        found = _search(self, new, group, jnp.asarray(exact, new.dtype))
        return jnp.where(valid, found, jnp.nan)


def weigh(scores, weights, groups=None, count: int | None = None) -> WeighedScores:
    """Check scores, weights and groups of calibration rows, and put them in order."""
    scores = as_scores("scores", scores)
    weights, valid = as_ratios("weights", weights, scores.shape)
    dtype = jnp.result_type(scores, weights)
    if groups is None:
        groups, count = jnp.zeros(scores.shape, jnp.int32), 1
    else:
        groups, count = as_groups("groups", groups, scores.shape[0], count)
    valid = valid.all() & ~jnp.isnan(scores).any()
    return _weigh(checks.poison(scores.astype(dtype), valid), weights.astype(dtype), groups, count)


@functools.partial(jax.jit, static_argnums=3)
def _weigh(scores, weights, groups, count):
    groups, ordered, weights = jax.lax.sort((groups, scores, weights), num_keys=2)
    edges = jnp.searchsorted(groups, jnp.arange(count + 1, dtype=groups.dtype)).astype(jnp.int32)
    unit = largest_weight(weights)
    return WeighedScores(ordered, cumulative_within(groups, weights / unit), edges, unit)


def largest_weight(weights: Float[Array, " n"]) -> Float[Array, ""]:
    """The unit in which weights are added up, so that no sum overflows; 1 if all are 0."""
    largest = jnp.max(weights, initial=0)
    return jnp.where(largest > 0, largest, 1)


def cumulative_within(groups: Int[Array, " n"], weights: Float[Array, " n"]) -> Float[Array, " n"]:
    """Cumulative weights that start anew with each group.

    Differences of one sum over all groups would lose a group of small weights behind one of
    large ones.
    """
    starts = jnp.append(jnp.ones(1, bool), groups[1:] != groups[:-1])[: groups.shape[0]]

    def add(before, after):
        return before[0] | after[0], jnp.where(after[0], after[1], before[1] + after[1])

    return jax.lax.associative_scan(add, (starts, weights))[1]


@jax.jit
def _search(weighed, new_weights, group, coverage):
    scores, reached, edges = weighed.scores, weighed.reached, weighed.edges
    if scores.shape[0] == 0:
        return jnp.full(new_weights.shape, jnp.inf, scores.dtype)
    unknown = group >= edges.shape[0] - 1
    group = jnp.where(unknown, 0, group)
    start, end = edges[group], edges[group + 1]
    total = jnp.where(end > start, reached[end - 1], 0)
    # A whole number may be missed by the rounding of the sums: with equal weights, by a rank.
    slack = 16 * jnp.finfo(reached.dtype).eps
    needed = (coverage - slack) * (total + new_weights / weighed.unit)
    place = search(reached, needed, start, end, "left")
    possible = (coverage > 0) & (coverage < 1) & (total > 0)
    found = scores[jnp.minimum(place, scores.shape[0] - 1)]
    found = jnp.where(unknown | ~possible | (place >= end), jnp.inf, found)
    return jnp.where(jnp.isnan(scores[0]), jnp.nan, found)


def as_ratios(
    name: str, weights, shape: tuple[int, ...] | None = None
) -> tuple[Float[Array, "..."], Bool[Array, "..."]]:
    """Check weights: finite and not negative; where they are not known, say which are."""
    array = checks.as_float(name, weights)
    if shape is not None and array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, one a row; got shape {array.shape}")
    checks.finite(name, array)
    if checks.is_concrete(array) and checks.holds(lambda a: (a < 0).any(), array):
        least = np.asarray(array).min()
        raise ValueError(f"{name} must not be negative; the least of {array.size} is {least}")
    return array, jnp.isfinite(array) & (array >= 0)
