"""Prediction sets from held-out predictions of all rows: none is set aside for calibration."""

from estimators.conformal._cross._bootstrap import (
    CalibratedJackknifeAfterBootstrap,
    JackknifeAfterBootstrap,
)
from estimators.conformal._cross._order_statistic import cross_order_statistic
from estimators.conformal._cross._quantile_regression import (
    CalibratedCrossConformalQuantileRegression,
    CrossConformalQuantileRegression,
)
from estimators.conformal._cross._regression import CalibratedCrossConformal, CrossConformal

__all__ = [
    "CalibratedCrossConformal",
    "CalibratedCrossConformalQuantileRegression",
    "CalibratedJackknifeAfterBootstrap",
    "CrossConformal",
    "CrossConformalQuantileRegression",
    "JackknifeAfterBootstrap",
    "cross_order_statistic",
]
