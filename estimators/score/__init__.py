"""Which way is up-hill at noise level sigma?

    fitted = score.Gaussian().fit(points)              # points (n, d)
    fitted.score(x, sigma)                             # gradient of the noised log density
    fitted.denoise(x, sigma)                           # posterior mean of the clean point
    fitted.log_density(x, sigma)
    fitted.transport(x, from_sigma=80.0, to_sigma=3.0)  # probability flow, in closed form

`Gaussian` is the Gaussian approximation of the score: exact at high noise for any data
(Wang & Vastola 2024). The empirical score at noise sigma is that of `density.KDE(sigma)`.
"""

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
