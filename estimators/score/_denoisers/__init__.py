"""Denoisers that are learned: networks, how they are scaled, and how they are trained."""

from estimators.score._denoisers._learned import PRECONDITIONINGS, LearnedDenoiser
from estimators.score._denoisers._metropolis import Chain, metropolis
from estimators.score._denoisers._multiplicative import Multiplicative
from estimators.score._denoisers._networks import ResidualNetwork
from estimators.score._denoisers._train import DenoiserWarning, train_denoiser
from estimators.score._denoisers._unet import UNet

__all__ = [
    "PRECONDITIONINGS",
    "Chain",
    "DenoiserWarning",
    "LearnedDenoiser",
    "Multiplicative",
    "ResidualNetwork",
    "UNet",
    "metropolis",
    "train_denoiser",
]
