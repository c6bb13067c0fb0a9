"""Base models of our own: quantiles of y given features, at all levels at once."""

from estimators.quantile._models._fitted_network import FittedNetwork
from estimators.quantile._models._linear import (
    FittedLinearQuantiles,
    LinearInfo,
    LinearQuantiles,
)
from estimators.quantile._models._location_scale import ConditionalGaussian, LocationScale
from estimators.quantile._models._network import (
    QuantileNetwork,
    QuantileProcess,
    SimultaneousQuantileNetwork,
)

__all__ = [
    "ConditionalGaussian",
    "FittedLinearQuantiles",
    "FittedNetwork",
    "LinearInfo",
    "LinearQuantiles",
    "LocationScale",
    "QuantileNetwork",
    "QuantileProcess",
    "SimultaneousQuantileNetwork",
]
