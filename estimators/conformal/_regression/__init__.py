"""Intervals for regression, from predictions and what was observed."""

from estimators.conformal._regression._quantile_regression import (
    CalibratedQuantileRegression,
    ConformalizedQuantileRegression,
)
from estimators.conformal._regression._split import CalibratedRegression, SplitRegression

__all__ = [
    "CalibratedQuantileRegression",
    "CalibratedRegression",
    "ConformalizedQuantileRegression",
    "SplitRegression",
]
