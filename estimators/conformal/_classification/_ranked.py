"""Scores by where a label stands in its row, and their sets without a sort."""

import abc

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from estimators.conformal._classification._score import LabelScore
from estimators.conformal._classification._standing import (
    Rows,
    Standing,
    order_of,
    standing,
    standing_of_all,
)


class RankedScore(LabelScore):
    """A score that does not fall from a label to one that is less probable."""

    @abc.abstractmethod
    def value(self, at: Standing, draws: Float[Array, "*labels"] | None) -> Float[Array, "*labels"]:
        """The score of labels that stand somewhere.

        With a draw it lies between what the labels ahead reach and what it reaches without,
        and without one it must use only `reached`, `place` and `largest`.
        """

    def one(self, rows, labels, draws):
        """See `LabelScore`."""
        own = jnp.take_along_axis(rows.order, labels[:, None], -1)[:, 0]
        return self.value(standing(rows, own), draws)

    def all(self, rows, draws):
        """See `LabelScore`."""
        return self.value(standing_of_all(rows), None if draws is None else draws[:, None])

    def within(self, rows, thresholds, draws):
        """See `LabelScore`."""
        if thresholds.shape[-1] > 1:
            return super().within(rows, thresholds, draws)
        limit = jnp.broadcast_to(thresholds[:, 0], rows.order.shape[:1])
        return rows.order >= self._cut(rows, limit, draws)[:, None]

    def _cut(self, rows: Rows, limit, draws) -> Int[Array, " n"]:
        """The least order of a label whose score is at most `limit`.

        Found by halving the range of all orders, each time with one sum over the row: the score
        does not fall where the order does, whether or not a label has that order.
        """

        def inside(at, draws) -> Bool[Array, " n"]:
            return self.value(standing(rows, at), draws) <= limit

        def halve(_, bounds):
            low, high = bounds
            middle = low + (high - low) // 2
            enough = inside(middle, None)
            return jnp.where(enough, low, middle), jnp.where(enough, middle, high)

        above_all = order_of(jnp.full(limit.shape, 2, rows.probabilities.dtype))
        steps = 63 if above_all.dtype == jnp.int64 else 31
        low, high = jax.lax.fori_loop(0, steps, halve, (jnp.full_like(above_all, -1), above_all))
        if draws is None:
            return high
        # A draw may let the next label in, but none below it.
        return jnp.where(inside(low, draws), low, high)


class TopK(RankedScore):
    """The score is the label's rank: sets of the k most probable labels, one k for all rows.

    Equally probable labels all have the rank of the last of them. Ranks are not distinct, so
    the coverage can be far above what was asked.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> probabilities = jnp.array([[0.5, 0.25, 0.25]])
        >>> print(conformal.TopK().of_all(probabilities))
        [[1. 3. 3.]]

    Reference: Angelopoulos, Bates, Jordan & Malik 2021, Uncertainty sets for image classifiers
    using conformal prediction, section 2.

    When it fails: easy rows get sets as large as hard ones.
    """

    def value(self, at, draws):
        """See `RankedScore`."""
        return at.place
