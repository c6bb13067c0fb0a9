"""Which set holds the answer with the coverage that I asked for?

    calibrated = conformal.SplitRegression(coverage=0.9).calibrate(predictions, y)
    lower, upper = calibrated.interval(new_predictions)
    print(calibrated.guarantee)

The guarantee needs no model to be right: the calibration rows and the new row must be
exchangeable, and the predictions must come from a model that saw neither. Ranks are exact;
with too few calibration rows for the coverage asked, the set is infinite and says why.
"""

from estimators.conformal._coverage import CoverageBand, coverage_band
from estimators.conformal._grouped import grouped_conformal_quantiles
from estimators.conformal._guarantee import Guarantee
from estimators.conformal._quantile import calibration_size, conformal_quantile, conformal_rank
from estimators.conformal._regression import (
    CalibratedQuantileRegression,
    CalibratedRegression,
    ConformalizedQuantileRegression,
    SplitRegression,
)
from estimators.conformal._weighted import weighted_conformal_quantiles

__all__ = [
    "CalibratedQuantileRegression",
    "CalibratedRegression",
    "ConformalizedQuantileRegression",
    "CoverageBand",
    "Guarantee",
    "SplitRegression",
    "calibration_size",
    "conformal_quantile",
    "conformal_rank",
    "coverage_band",
    "grouped_conformal_quantiles",
    "weighted_conformal_quantiles",
]
