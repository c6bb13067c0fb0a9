"""Probabilities that are calibrated, and how far they are from it."""

from estimators.conformal._probability._binned import calibration_error
from estimators.conformal._probability._corp import CorpReliability, corp_reliability
from estimators.conformal._probability._correctness import (
    CalibratedCorrectness,
    CorrectnessScaling,
)
from estimators.conformal._probability._deviation import CalibrationError
from estimators.conformal._probability._isotonic import CalibratedIsotonic, IsotonicScaling
from estimators.conformal._probability._kernel import (
    dirichlet_bandwidth,
    kernel_calibration_error,
)
from estimators.conformal._probability._logits import CalibratedLogits
from estimators.conformal._probability._pit import CalibratedPit, QuantileRecalibration
from estimators.conformal._probability._pit_test import pit_calibration_test
from estimators.conformal._probability._reliability import Reliability, reliability
from estimators.conformal._probability._scaling import (
    BetaScaling,
    PlattScaling,
    TemperatureScaling,
)
from estimators.conformal._probability._test_of_calibration import (
    CalibrationTest,
    calibration_test,
)

__all__ = [
    "BetaScaling",
    "CalibratedCorrectness",
    "CalibratedIsotonic",
    "CalibratedLogits",
    "CalibratedPit",
    "CalibrationError",
    "CalibrationTest",
    "CorpReliability",
    "CorrectnessScaling",
    "IsotonicScaling",
    "PlattScaling",
    "QuantileRecalibration",
    "Reliability",
    "TemperatureScaling",
    "calibration_error",
    "calibration_test",
    "corp_reliability",
    "dirichlet_bandwidth",
    "kernel_calibration_error",
    "pit_calibration_test",
    "reliability",
]
