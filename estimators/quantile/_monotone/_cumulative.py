"""Quantiles that cannot cross by construction: a location, and positive steps from it."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from estimators._core import checks
from estimators.quantile._inputs import as_rows
from estimators.quantile._monotone._rows import by_columns, running
from estimators.quantile._monotone._sweep import middle


def cumulative_levels(
    raw: Real[ArrayLike, "*batch levels"],
    levels: Sequence[float] | Real[ArrayLike, " levels"] | None = None,
) -> Float[Array, "*batch levels"]:
    """Turn unconstrained numbers, such as a network's outputs, into quantiles in order.

    With c the index of the middle level,

        q_c = raw_c
        q_k = q_{k-1} + softplus(raw_k)   for k > c
        q_k = q_{k+1} - softplus(raw_k)   for k < c

    so every vector gives quantiles that increase, and every such vector is given by one;
    `cumulative_inverse` finds it.

    Args:
        raw: any numbers, in the unit of the outcome: about that, for steps of many units.
        levels: the middle is the level nearest to 1/2, the lower of two; None takes the middle
            entry, the lower of two.

    Returns:
        Non-decreasing along the last axis, also in rounded arithmetic: a step may round to 0.

    Raises:
        ValueError: if there is no last axis, the array is not of floats, or the levels do not
            belong to it.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import quantile
        >>> print(quantile.cumulative_levels(jnp.array([[-1.0, 2.0, 3.0]])))
        [[1.6867383 2.        5.0485873]]

    Reference: Gasthaus et al. (2019), Probabilistic forecasting with spline quantile function
    RNNs, and others since, for steps through softplus.

    When it fails: an outer quantile is a sum of many steps, so an error in one moves all
    beyond it. Outcomes should be scaled to a spread of about one: steps far from 1 start
    training where softplus is flat, or far away.
    """
    raw = checks.as_float("raw", raw)
    if raw.ndim == 0 or raw.shape[-1] == 0:
        raise ValueError(f"raw must have shape (*batch, levels); got shape {raw.shape}")
    return _accumulate(raw, middle(levels, raw.shape[-1]))


def cumulative_inverse(
    predictions: Real[ArrayLike, "*batch levels"],
    levels: Sequence[float] | Real[ArrayLike, " levels"] | None = None,
    *,
    floor: float | Real[ArrayLike, ""] = 1e-6,
) -> Float[Array, "*batch levels"]:
    """The numbers that `cumulative_levels` turns into these quantiles.

    A step of 0 has no finite number, and a negative one none at all: steps below `floor` are
    raised to it. Where some are, the quantiles that come back lie apart by at least that, and
    those beyond are moved by what was added.

    Args:
        predictions: quantiles in the order of their levels, finite.
        levels: as for `cumulative_levels`.
        floor: the least step, positive, in the unit of the predictions; 1e-6 suits outcomes
            whose spread is about one.

    Returns:
        Numbers of the same shape. With all steps at or above the floor,
        `cumulative_levels(result)` is `predictions` to rounding.

    Raises:
        ValueError: as `cumulative_levels`, or if the floor is not positive.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import quantile
        >>> raw = quantile.cumulative_inverse(jnp.array([[1.0, 2.0, 5.0]]))
        >>> print(quantile.cumulative_levels(raw))
        [[1. 2. 5.]]

    When it fails: where quantiles cross, the result is not the nearest in order;
    `sort_levels` first.
    """
    rows = as_rows(predictions)
    floor = checks.positive("floor", checks.as_number("floor", floor)).astype(rows.dtype)
    floor = jnp.where(floor > 0, floor, jnp.nan)
    return _invert(rows, middle(levels, rows.shape[-1]), floor)


@jax.jit
def _invert(rows, centre, floor):
    count = rows.shape[-1]
    index = jnp.arange(count).reshape((1,) * (rows.ndim - 1) + (-1,))
    gaps = jnp.diff(rows, axis=-1)
    nothing = jnp.ones_like(rows[..., :1])  # the step of the middle itself, which is not used
    above = jnp.concatenate([nothing, gaps], -1)
    below = jnp.concatenate([gaps, nothing], -1)
    steps = jnp.maximum(jnp.where(index > centre, above, below), floor)
    # softplus backwards: log(exp(s) - 1), written so that neither large nor small steps lose it.
    inverse = steps + jnp.log(-jnp.expm1(-steps))
    return jnp.where(index == centre, rows, inverse)


@jax.jit
def _accumulate(rows, centre):
    return by_columns(lambda columns: _accumulate_columns(columns, centre), rows)


def _accumulate_columns(columns, centre):
    index = jnp.arange(columns.shape[0])[:, None]
    steps = jax.nn.softplus(columns)
    above, below = jnp.where(index > centre, steps, 0), jnp.where(index < centre, steps, 0)

    # The partial sums of a parallel prefix sum may be out of order by a rounding error.
    above, below = running(jnp.add, above), running(jnp.add, below, reverse=True)
    return columns[centre][None] + above - below
