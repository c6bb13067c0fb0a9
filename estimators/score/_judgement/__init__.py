"""How good a score is, what of it is Gaussian, what is memorised, how far samples are off."""

from estimators.score._judgement._condensation import condensation_noise, memorised_share
from estimators.score._judgement._distances import (
    Distance,
    energy_distance,
    frechet_distance,
    maximum_mean_discrepancy,
    sliced_wasserstein,
)
from estimators.score._judgement._explained import (
    Agreement,
    Explained,
    explained_variance,
    split_half_agreement,
)
from estimators.score._judgement._noise_range import NoiseRange, suggest_noise

__all__ = [
    "Agreement",
    "Distance",
    "Explained",
    "NoiseRange",
    "condensation_noise",
    "energy_distance",
    "explained_variance",
    "frechet_distance",
    "maximum_mean_discrepancy",
    "memorised_share",
    "sliced_wasserstein",
    "split_half_agreement",
    "suggest_noise",
]
