"""Regions for outcomes of several columns."""

from estimators.conformal._multivariate._balls import BallUnion
from estimators.conformal._multivariate._box import CalibratedBox, ConformalBox
from estimators.conformal._multivariate._calibrated_directional import (
    CalibratedDirectionalQuantiles,
    FittedDirectionalQuantiles,
)
from estimators.conformal._multivariate._directional import DirectionalQuantiles
from estimators.conformal._multivariate._ellipsoid import CalibratedEllipsoid, ConformalEllipsoid

__all__ = [
    "BallUnion",
    "CalibratedBox",
    "CalibratedDirectionalQuantiles",
    "CalibratedEllipsoid",
    "ConformalBox",
    "ConformalEllipsoid",
    "DirectionalQuantiles",
    "FittedDirectionalQuantiles",
]
