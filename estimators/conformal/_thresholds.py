"""From scores to a threshold for every new row, in the ways that keep the coverage.

One for all rows; one for each group; by the row's weight, for rows from another law; and by the
calibration rows near it (`_local.py`). Scores have a last axis of one end or two, each with a
coverage of its own; thresholds may have one of labels instead.
"""

import abc
import dataclasses
from fractions import Fraction
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from estimators._core import Fitted, checks
from estimators.conformal._grouped import (
    as_groups,
    as_whole,
    grouped_conformal_quantiles,
    known_groups,
)
from estimators.conformal._guarantee import EXCHANGEABLE, Guarantee, rank_guarantee
from estimators.conformal._quantile import (
    calibration_size,
    conformal_quantile,
    conformal_rank,
    why_infinite,
)
from estimators.conformal._weighted import WeighedScores, weigh


class Where(NamedTuple):
    """What new rows may bring besides their predictions, as it was given; not yet checked."""

    groups: Any = None
    weights: Any = None
    points: Any = None
    key: Any = None


class Thresholds(Fitted):
    """What calibration keeps of its scores."""

    # Without an annotation, which would make it a field of what is saved.
    needs = frozenset()

    @abc.abstractmethod
    def at(
        self, shape: tuple[int, ...], where: Where, coverage: Fraction
    ) -> Float[Array, "*batch ends"]:
        """The thresholds of new rows of a batch shape, at the coverage of each end.

        An axis of the batch is 1 where all rows along it share theirs.
        """

    @abc.abstractmethod
    def reason(self, coverage: Fraction) -> str | None:
        """Why thresholds are infinite, or may be; None where they are not."""

    @abc.abstractmethod
    def guarantee(self, asked: float, coverage: Fraction) -> Guarantee:
        """What holds for an interval whose ends have that coverage each."""

    def check(self, where: Where) -> Where:
        """Refuse rows that bring too little, or what would be ignored."""
        for name, value in where._asdict().items():
            if (value is not None) == (name in self.needs):
                continue
            fault, had = ("missing", "had") if value is None else ("not used", "did not have")
            if name == "key":
                raise ValueError(f"key is {fault}: it draws where calibration {had} points")
            raise ValueError(f"{name} is {fault}: calibration {had} {name}")
        return where


class OneThreshold(Thresholds):
    """The same for all rows.

    Attributes:
        values: `(ends,)`.
        calibration: number of calibration rows.
    """

    values: Float[Array, " ends"]
    calibration: Int[Array, ""]

    def at(self, shape, where, coverage):
        """See `Thresholds`."""
        return jnp.broadcast_to(self.values, (*shape, *self.values.shape))

    def reason(self, coverage):
        """See `Thresholds`."""
        return why_infinite(int(self.calibration), coverage)

    def guarantee(self, asked, coverage):
        """See `Thresholds`."""
        n, ends = int(self.calibration), self.values.shape[0]
        exact = rank_guarantee(asked, conformal_rank(n, coverage), n)
        if ends == 1:
            return exact
        reached = _reached(n, coverage, ends)
        return dataclasses.replace(exact, at_least=reached, at_most=None, kind="at least")


class GroupThresholds(Thresholds):
    """One for each group.

    Attributes:
        values: `(groups, ends)`.
        sizes: `(groups,)`, calibration rows in each.
    """

    values: Float[Array, "groups ends"]
    sizes: Int[Array, " groups"]
    needs = frozenset({"groups"})

    def at(self, shape, where, coverage):
        """See `Thresholds`."""
        group = known_groups(
            "groups", as_whole("groups", where.groups, shape), self.values.shape[0]
        )
        none = jnp.full((1, self.values.shape[1]), jnp.inf, self.values.dtype)
        return jnp.concatenate([self.values, none])[group]

    def reason(self, coverage):
        """See `Thresholds`."""
        needed = calibration_size(coverage)
        small = np.flatnonzero(np.asarray(self.sizes) < needed)
        if small.size == 0:
            return None
        return (
            f"coverage {float(coverage):g} needs at least {needed} calibration rows in each "
            f"group; too few are in {small.size} of {self.sizes.shape[0]}, the first is group "
            f"{small[0]} with {int(self.sizes[small[0]])}"
        )

    def guarantee(self, asked, coverage):
        """See `Thresholds`."""
        over = "calibration and new rows of a group, in every group"
        return guarantee_of_each(asked, coverage, self.sizes, over, self.values.shape[1])


