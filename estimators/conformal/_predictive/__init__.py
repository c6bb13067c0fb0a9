"""Conformal p-values, predictive distributions, and sets from distributions and densities."""

from estimators.conformal._predictive._distributional import (
    CalibratedDistributional,
    CalibratedLevels,
    DistributionalConformal,
)
from estimators.conformal._predictive._highest_density import (
    CalibratedDensitySet,
    HighestDensitySet,
)
from estimators.conformal._predictive._level_sets import DensityIntervals
from estimators.conformal._predictive._p_values import conformal_p_values
from estimators.conformal._predictive._system import (
    CalibratedPredictiveSystem,
    ConformalPredictiveSystem,
)

__all__ = [
    "CalibratedDensitySet",
    "CalibratedDistributional",
    "CalibratedLevels",
    "CalibratedPredictiveSystem",
    "ConformalPredictiveSystem",
    "DensityIntervals",
    "DistributionalConformal",
    "HighestDensitySet",
    "conformal_p_values",
]
