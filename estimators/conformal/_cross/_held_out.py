"""Scores of all rows, each from the model of the fold that left the row out."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from estimators._core import Stored, as_numbered_folds, checks
from estimators.conformal._cross._order_statistic import sort_within_folds, sums_order_statistic
from estimators.conformal._regression._ends import uncrossed


class HeldOut(Stored):
    """Scores, sorted within their folds.

    Attributes:
        scores: how far y lies below the lower and above the upper end; one row of them serves
            both ends, or each has its own.
        fold: of each score.
        folds: how many there are.
        equal: whether they have equally many rows.
    """

    scores: Float[Array, "ends n"]
    fold: Int[Array, " n"]
    folds: int = eqx.field(static=True)
    equal: bool = eqx.field(static=True)

    def interval(
        self, lower: Float[Array, "*batch folds"], upper: Float[Array, "*batch folds"], rank: int
    ) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
        """The ends of rank `rank`, each counted towards its own side."""
        low = -sums_order_statistic(-lower, self.scores[0], self.fold, rank)
        return uncrossed(low, sums_order_statistic(upper, self.scores[-1], self.fold, rank))


def held_out(scores: Float[Array, "ends n"], fold) -> HeldOut:
    """Check the fold numbers, and sort the scores within them."""
    n = scores.shape[1]
    numbers, sizes = as_numbered_folds(fold, n)
    equal = bool((sizes == sizes[0]).all())
    scores, by_size = sort_within_folds(scores, jnp.asarray(numbers))
    return HeldOut(scores, by_size, len(sizes), equal)


def as_by_fold(name: str, predictions, folds: int) -> Float[Array, "*batch folds"]:
    """Check predictions of the same rows by the model of each fold."""
    array = checks.finite(name, checks.as_float(name, predictions))
    if array.ndim == 0 or array.shape[-1] != folds:
        raise ValueError(
            f"{name} must have shape (*batch, {folds}), one column for the model of each fold; "
            f"got shape {array.shape}"
        )
    return array
