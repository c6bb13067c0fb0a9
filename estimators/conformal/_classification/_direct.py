"""Scores that need no more of a row than its largest probabilities."""

import abc

import jax.numpy as jnp
from jaxtyping import Array, Float

from estimators.conformal._classification._score import LabelScore


class DirectScore(LabelScore):
    """A score by the label's own probability and the largest two."""

    @abc.abstractmethod
    def value(
        self, own: Float[Array, "n labels"], rows: Float[Array, "n K"]
    ) -> Float[Array, "n labels"]:
        """The score of labels with the probability `own`, any number in each row."""

    def one(self, rows, labels, draws):
        """See `LabelScore`."""
        own = jnp.take_along_axis(rows.probabilities, labels[:, None], -1)
        return self.value(own, rows.probabilities)[:, 0]

    def all(self, rows, draws):
        """See `LabelScore`."""
        return self.value(rows.probabilities, rows.probabilities)


class LAC(DirectScore):
    """Least ambiguous sets: the score `1 - p_y`.

    The set holds every label whose probability is at least one number. Of all sets with their
    coverage they are the smallest on average where the probabilities are right.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> probabilities = jnp.array([[0.5, 0.25, 0.25]])
        >>> print(conformal.LAC().of_all(probabilities))
        [[0.5  0.75 0.75]]

    Reference: Sadinle, Lei & Wasserman 2019, Least ambiguous set-valued classifiers with bounded
    error levels.

    When it fails: rows that are hard have sets that are too small, or empty, and easy rows make
    up for them. `APS` has the size follow the row.
    """

    def value(self, own, rows):
        """See `DirectScore`."""
        return 1 - own


class Margin(DirectScore):
    """The score `max_{k != y} p_k - p_y`: by how much another label is more probable.

    It is negative for the most probable label, and 0 where two are.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> probabilities = jnp.array([[0.5, 0.25, 0.25]])
        >>> print(conformal.Margin().of_all(probabilities))
        [[-0.25  0.25  0.25]]

    Reference: Johansson, Linusson, Lofstrom & Bostrom 2017, Model-agnostic nonconformity
    functions for conformal classification.

    When it fails: as `LAC`.
    """

    def value(self, own, rows):
        """See `DirectScore`."""
        largest = jnp.max(rows, -1, keepdims=True)
        top = rows == largest
        below = jnp.max(jnp.where(top, 0, rows), -1, keepdims=True)
        second = jnp.where(jnp.sum(top, -1, keepdims=True) > 1, largest, below)
        return jnp.where(own == largest, second, largest) - own
