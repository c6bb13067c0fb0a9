"""The min-max sweep: running extremes from the middle level outwards."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from estimators.quantile._inputs import as_levels, as_rows
from estimators.quantile._monotone._rows import by_columns, running


def sweep_levels(
    predictions: Real[ArrayLike, "*batch levels"],
    levels: Sequence[float] | Real[ArrayLike, " levels"] | None = None,
) -> Float[Array, "*batch levels"]:
    """Make predicted quantiles non-decreasing, going outwards from the middle one.

    Above the middle level each quantile becomes the largest since the middle, below it the
    smallest (eq. 23 of arXiv 2103.00083); the middle one stays. The cotangent of each output
    goes to the quantile that it was taken from; of equal ones each gets a share.

    Args:
        predictions: quantiles in the order of their levels.
        levels: the middle is the level nearest to 1/2, the lower of two; None takes the middle
            entry, the lower of two.

    Returns:
        Non-decreasing along the last axis; a row that is non-decreasing already comes back as
        it was. A row that holds NaN becomes NaN throughout.

    Raises:
        ValueError: if there is no last axis, the array is not of floats, or the levels do not
            belong to it.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import quantile
        >>> print(quantile.sweep_levels(jnp.array([[4.0, 1.0, 2.0, 5.0, 3.0]])))
        [[1. 1. 2. 5. 5.]]

    When it fails: unlike `sort_levels` and `isotonic_levels` it can raise the pinball loss
    summed over levels. At levels 0.25, 0.5, 0.75 the row (0, 1, 0) becomes (0, 1, 1), and for
    an outcome of 0 the sum goes from 0.5 to 0.75. A middle quantile that is far off takes one
    side along.
    """
    rows = as_rows(predictions)
    return _sweep(rows, middle(levels, rows.shape[-1]))


def middle(levels, count: int):
    """Index of the middle one of `count` levels; an array where levels are given."""
    if levels is None:
        return (count - 1) // 2
    distance = jnp.abs(as_levels(levels, count) - 0.5)
    # The first that is nearest to rounding: 0.45 and 0.55 are the same distance away.
    return jnp.argmax(distance <= jnp.min(distance) + 1e-6)


@jax.jit
def _sweep(rows, centre):
    swept = by_columns(lambda columns: _sweep_columns(columns, centre), rows)
    return jnp.where(jnp.isnan(rows).any(-1, keepdims=True), jnp.nan, swept)


def _sweep_columns(columns, centre):
    index = jnp.arange(columns.shape[0])[:, None]

    upwards = running(jnp.maximum, jnp.where(index >= centre, columns, -jnp.inf))
    downwards = running(jnp.minimum, jnp.where(index <= centre, columns, jnp.inf), reverse=True)
    return jnp.where(index < centre, downwards, upwards)
