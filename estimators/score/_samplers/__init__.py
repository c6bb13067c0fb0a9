"""From noise to samples: solvers of the probability flow and of the reverse diffusion."""

from estimators.score._samplers._exponential import GaussianExponential
from estimators.score._samplers._multistep import MultistepDPM, UniPC
from estimators.score._samplers._one_step import Euler, Heun, SinglestepDPM
from estimators.score._samplers._sample import Samples, initial_noise, sample
from estimators.score._samplers._sampler import Sampler
from estimators.score._samplers._stochastic import Ancestral, EulerMaruyama, StochasticHeun

__all__ = [
    "Ancestral",
    "Euler",
    "EulerMaruyama",
    "GaussianExponential",
    "Heun",
    "MultistepDPM",
    "Sampler",
    "Samples",
    "SinglestepDPM",
    "StochasticHeun",
    "UniPC",
    "initial_noise",
    "sample",
]
