"""Sets of classes from predicted probabilities."""

from estimators.conformal._classification._adaptive import APS, RAPS, SAPS
from estimators.conformal._classification._calibrated import CalibratedClassification
from estimators.conformal._classification._direct import LAC, Margin
from estimators.conformal._classification._label_shift import label_shift_weights
from estimators.conformal._classification._ranked import TopK
from estimators.conformal._classification._regularisation import (
    ChosenRegularisation,
    choose_regularisation,
)
from estimators.conformal._classification._spec import ConformalClassification

__all__ = [
    "APS",
    "LAC",
    "RAPS",
    "SAPS",
    "CalibratedClassification",
    "ChosenRegularisation",
    "ConformalClassification",
    "Margin",
    "TopK",
    "choose_regularisation",
    "label_shift_weights",
]
