"""Which way is up-hill at noise level sigma, and how do I sample with it?

    gaussian = score.Gaussian().fit(points)            # or Mixture, Empirical: closed forms
    gaussian.score(x, sigma)                           # gradient of the noised log density
    gaussian.denoise(x, sigma)                         # posterior mean of the clean point
    gaussian.transport(x, from_sigma=80.0, to_sigma=3.0)  # probability flow, in one step

    held = score.certificate(gaussian, model, held_out, key=key)
    teleport = score.Teleport(gaussian, certificate=held)   # skip while it costs < .05 nats
    score.sample(model, noise, score.edm_schedule(18), teleport=teleport).samples

Noise is variance exploding, `x = x0 + sigma eps`, in data units; `Noised` and `Predictor` speak
the other parametrisations.
"""

from estimators.score._denoisers import (
    Chain,
    DenoiserWarning,
    LearnedDenoiser,
    Multiplicative,
    ResidualNetwork,
    UNet,
    metropolis,
    train_denoiser,
)
from estimators.score._inverse import Guided, Observation, guided, posterior, red_diff
from estimators.score._judgement import (
    Agreement,
    Distance,
    Explained,
    NoiseRange,
    condensation_noise,
    energy_distance,
    explained_variance,
    frechet_distance,
    maximum_mean_discrepancy,
    memorised_share,
    sliced_wasserstein,
    split_half_agreement,
    suggest_noise,
)
from estimators.score._likelihood import Likelihood, log_likelihood
from estimators.score._models import (
    AnalyticModel,
    Empirical,
    FittedEmpirical,
    FittedGaussian,
    FittedMixture,
    Gaussian,
    GaussianInfo,
    Mixture,
    MixtureInfo,
    ScoreModel,
)
from estimators.score._noise import (
    CosineNoise,
    FlowMatching,
    Noised,
    Parametrisation,
    Predictor,
    VarianceExploding,
    VariancePreserving,
)
from estimators.score._samplers import (
    Ancestral,
    Euler,
    EulerMaruyama,
    GaussianExponential,
    Heun,
    MultistepDPM,
    Sampler,
    Samples,
    SinglestepDPM,
    StochasticHeun,
    UniPC,
    initial_noise,
    sample,
)
from estimators.score._schedules import cosine_schedule, edm_schedule, log_uniform_schedule
from estimators.score._teleport import Certificate, Landing, Teleport, certificate, flow

__all__ = [
    "Agreement",
    "AnalyticModel",
    "Ancestral",
    "Certificate",
    "Chain",
    "CosineNoise",
    "DenoiserWarning",
    "Distance",
    "Empirical",
    "Euler",
    "EulerMaruyama",
    "Explained",
    "FittedEmpirical",
    "FittedGaussian",
    "FittedMixture",
    "FlowMatching",
    "Gaussian",
    "GaussianExponential",
    "GaussianInfo",
    "Guided",
    "Heun",
    "Landing",
    "LearnedDenoiser",
    "Likelihood",
    "Mixture",
    "MixtureInfo",
    "Multiplicative",
    "MultistepDPM",
    "NoiseRange",
    "Noised",
    "Observation",
    "Parametrisation",
    "Predictor",
    "ResidualNetwork",
    "Sampler",
    "Samples",
    "ScoreModel",
    "SinglestepDPM",
    "StochasticHeun",
    "Teleport",
    "UNet",
    "UniPC",
    "VarianceExploding",
    "VariancePreserving",
    "certificate",
    "condensation_noise",
    "cosine_schedule",
    "edm_schedule",
    "energy_distance",
    "explained_variance",
    "flow",
    "frechet_distance",
    "guided",
    "initial_noise",
    "log_likelihood",
    "log_uniform_schedule",
    "maximum_mean_discrepancy",
    "memorised_share",
    "metropolis",
    "posterior",
    "red_diff",
    "sample",
    "sliced_wasserstein",
    "split_half_agreement",
    "suggest_noise",
    "train_denoiser",
]
