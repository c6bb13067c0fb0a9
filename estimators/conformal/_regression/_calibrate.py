"""The calibration that all regression specs share."""

from fractions import Fraction

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from estimators._core import Fitted, Spec, checks
from estimators.conformal._grouped import as_groups, grouped_conformal_quantiles
from estimators.conformal._guarantee import Guarantee
from estimators.conformal._quantile import as_fraction, conformal_quantile
from estimators.conformal._regression._ends import Ends, outside, widen
from estimators.conformal._regression._local import local_thresholds
from estimators.conformal._thresholds import (
    GroupThresholds,
    OneThreshold,
    Thresholds,
    WeightThresholds,
    Where,
)
from estimators.conformal._weighted import weigh


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
        columns = scores.T
        if weights is not None:
            below, *above = [weigh(column, weights, groups, count) for column in columns]
            return WeightThresholds(below, above[0] if above else None, groups is not None)
        if groups is not None:
            groups, count = as_groups("groups", groups, y.shape[0], count)
            values = [
                grouped_conformal_quantiles(column, groups, coverage, count=count)
                for column in columns
            ]
            sizes = jnp.bincount(groups, length=count)
            return GroupThresholds(jnp.stack(values, -1), sizes.astype(jnp.int32))
        values = jnp.stack([conformal_quantile(column, coverage) for column in columns])
        values = checks.poison(values, ~jnp.isnan(values).any())
        return OneThreshold(values, jnp.asarray(y.shape[0], jnp.int32))


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
