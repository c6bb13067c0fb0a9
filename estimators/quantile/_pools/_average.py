"""Averages over models, with given weights or none."""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, ArrayLike, Bool, Float, Real

from estimators._core import checks
from estimators.quantile._inputs import as_models
from estimators.quantile._pools._mask import (
    as_mask,
    sorted_models,
    unless_absent,
    where_present,
)


def average(
    predictions: Real[ArrayLike, "*batch models levels"],
    weights: Real[ArrayLike, "..."] | Sequence[float] | None = None,
    *,
    mask: Bool[ArrayLike, "..."] | Sequence[bool] | None = None,
) -> Float[Array, "*batch levels"]:
    """Weighted average of the models' quantiles (Vincentization, averaging sideways).

    With z the predictions of one row, the shape of the weights w says which average (eqs. 16
    to 18 of arXiv 2103.00083):

        (models,)                  coarse:  q_k = sum_j w_j z_jk
        (models, levels)           medium:  q_k = sum_j w_jk z_jk
        (models, levels, levels)   fine:    q_k = sum_jv w_jvk z_jv

    Args:
        predictions: quantiles of each model, all at the same levels.
        weights: as above; they are divided by their sum, in medium and fine that for each
            output level k. None means equal weights.
        mask: True where a prediction is there: `(models,)`, `(*batch, models)` or
            `(*batch, models, levels)`. What lies under False may be anything, NaN too. The
            weights of what is there are divided by their sum; in fine a source level (j, v)
            counts as one that is there. None means that all are.

    Returns:
        Averaged quantiles. They may cross where those of a model do, or where weights or the
        mask change with the level; `sort_levels` undoes that. Inside `jax.jit`, NaN where
        the mask leaves nothing.

    Raises:
        ValueError: if the shapes do not belong together, or, outside `jax.jit`, a weight is not
            finite, weights sum to zero, or the mask leaves nothing at some row and level.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import quantile
        >>> predictions = jnp.array([[0.0, 1.0, 2.0], [4.0, 5.0, 6.0]])
        >>> print(quantile.average(predictions))
        [2. 3. 4.]
        >>> print(quantile.average(predictions, jnp.array([0.25, 0.75])))
        [3. 4. 5.]
        >>> print(quantile.average(predictions, mask=jnp.array([True, False])))
        [0. 1. 2.]

    When it fails: an average of quantiles is as sharp as the models are on average (Prop. 4),
    also where they contradict each other; then `linear_pool` is wider. Where models differ in
    location and come and go with the mask, so does the average.
    """
    predictions = as_models(predictions)
    present = as_mask(mask, predictions)
    models, levels = predictions.shape[-2:]
    if weights is None:
        if present is None:
            return jnp.mean(predictions, -2)
        weights = jnp.ones(models, predictions.dtype)
    weights = checks.as_float("weights", weights).astype(predictions.dtype)
    shapes = [(models,), (models, levels), (models, levels, levels)]
    if weights.shape not in shapes:
        raise ValueError(
            f"weights must have one of the shapes {shapes} for predictions of shape "
            f"{predictions.shape}; got shape {weights.shape}"
        )
    checks.finite("weights", weights)
    total_weight = jnp.sum(weights, (0, 1) if weights.ndim == 3 else 0, keepdims=True)
    known = checks.is_concrete(total_weight)
    if known and not checks.holds(lambda t: (t != 0).all(), total_weight):
        raise ValueError("weights must not sum to zero over the models of a level; they do")
    weights = weights / total_weight

    def over_models(array):
        # A product is 40 times faster than a broadcast sum in a training step on the CPU.
        formula = {1: "...jk,j->...k", 2: "...jk,jk->...k", 3: "...jv,jvk->...k"}[weights.ndim]
        return jnp.einsum(formula, array, weights, precision=lax.Precision.HIGHEST)

    total = over_models(where_present(present, predictions))
    if present is None:
        return total
    mass = over_models(present.astype(predictions.dtype))
    return unless_absent(total / jnp.where(mass == 0, 1, mass), mass != 0)


def median(
    predictions: Real[ArrayLike, "*batch models levels"],
    *,
    mask: Bool[ArrayLike, "..."] | Sequence[bool] | None = None,
) -> Float[Array, "*batch levels"]:
    """Median over models of each quantile; of an even number of models, the middle two's mean.

    Args:
        predictions: quantiles of each model, all at the same levels.
        mask: True where a prediction is there; see `average`.

    Returns:
        Medians; non-decreasing where all models are and the mask does not change with the
        level. NaN where one of the models that are there is NaN and, inside `jax.jit`, where
        none is there.

    Raises:
        ValueError: if the shapes do not belong together, or, outside `jax.jit`, the mask
            leaves nothing at some row and level.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import quantile
        >>> print(quantile.median(jnp.array([[0.0, 1.0], [4.0, 5.0], [3.0, 9.0]])))
        [3. 5.]

    When it fails: like a plain average it cannot tell good models from bad ones; a majority
    of bad ones decides.
    """
    ordered, count = sorted_models(predictions, mask)
    if mask is None:
        models = ordered.shape[-1]
        return 0.5 * (ordered[..., (models - 1) // 2] + ordered[..., models // 2])
    middle = jnp.stack([jnp.maximum(count - 1, 0) // 2, count // 2], -1)
    middle = jnp.minimum(middle, ordered.shape[-1] - 1)
    pair = jnp.take_along_axis(ordered, middle, -1)
    return unless_absent(jnp.mean(pair, -1), count > 0, "a model")
