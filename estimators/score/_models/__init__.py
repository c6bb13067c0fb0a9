"""Scores in closed form: a Gaussian, a mixture of Gaussians, the data points themselves."""

from estimators.score._models._empirical import Empirical, FittedEmpirical
from estimators.score._models._fitted_gaussian import (
    FittedGaussian,
    GaussianInfo,
    as_gaussian,
    by_mode,
)
from estimators.score._models._gaussian import Gaussian
from estimators.score._models._mixture import FittedMixture, Mixture, MixtureInfo
from estimators.score._models._model import AnalyticModel, ScoreModel, as_model, as_noised
from estimators.score._models._with_components import ComponentModel

__all__ = [
    "AnalyticModel",
    "ComponentModel",
    "Empirical",
    "FittedEmpirical",
    "FittedGaussian",
    "FittedMixture",
    "Gaussian",
    "GaussianInfo",
    "Mixture",
    "MixtureInfo",
    "ScoreModel",
    "as_gaussian",
    "as_model",
    "as_noised",
    "by_mode",
]
