"""Isotonic regression of many short rows."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from estimators.quantile._inputs import as_rows
from estimators.quantile._monotone._rows import by_columns, running


def isotonic_levels(predictions: Real[ArrayLike, "*batch levels"]) -> Float[Array, "*batch levels"]:
    """Project predicted quantiles onto the non-decreasing vectors, in least squares.

    Neighbours that cross are replaced by their mean. Like sorting, this never raises the
    pinball loss summed over levels, whatever the outcome (Prop. 2 of arXiv 2103.00083).

    The pools are found by the min-max formula (Robertson, Wright and Dykstra 1988, 1.4),

        y_k = max_{i <= k} min_{j >= k} mean(x_i .. x_j)

    in O(L^2) vectorised work and O(L) memory a row. The derivative, in either mode, is the
    mean over each pool, in O(L).

    Args:
        predictions: quantiles in the order of their levels, finite.

    Returns:
        Non-decreasing along the last axis; a row that is non-decreasing already comes back
        as it was, to the bit. A row that is not finite becomes NaN throughout.

    Raises:
        ValueError: if there is no last axis, or the array is not of floats.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import quantile
        >>> print(quantile.isotonic_levels(jnp.array([[1.0, 4.0, 2.0, 5.0]])))
        [[1. 3. 3. 5.]]

    When it fails: where two pools have nearly equal means, rounding decides whether they
    are one; the values agree, the derivative is that of one of the two.
    """
    return _isotonic(as_rows(predictions))


PART = 25  # levels of a scan: more of them are wasted on i > k, fewer are more scans


@jax.custom_jvp
@jax.jit
def _isotonic(rows):
    return by_columns(_project, rows)


@_isotonic.defjvp
@jax.jit
def _isotonic_jvp(primals, tangents):
    (rows,), (change,) = primals, tangents
    starts = by_columns(_pool_starts, jax.lax.stop_gradient(rows))
    return by_columns(_ordered_means, rows, starts), by_columns(_pool_means, change, starts)


def _project(columns):
    return _ordered_means(columns, _pool_starts(columns))


def _ordered_means(columns, starts):
    # The means of two pools that are nearly equal may be out of order by a rounding error.
    values = running(jnp.maximum, _pool_means(columns, starts))
    finite = jnp.isfinite(columns).all(0, keepdims=True)
    return jnp.where(finite, values, jnp.nan)


def _pool_starts(columns):
    """Where a pool begins, as 0 and 1 in the dtype of the columns."""
    # Differences of cumulative sums lose digits, the fewer the nearer the row is to zero.
    sums = running(jnp.add, columns - columns[:1])
    before = jnp.pad(sums[:-1], ((1, 0), (0, 0)))
    length = columns.shape[0]

    def step(least, arguments):
        # least[i] is min_{j >= k} mean(x_i .. x_j); k falls from one step to the next.
        total, share, beyond = arguments
        least = jnp.minimum(least, (total[None] - before[: least.shape[0]]) * share + beyond)
        return least, jnp.max(least, 0)

    # Only i <= k matters: a scan over part of the levels carries no more than it needs.
    least, parts = jnp.full_like(columns, jnp.inf), []
    for stop in range(length, 0, -PART):
        levels = jnp.arange(max(stop - PART, 0), stop)
        count = levels[:, None] - jnp.arange(stop)[None] + 1
        # Beside the scan, not in it: there they would be computed for every row.
        share = (1 / jnp.maximum(count, 1)).astype(columns.dtype)[..., None]
        beyond = jnp.where(count < 1, -jnp.inf, 0).astype(columns.dtype)[..., None]
        arguments = (sums[max(stop - PART, 0) : stop], share, beyond)
        least, part = jax.lax.scan(step, least[:stop], arguments, reverse=True)
        parts.append(part)
    fitted = jnp.concatenate(parts[::-1])
    lowest = running(jnp.minimum, columns, reverse=True)

    def begins(carry, arguments):
        highest, before = carry
        value, fit, low = arguments
        # What was fitted is non-decreasing even in rounded arithmetic, and used for its order
        # only: within a pool all maxima are the same number. Where all values before are at most
        # all values from here on, no pool reaches across; this keeps rounding from pooling what
        # is in order.
        start = (fit > before) | (highest <= low)
        return (jnp.maximum(highest, value), fit), start.astype(columns.dtype)

    nothing = jnp.full_like(columns[0], -jnp.inf)
    return jax.lax.scan(begins, (nothing, nothing), (columns, fitted, lowest))[1]


def _pool_means(columns, starts):
    """Mean over each pool, by a running sum forwards and its last value backwards.

    It is linear in `columns`, so jax transposes it; sums within a pool cancel nothing.
    """
    ends = jnp.pad(starts[1:], ((0, 1), (0, 0)), constant_values=1)

    def add(carry, arguments):
        total, count = carry
        value, start = arguments
        total = jnp.where(start > 0, value, total + value)
        count = jnp.where(start > 0, 1, count + 1)
        return (total, count), (total, count)

    def spread(mean, arguments):
        total, count, end = arguments
        mean = jnp.where(end > 0, total / count, mean)
        return mean, mean

    nothing = jnp.zeros_like(columns[0])
    _, (totals, counts) = jax.lax.scan(add, (nothing, nothing), (columns, starts))
    return jax.lax.scan(spread, nothing, (totals, counts, ends), reverse=True)[1]
