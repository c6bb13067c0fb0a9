"""The ratio of two densities: the weights of calibration rows under covariate shift."""

from estimators.conformal._ratio._kernel import FittedKernelRatio, KernelRatio
from estimators.conformal._ratio._logistic import (
    FittedLogisticRatio,
    LogisticRatio,
    LogisticRatioInfo,
    ratio_from_probability,
)

__all__ = [
    "FittedKernelRatio",
    "FittedLogisticRatio",
    "KernelRatio",
    "LogisticRatio",
    "LogisticRatioInfo",
    "ratio_from_probability",
]
