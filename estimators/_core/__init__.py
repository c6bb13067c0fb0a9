"""The ground floor: what every family stands on. It knows no family."""

from estimators._core import _checks as checks
from estimators._core._base import Choice, Fitted, Spec, Stored
from estimators._core._folds import as_folds, as_numbered_folds
from estimators._core._kernel_statistics import KernelStatistics, kernel_statistics
from estimators._core._log_sum_exp import log_sum_exp
from estimators._core._moments import (
    constant_columns,
    effective_sample_size,
    normalised,
    unscale,
    weighted_covariance,
    weighted_mean,
    whiten,
    whitening,
)
from estimators._core._normal import normal_interval
from estimators._core._order_statistics import (
    grouped_order_statistics,
    order_statistic,
)
from estimators._core._product import product
from estimators._core._runs import Runs, runs
from estimators._core._scaling import Scaling, centre_and_inverse, power_of_two
from estimators._core._student import student_quantile

__all__ = [
    "Choice",
    "Fitted",
    "KernelStatistics",
    "Runs",
    "Scaling",
    "Spec",
    "Stored",
    "as_folds",
    "as_numbered_folds",
    "centre_and_inverse",
    "checks",
    "constant_columns",
    "effective_sample_size",
    "grouped_order_statistics",
    "kernel_statistics",
    "log_sum_exp",
    "normal_interval",
    "normalised",
    "order_statistic",
    "power_of_two",
    "product",
    "runs",
    "student_quantile",
    "unscale",
    "weighted_covariance",
    "weighted_mean",
    "whiten",
    "whitening",
]
