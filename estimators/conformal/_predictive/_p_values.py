"""Conformal p-values: how extreme a new score is among calibration scores, by one sort."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Key, Real

from estimators._core import checks
from estimators.conformal._grouped import as_groups, as_whole, known_groups
from estimators.conformal._predictive._order import counted_p_values
from estimators.conformal._quantile import as_scores
from estimators.conformal._search import search
from estimators.conformal._weighted import as_ratios, cumulative_within, largest_weight


def conformal_p_values(
    scores: Real[ArrayLike, " n"],
    new_scores: Real[ArrayLike, "*batch"],
    *,
    key: Key[Array, ""] | None = None,
    weights: Real[ArrayLike, " n"] | None = None,
    new_weights: Real[ArrayLike, "*batch"] | None = None,
    groups: Int[ArrayLike, " n"] | None = None,
    new_groups: Int[ArrayLike, "*batch"] | None = None,
    count: int | None = None,
) -> Float[Array, "*batch"]:
    """P-values of new rows against the hypothesis that they are like the calibration rows.

        p = (#{i : S_i >= t} + 1) / (n + 1)

    for a new score t, where large scores are extreme. With exchangeable rows
    `P(p <= a) <= a` for every a. With a key ties are broken at random,

        p = (#{i : S_i > t} + u (#{i : S_i = t} + 1)) / (n + 1),   u uniform on (0, 1],

    and p is exactly uniform, however many scores are equal. With weights every row, the new
    one too, counts by its weight, which keeps this where new rows come from another law of
    the features. O((n + m) log n) time and O(n + m) memory for m new rows.

    Args:
        scores: `(n,)`, of rows that the model has not seen. Infinite ones are allowed.
        new_scores: of new rows, in the same unit.
        key: for smoothed p-values.
        weights: `(n,)`, not negative: the ratio of the new rows' density to that of the
            calibration rows at each, up to one factor.
        new_weights: the same ratio at each new row, up to the same factor; positive.
        groups: `(n,)`, the group of each row, 0 to `count - 1`: a row is then compared with its
            own group only, and p-values hold within each (Mondrian).
        new_groups: the group of each new row.
        count: number of groups; None takes the largest group and one more. It is needed inside
            `jax.jit`.

    Returns:
        `(*batch,)`, in (0, 1]. In a group without calibration rows p is 1 (u where smoothed).

    Raises:
        ValueError: for shapes that do not belong together, NaN, weights that are negative, or
            unknown groups. Inside jit NaN and bad weights give NaN, and a row of an unknown
            group has the p-value of an empty one.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> scores = jnp.arange(1.0, 10.0)
        >>> print(conformal.conformal_p_values(scores, jnp.array([9.5, 9.0, 0.0])))
        [0.1 0.2 1. ]

    Reference: Vovk, Gammerman & Shafer 2005, chapter 2; Tibshirani, Barber, Candes &
    Ramdas 2019 for weights.

    When it fails: no p-value is below 1/(n + 1), so a small n cannot reject at a small level.
    P-values of many new rows share their calibration rows and are dependent (Bates et al.
    2023 show that the Benjamini-Hochberg procedure stands that). With weights the smallest one
    is that of the new row in the sum of all: where few weights dominate nothing is rejected.
    """
    scores = as_scores("scores", scores)
    if scores.shape[0] == 0:
        raise ValueError("scores must have at least 1 entry; got shape (0,)")
    new = _as_new_scores(new_scores)
    dtype = jnp.result_type(scores, new)
    if (weights is None) != (new_weights is None):
        raise ValueError("weights and new_weights must be given together; got one of them")
    if (groups is None) != (new_groups is None):
        raise ValueError("groups and new_groups must be given together; got one of them")
    if weights is not None:
        weights, valid = as_ratios("weights", weights, scores.shape)
        weights = jnp.where(valid, weights, jnp.nan).astype(dtype)
        new_weights, valid = as_ratios("new_weights", new_weights, new.shape)
        checks.positive("new_weights", new_weights)
        new_weights = jnp.where(valid & (new_weights > 0), new_weights, jnp.nan).astype(dtype)
    if groups is not None:
        groups, count = as_groups("groups", groups, scores.shape[0], count)
        new_groups = known_groups(
            "new_groups", as_whole("new_groups", new_groups, new.shape), count
        )
    elif count is not None:
        raise ValueError(f"count must come with groups; got {count} without them")
    else:
        count = 1
    key = None if key is None else checks.as_key(key)
    return _p_values(
        (scores.astype(dtype), weights, groups),
        (new.astype(dtype), new_weights, new_groups),
        key,
        count,
    )


def _as_new_scores(new_scores):
    array = checks.as_float("new_scores", new_scores)
    if checks.is_concrete(array) and checks.holds(lambda a: jnp.isnan(a).any(), array):
        count = int(np.isnan(np.asarray(array)).sum())
        raise ValueError(f"new_scores must not be NaN; {count} of {array.size} are")
    return array


@functools.partial(jax.jit, static_argnames="count")
def _p_values(calibration, new, key, count: int):
    scores, weights, groups = calibration
    values, new_weights, new_groups = new
    broken = jnp.isnan(values) | jnp.isnan(scores).any()
    if groups is None:
        scores, *carried = jax.lax.sort((scores, *_present(weights)), num_keys=1)
        start = jnp.zeros(values.shape, jnp.int32)
        end = jnp.full(values.shape, scores.shape[0], jnp.int32)
    else:
        groups, scores, *carried = jax.lax.sort((groups, scores, *_present(weights)), num_keys=2)
        edges = jnp.searchsorted(groups, jnp.arange(count + 1)).astype(jnp.int32)
        # The group `count` is that of unknown rows: it has no place, so both bounds are its end.
        start, end = edges[new_groups], edges.at[new_groups + 1].get(mode="clip")
    first = search(scores, values, start, end, "left")
    last = search(scores, values, first, end, "right")

    if weights is None:
        beyond, tied, total = (
            places.astype(values.dtype) for places in (end - last, last - first, end - start)
        )
        own = jnp.ones((), values.dtype)
    else:
        # Summed from the top, where a small p-value needs its digits.
        (ordered,) = carried
        unit = largest_weight(ordered)
        own_group = jnp.zeros(ordered.shape, jnp.int32) if groups is None else groups
        above = cumulative_within(own_group[::-1], (ordered / unit)[::-1])[::-1]

        def between(low, high):
            sums = (jnp.where(at < end, above.at[at].get(mode="clip"), 0) for at in (low, high))
            return jnp.maximum(next(sums) - next(sums), 0)

        beyond, tied, total = between(last, end), between(first, last), between(start, end)
        own = new_weights / unit
        broken |= jnp.isnan(weights).any()
    return jnp.where(broken, jnp.nan, counted_p_values(beyond, tied, total, own, key))


def _present(weights):
    return () if weights is None else (weights,)
