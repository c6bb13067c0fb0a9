"""Scores in closed form: a Gaussian, a mixture of Gaussians, the data points themselves."""

from estimators.score._models._empirical import Empirical, FittedEmpirical
from estimators.score._models._gaussian import FittedGaussian, Gaussian, GaussianInfo
from estimators.score._models._mixture import FittedMixture, Mixture, MixtureInfo
from estimators.score._models._model import AnalyticModel, ScoreModel

__all__ = [
    "AnalyticModel",
    "Empirical",
    "FittedEmpirical",
    "FittedGaussian",
    "FittedMixture",
    "Gaussian",
    "GaussianInfo",
    "Mixture",
    "MixtureInfo",
    "ScoreModel",
]
