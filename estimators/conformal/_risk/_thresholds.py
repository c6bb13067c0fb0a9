"""Losses of sets that hold the labels whose score is below a threshold, for many thresholds."""

import functools
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Real

from estimators._core import checks
from estimators._core._blocks import map_blocks
from estimators.conformal._risk._counts import LOSSES, Counts, as_mask

BLOCK = 128  # rows; each needs a few numbers for every label and every threshold

LossName = Literal[
    "miscoverage", "false negative rate", "false discovery proportion", "set size fraction"
]


def threshold_losses(
    scores: Real[ArrayLike, "n labels"],
    labels: Bool[ArrayLike, "n labels"],
    thresholds: Real[ArrayLike, " thresholds"],
    loss: LossName,
) -> Float[Array, "n thresholds"]:
    """The losses of the sets `{label : score <= threshold}`, for every row and threshold.

    The sets grow with the threshold, so that miscoverage and the false-negative rate fall. All
    four losses are functions of counts, and labels are counted where their scores fall among the
    thresholds: O(labels log(thresholds) + thresholds) for a row, in blocks of rows.

    Args:
        scores: `(n, labels)`, small where a label is likely, as one minus its probability.
        labels: `(n, labels)`, true where the label is true.
        thresholds: `(thresholds,)`, in increasing order.
        loss: its name: that of the functions of the same name with spaces for underscores.

    Returns:
        `(n, thresholds)`, in [0, 1]: what `calibrate` of risk control takes.

    Raises:
        ValueError: for shapes that do not belong together, NaN, thresholds out of order, an
            unknown loss. Inside jit NaN gives NaN in its row, and thresholds out of order
            everywhere.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> scores, labels = jnp.array([[0.1, 0.4, 0.9]]), jnp.array([[True, False, True]])
        >>> thresholds = jnp.array([0.0, 0.2, 0.5, 1.0])
        >>> print(conformal.threshold_losses(scores, labels, thresholds, "false negative rate"))
        [[1.  0.5 0.5 0. ]]

    When it fails: a loss of your own, of sets of another kind, is given to `calibrate` as a
    function of the parameter.
    """
    checks.one_of("loss", loss, tuple(LOSSES))
    scores = checks.as_float("scores", scores)
    if scores.ndim != 2 or 0 in scores.shape:
        raise ValueError(f"scores must have shape (n, labels); got shape {scores.shape}")
    if checks.is_concrete(scores) and checks.holds(lambda s: jnp.isnan(s).any(), scores):
        row, label = np.argwhere(np.isnan(np.asarray(scores)))[0]
        raise ValueError(f"scores must not be NaN; scores[{row}, {label}] is nan")
    labels = as_mask("labels", labels, scores.shape)
    thresholds = checks.as_vector("thresholds", thresholds).astype(scores.dtype)

    def in_order(thresholds):
        return (thresholds[1:] >= thresholds[:-1]).all()

    if checks.is_concrete(thresholds) and not checks.holds(in_order, thresholds):
        place = int(np.argmax(np.diff(np.asarray(thresholds)) < 0))
        raise ValueError(
            f"thresholds must be in increasing order; got {thresholds[place]} before "
            f"{thresholds[place + 1]}"
        )
    return checks.poison(_losses(scores, labels, thresholds, loss), in_order(thresholds))


@functools.partial(jax.jit, static_argnums=3)
def _losses(scores, labels, thresholds, loss):
    size, dtype = thresholds.shape[0], scores.dtype

    def block(rows):
        scores, labels = rows
        row = jnp.arange(scores.shape[0])[:, None]
        # The first threshold whose set holds the label; one past the end where there is none.
        place = jnp.searchsorted(thresholds, scores)

        def reached(mask):
            arrivals = jnp.zeros((scores.shape[0], size + 1), dtype)
            return jnp.cumsum(arrivals.at[row, place].add(mask.astype(dtype))[:, :-1], 1)

        positives = labels.sum(1, dtype=jnp.int32).astype(dtype)[:, None]
        everything = jnp.ones_like(labels)
        counts = Counts(reached(labels), reached(everything), positives, labels.shape[1])
        return jnp.where(jnp.isnan(scores).any(1)[:, None], jnp.nan, LOSSES[loss](counts))

    return map_blocks(block, (scores, labels), BLOCK)
