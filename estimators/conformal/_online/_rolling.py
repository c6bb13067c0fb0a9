"""The share covered in a window that moves along a series, and what chance alone would give."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Key

from estimators._core import checks, order_statistic


class RollingCoverage(NamedTuple):
    """The share covered of each `window` steps in a row; see `rolling_coverage`.

    Attributes:
        coverage: `(T - window + 1,)`, of the window that begins at each step.
        lower: `(T - window + 1,)`, the exact band of each window by itself.
        upper: the same, its upper end.
        null: the least and the largest share that a method of coverage `target` should show in a
            whole series; None without a target.
    """

    coverage: Float[Array, " windows"]
    lower: Float[Array, " windows"]
    upper: Float[Array, " windows"]
    null: tuple[Float[Array, ""], Float[Array, ""]] | None


def rolling_coverage(
    covered: Bool[ArrayLike, " T"],
    window: int,
    *,
    confidence: float = 0.95,
    target: float | None = None,
    draws: int = 999,
    key: Key[Array, ""] | None = None,
) -> RollingCoverage:
    """Local coverage of a series, with its bands, in O(T).

    With k of the w steps of a window covered, the share k / w and the exact binomial
    (Clopper-Pearson) interval, `tail = (1 - confidence) / 2`,

        [beta(tail; k, w - k + 1), beta(1 - tail; k + 1, w - k)]

    With a target also a band for the whole series at once: of series of T independent steps, each
    covered with probability `target`, the smallest and the largest local share of
    `draws` are simulated; the band lies between order statistics of these, at
    `floor((draws + 1) tail)` from either end. A series of the target's law leaves it
    with probability at most `1 - confidence`, for every number of draws.

    Args:
        covered: `(T,)`, whether each step was covered.
        window: how many steps in a row; 1 to T.
        confidence: of either band, in (0, 1).
        target: coverage asked for, in (0, 1); None for no band of the whole series.
        draws: how many series are simulated, O(draws T) time and O(T) memory.
        key: draws them; needed with a target, and only then.

    Raises:
        ValueError: for a shape other than `(T,)`, values that are not bool, or a window, a
            confidence or a target out of range.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> covered = jnp.arange(300) % 10 > 0
        >>> covered = covered.at[100:120].set(False)
        >>> rolling = conformal.rolling_coverage(covered, 50, target=0.9, key=jax.random.key(0))
        >>> low, high = rolling.null
        >>> print(f"{rolling.coverage.min():.2f} {low:.2f} {rolling.upper.min():.2f}")
        0.54 0.76 0.68

    Reference: Clopper & Pearson 1934; the exact Monte-Carlo quantile is that of Barnard 1963.

    When it fails: both bands are those of independent steps. Online methods balance each miss by
    later hits, which narrows the spread of their local coverage; misses that cluster widen it.
    """
    from scipy import stats

    covered = jnp.asarray(covered)
    if covered.ndim != 1 or covered.dtype != bool:
        raise ValueError(
            f"covered must be bool, of shape (T,); got {covered.dtype}, shape {covered.shape}"
        )
    window = checks.integer("window", window, at_least=1)
    if window > covered.shape[0]:
        raise ValueError(f"window must be at most {covered.shape[0]}, the steps; got {window}")
    checks.probability("confidence", confidence)
    if (target is None) != (key is None):
        raise ValueError("target and key must be given together; got one of them")
    tail, hits = (1 - confidence) / 2, np.arange(window + 1)
    # Not the whole table at once: of no hits, and of no misses, the law is no beta law.
    lower = np.append(0, stats.beta.ppf(tail, hits[1:], window + 1 - hits[1:]))
    upper = np.append(stats.beta.ppf(1 - tail, hits[:-1] + 1, window - hits[:-1]), 1)
    counts, dtype = _counts(covered, window), jnp.result_type(float)
    table = jnp.asarray(np.stack([hits / window, lower, upper]), dtype)[:, counts]
    if target is None:
        return RollingCoverage(*table, null=None)
    checks.probability("target", target)
    draws = checks.integer("draws", draws, at_least=1)
    keys = jax.random.split(checks.as_key(key), draws)
    fewest, most = _extremes(keys, jnp.asarray(target, jnp.float32), covered.shape[0], window)
    rank = int((draws + 1) * tail + 1e-9)
    ends = jnp.stack([order_statistic(fewest, rank), order_statistic(most, draws + 1 - rank)])
    low, high = jnp.clip(ends / window, 0, 1).astype(dtype)
    return RollingCoverage(*table, null=(low, high))


def _counts(covered, window: int):
    reached = jnp.cumulative_sum(covered.astype(jnp.int32), include_initial=True)
    return reached[window:] - reached[:-window]


def _extreme_counts(key, target, steps: int, window: int):
    counts = _counts(jax.random.uniform(key, (steps,), jnp.float32) < target, window)
    return jnp.min(counts).astype(jnp.float32), jnp.max(counts).astype(jnp.float32)


@functools.partial(jax.jit, static_argnames=("steps", "window"))
def _extremes(keys, target, steps: int, window: int):
    """The fewest and the most hits of a window, in each simulated series."""
    return jax.lax.map(lambda key: _extreme_counts(key, target, steps, window), keys)
