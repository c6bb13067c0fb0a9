"""Two probabilities a class, one of which is right: Venn predictors and Venn-Abers."""

from estimators.conformal._venn._abers import CalibratedVennAbers, VennAbers
from estimators.conformal._venn._multiprobability import Multiprobability
from estimators.conformal._venn._predictor import CalibratedVennPredictor, VennPredictor

__all__ = [
    "CalibratedVennAbers",
    "CalibratedVennPredictor",
    "Multiprobability",
    "VennAbers",
    "VennPredictor",
]