class WeightThresholds(Thresholds):
    """By the weight of the row, in its group where there are groups.

    Attributes:
        below: scores in order and cumulative weights, of the lower end, or of both.
        above: of the upper end, where it has a score of its own.
        grouped: whether there are groups.
    """

    below: WeighedScores
    above: WeighedScores | None
    grouped: bool = eqx.field(static=True)

    @property
    def needs(self):
        """See `Thresholds`."""
        return frozenset({"weights", "groups"} if self.grouped else {"weights"})

    def at(self, shape, where, coverage):
        """See `Thresholds`."""
        if jnp.shape(where.weights) != shape:
            raise ValueError(
                f"weights must have shape {shape}, one a row; got {jnp.shape(where.weights)}"
            )
        each = [self.below] if self.above is None else [self.below, self.above]
        found = [one.thresholds(where.weights, where.groups, coverage) for one in each]
        return jnp.stack(found, -1)

    def reason(self, coverage):
        """See `Thresholds`."""
        edges, reached = np.asarray(self.below.edges), np.asarray(self.below.reached)
        totals = np.where(np.diff(edges) > 0, np.append(reached, 0)[edges[1:] - 1], 0)
        largest = totals.min() * float(self.below.unit) * float((1 - coverage) / coverage)
        return f"a row gets the infinite set where its weight is above {largest:.6g}"

    def guarantee(self, asked, coverage):
        """See `Thresholds`."""
        return Guarantee(
            asked,
            asked,
            None,
            "at least",
            "calibration rows and new rows of the other law",
            "rows that are independent in each law, and weights that are the ratio of the laws' "
            "densities; estimated ones cost at most half their mean absolute error",
        )


def calibrated_thresholds(
    scores: Float[Array, "n ends"], coverage: Fraction, groups, count, weights
) -> Thresholds:
    """One threshold, one a group or one by weight, as calibration rows bring groups and weights."""
    columns = scores.T
    if weights is not None:
        below, *above = [weigh(column, weights, groups, count) for column in columns]
        return WeightThresholds(below, above[0] if above else None, groups is not None)
    if groups is not None:
        groups, count = as_groups("groups", groups, scores.shape[0], count)
        values = [
            grouped_conformal_quantiles(column, groups, coverage, count=count) for column in columns
        ]
        sizes = jnp.bincount(groups, length=count)
        return GroupThresholds(jnp.stack(values, -1), sizes.astype(jnp.int32))
    values = jnp.stack([conformal_quantile(column, coverage) for column in columns])
    values = checks.poison(values, ~jnp.isnan(values).any())
    return OneThreshold(values, jnp.asarray(scores.shape[0], jnp.int32))


def guarantee_of_each(
    asked: float, coverage: Fraction, sizes: Int[Array, " groups"], over: str, ends: int = 1
) -> Guarantee:
    """What holds within each of several groups of these sizes."""
    unique = np.unique(np.asarray(sizes))
    reached = [_reached(int(size), coverage, ends) for size in unique]
    most = None if ends == 2 else max(reached)
    return Guarantee(asked, min(reached), most, "at least", over, EXCHANGEABLE)


def _reached(rows: int, coverage: Fraction, ends: int) -> float:
    """The least probability that a new score is below its threshold at every end."""
    miss = 1 - Fraction(conformal_rank(rows, coverage), rows + 1)
    return float(1 - ends * miss)
