"""Ensembles of the models that did not see a row, for every row at once."""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

Aggregate = Literal["mean", "median"]


def leave_one_out(
    predictions: Float[Array, "rows models"],
    out_of_bag: Bool[Array, "n models"],
    aggregate: Aggregate,
) -> Float[Array, "rows n"]:
    """Entry (r, i) aggregates the predictions for r of the models that did not see row i.

    A row that every model saw gives NaN, and so does a NaN among the predictions. The mean is a
    product of matrices. The median takes each row's models in order of what they predict, and
    counts those without i up to the middle: O(rows n models) time, O(rows n) memory.
    """
    sizes = out_of_bag.sum(1)
    if aggregate == "mean":
        weights = out_of_bag.astype(predictions.dtype) / sizes[:, None]
        found = jnp.matmul(predictions, weights.T, precision=jax.lax.Precision.HIGHEST)
    else:
        low, high = _middle_models(jax.lax.stop_gradient(predictions), out_of_bag, sizes)
        below = jnp.take_along_axis(predictions, low, 1)
        found = 0.5 * (below + jnp.take_along_axis(predictions, high, 1))
    # Said explicitly also for the mean: a compiler may take 0 / 0 of an indicator to be 0.
    known = ~jnp.isnan(predictions).any(1)[:, None] & (sizes > 0)[None]
    return jnp.where(known, found, jnp.nan)


def _middle_models(predictions, out_of_bag, sizes) -> tuple[Int[Array, "rows n"], ...]:
    """The model below and the one above the middle; the same one where their number is odd."""
    of_model = out_of_bag.T

    def step(state, model):
        count, low, high = state
        counted = of_model[model]
        count = count + counted
        low = jnp.where(counted & (count == (sizes[None] + 1) // 2), model[:, None], low)
        high = jnp.where(counted & (count == sizes[None] // 2 + 1), model[:, None], high)
        return (count, low, high), None

    start = jnp.zeros((predictions.shape[0], sizes.shape[0]), sizes.dtype)
    order = jnp.argsort(predictions, 1).T.astype(sizes.dtype)
    (_, low, high), _ = jax.lax.scan(step, (start, start, start), order)
    return low, high
