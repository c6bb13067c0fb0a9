"""What scores of labels share: one formula for one label, for all labels, and for the set."""

import abc

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Key, Real

from estimators._core import Stored, checks
from estimators._core._blocks import map_blocks
from estimators.conformal._classification._probabilities import as_labels, as_probabilities
from estimators.conformal._classification._standing import Rows, as_rows

BLOCK = 2**16  # probabilities; what is kept of each stays in cache


class LabelScore(Stored):
    """How badly a label agrees with the predicted probabilities: the larger, the worse."""

    # Without an annotation, which would make it a field: some scores draw a number a row.
    randomised = False

    def of_labels(
        self,
        probabilities: Real[ArrayLike, "*batch K"],
        labels: Int[ArrayLike, "*batch"],
        *,
        key: Key[Array, ""] | None = None,
    ) -> Float[Array, "*batch"]:
        """The score of one label a row.

        Args:
            probabilities: `(*batch, K)`, predicted; not negative, each row with the sum one.
            labels: `(*batch,)`, columns of them, 0 to K - 1.
            key: for a randomised score, and only there.

        Raises:
            ValueError: for rows that are no probabilities, labels that are no columns, or a key
                that is missing or not used. Inside jit the first two give NaN.
        """
        array = as_probabilities("probabilities", probabilities)
        labels = as_labels("labels", labels, array.shape[:-1], array.shape[-1])
        draws = self.draws(array.shape[:-1], key, array.dtype)
        flat = array.reshape(-1, array.shape[-1]), labels.reshape(-1), draws
        return scores_of_labels(self, *flat).reshape(labels.shape)

    def of_all(
        self, probabilities: Real[ArrayLike, "*batch K"], *, key: Key[Array, ""] | None = None
    ) -> Float[Array, "*batch K"]:
        """The scores of all labels, equal to `of_labels` of each to the last bit.

        Args: see `of_labels`; with the same key the draws are the same.
        """
        array = as_probabilities("probabilities", probabilities)
        draws = self.draws(array.shape[:-1], key, array.dtype)
        return _scores_of_all(self, array.reshape(-1, array.shape[-1]), draws).reshape(array.shape)

    def draws(self, shape: tuple[int, ...], key, dtype) -> Float[Array, " n"] | None:
        """A number from (0, 1] for each row of a randomised score."""
        if (key is not None) != self.randomised:
            fault, kind = ("missing", "is") if key is None else ("not used", "is not")
            raise ValueError(f"key is {fault}: the score {type(self).__name__} {kind} randomised")
        if key is None:
            return None
        # Drawn in 32 bits, so that a key draws the same numbers in either precision.
        return 1 - jax.random.uniform(checks.as_key(key), shape, jnp.float32).reshape(-1).astype(
            dtype
        )

    @abc.abstractmethod
    def one(
        self, rows: Rows, labels: Int[Array, " n"], draws: Float[Array, " n"] | None
    ) -> Float[Array, " n"]:
        """The score of one label a row."""

    @abc.abstractmethod
    def all(self, rows: Rows, draws: Float[Array, " n"] | None) -> Float[Array, "n K"]:
        """The scores of all labels."""

    def within(
        self, rows: Rows, thresholds: Float[Array, "rows ends"], draws: Float[Array, " n"] | None
    ) -> Bool[Array, "n K"]:
        """The labels whose score is at most the threshold, of the row or of the label."""
        return self.all(rows, draws) <= thresholds


@jax.jit
def scores_of_labels(score, probabilities, labels, draws) -> Float[Array, " n"]:
    """The scores of labels in rows; NaN where either is none."""
    found = by_blocks(score.one, probabilities, labels, draws)
    return jnp.where(labels >= 0, found, jnp.nan)


@jax.jit
def _scores_of_all(score, probabilities, draws):
    return by_blocks(score.all, probabilities, draws)


def by_blocks(function, probabilities: Float[Array, "n K"], *others):
    """Apply `function` to blocks of rows and what belongs to them.

    Blocks are picked by number: to cut the rows themselves would copy all of them.
    """
    n, classes = probabilities.shape

    def block(numbers):
        return function(
            as_rows(probabilities[numbers]), *jax.tree.map(lambda a: a[numbers], others)
        )

    return map_blocks(block, jnp.arange(n), max(BLOCK // classes, 1))
