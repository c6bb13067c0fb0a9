"""Calibrated sets of classes."""

import dataclasses
import functools
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Key, Real

from estimators._core import Fitted
from estimators.conformal._classification._probabilities import as_probabilities
from estimators.conformal._classification._score import LabelScore, by_blocks
from estimators.conformal._guarantee import Guarantee
from estimators.conformal._quantile import as_fraction
from estimators.conformal._thresholds import Thresholds, Where


class CalibratedClassification(Fitted):
    """Sets of classes; see `ConformalClassification`.

    Attributes:
        thresholds: the largest score in a set: `thresholds.values`, one number, or one for each
            group of rows or each label.
        score: as in the specification.
        coverage: coverage asked for.
        never_empty: as in the specification.
        classes: their number.
    """

    thresholds: Thresholds
    score: LabelScore
    coverage: float = eqx.field(static=True)
    never_empty: bool = eqx.field(static=True)
    classes: int = eqx.field(static=True)

    def contains(
        self,
        probabilities: Real[ArrayLike, "*batch K"],
        *,
        groups: Int[ArrayLike, "*batch"] | None = None,
        weights: Real[ArrayLike, "*batch"] | None = None,
        key: Key[Array, ""] | None = None,
    ) -> Bool[Array, "*batch K"]:
        """Which labels are in the set of each row.

        Args:
            probabilities: `(*batch, K)`, predicted for new rows.
            groups: `(*batch,)`, the group of each row, where calibration had groups.
            weights: `(*batch,)`, the density ratio at each row, where calibration had weights.
            key: for a randomised score; not the key of the calibration.

        Raises:
            ValueError: for rows that are no probabilities, which inside `jax.jit` have empty
                sets; if something is missing that calibration had, or is not used.
        """
        array = as_probabilities("probabilities", probabilities, classes=self.classes)
        shape = array.shape[:-1]
        draws = self.score.draws(shape, key, array.dtype)
        where = self.thresholds.check(Where(groups, weights))
        found = self.thresholds.at(shape, where, as_fraction(self.coverage))
        rows, ends = array.reshape(-1, self.classes), found.shape[-1]
        inside = _contains(self.score, rows, found.reshape(-1, ends), draws, self.never_empty)
        return inside.reshape(array.shape)

    @property
    def reason(self) -> str | None:
        """Why sets hold all classes, or some always, or when they may; None where not."""
        return self.thresholds.reason(as_fraction(self.coverage))

    @property
    def guarantee(self) -> Guarantee:
        """What holds, in numbers and in words."""
        found = self.thresholds.guarantee(self.coverage, as_fraction(self.coverage))
        # Without draws scores can be equal, and the labels that join empty sets cover more.
        kind: Literal["exact", "at least"] = "at least"
        if found.kind == "exact" and self.score.randomised and not self.never_empty:
            kind = "exact"
        most = None if self.never_empty else found.at_most
        return dataclasses.replace(found, kind=kind, at_most=most)


@functools.partial(jax.jit, static_argnames="never_empty")
def _contains(
    score: LabelScore, probabilities, thresholds: Float[Array, "rows ends"], draws, never_empty
) -> Bool[Array, "n K"]:
    """The labels whose score is at most the threshold."""

    def sets(rows, draws, own):
        inside = score.within(rows, thresholds if own is None else own, draws)
        if not never_empty:
            return inside
        best = rows.probabilities == jnp.max(rows.probabilities, -1, keepdims=True)
        return inside | (best & ~inside.any(-1, keepdims=True))

    shared = thresholds.shape[0] == 1
    return by_blocks(sets, probabilities, draws, None if shared else thresholds)
