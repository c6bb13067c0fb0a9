"""The calibration that all regression specs share."""

from fractions import Fraction

import equinox as eqx
from jaxtyping import Array, Float

from estimators._core import Fitted, Spec, checks
from estimators.conformal._guarantee import Guarantee
from estimators.conformal._quantile import as_fraction
from estimators.conformal._regression._ends import Ends, outside, widen
from estimators.conformal._regression._local import local_thresholds
from estimators.conformal._thresholds import (
    Thresholds,
    Where,
    calibrated_thresholds,
)


class RegressionSpec(Spec):
    """What all intervals for regression have in common."""

    coverage: float = eqx.field(static=True, default=0.9)
    symmetric: bool = eqx.field(static=True, default=True, kw_only=True)

    # How many columns of a prediction come before y; without an annotation, no field.
    columns = 1

    def __check_init__(self):
        checks.probability("coverage", self.coverage)

    def _calibrate(self, ends: Ends, y, groups, count, weights, points, bandwidth) -> Thresholds:
        scores = outside(ends, y, self.symmetric)
        coverage = of_each_end(self.coverage, self.symmetric)
        local = points is not None
        if local != (bandwidth is not None):
            raise ValueError("points and bandwidth must be given together; got one of them")
        if local and (groups is not None or weights is not None):
            raise ValueError("points must not be given together with groups or weights")
        if local:
            return local_thresholds(scores, points, bandwidth)
        return calibrated_thresholds(scores, coverage, groups, count, weights)


class Calibrated(Fitted):
    """What all calibrated intervals have in common.

    Attributes:
        thresholds: how far an end is moved: `thresholds.values` where that is the same for all
            rows, or all rows of a group.
        coverage: coverage asked for.
        symmetric: whether one number moves both ends.
    """

    thresholds: Thresholds
    coverage: float = eqx.field(static=True)
    symmetric: bool = eqx.field(static=True)

    @property
    def reason(self) -> str | None:
        """Why intervals are infinite, or when they may be; None where they are not."""
        return self.thresholds.reason(of_each_end(self.coverage, self.symmetric))

    @property
    def guarantee(self) -> Guarantee:
        """What holds, in numbers and in words."""
        each = of_each_end(self.coverage, self.symmetric)
        return self.thresholds.guarantee(self.coverage, each)

    def _interval(
        self, ends: Ends, where: Where
    ) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        each = of_each_end(self.coverage, self.symmetric)
        shape = ends.lower.shape
        return widen(ends, self.thresholds.at(shape, self.thresholds.check(where), each))


def of_each_end(coverage: float, symmetric: bool) -> Fraction:
    """The coverage of each end, exactly: two that miss half as often miss as often together."""
    exact = as_fraction(coverage)
    return exact if symmetric else (1 + exact) / 2
