"""Full conformal prediction: the test row takes part in the fit, and no row is set aside."""

from estimators.conformal._full._nearest_neighbours import (
    FittedFullConformalNearestNeighbours,
    FullConformalNearestNeighbours,
)
from estimators.conformal._full._ridge import FittedFullConformalRidge, FullConformalRidge
from estimators.conformal._full._sets import IntervalUnion

__all__ = [
    "FittedFullConformalNearestNeighbours",
    "FittedFullConformalRidge",
    "FullConformalNearestNeighbours",
    "FullConformalRidge",
    "IntervalUnion",
]
