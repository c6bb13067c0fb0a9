"""Does a Gaussian suffice, and from which noise scale?"""

import jax.numpy as jnp

from estimators import density, score
from estimators.report._sample import draw
from estimators.report._study import Study, mean_and_error

SIGMAS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0)
TOLERANCE = 0.05
MOST_FIT_ROWS = 20_000
MOST_HELD_OUT_ROWS = 2000


def judge(study: Study) -> dict:
    """The Gaussian section: by how much held-out rows, noised, prefer a kernel density.

    At noise sigma the Gaussian's law is N(mean, covariance + sigma^2 I), and the kernel
    density's is itself with its kernel widened by sigma^2: both exact. The mean difference
    of their log densities estimates, from below, the Kullback-Leibler divergence of the
    noised data from the noised Gaussian.
    """
    sample = draw(study, "gaussian", most_fit=MOST_FIT_ROWS, most_held_out=MOST_HELD_OUT_ROWS)
    train, test = sample.train, sample.held_out
    noise = jnp.asarray(study.generator("gaussian noise").standard_normal(test.shape), test.dtype)
    gaussian = score.Gaussian().fit(train)
    kernel = density.KDE("loo").fit(train)
    levels = []
    for sigma in SIGMAS:
        x = test + sigma * noise
        widened = kernel.bandwidth + sigma**2 * jnp.eye(len(sample.columns), dtype=test.dtype)
        of_kernel = density.KDE(widened).fit(train).log_density(x)
        of_gaussian = gaussian.log_density(x, max(sigma, 1e-6))
        gap, error = mean_and_error(of_kernel - of_gaussian)
        truth = None
        if sample.law is not None:
            truth, _ = sample.law.with_noise(sigma).divergence_from_gaussian(
                study.generator("gaussian truth"), 50_000
            )
        levels.append({"sigma": sigma, "gap": gap, "standard_error": error, "truth": truth})
    suffices = _suffices([level["gap"] + 1.645 * level["standard_error"] for level in levels])
    of_truth = _suffices([level["truth"] for level in levels]) if sample.law is not None else None
    return {
        "columns": sample.columns,
        "rows_fitted": len(train),
        "rows_held_out": len(test),
        "tolerance": TOLERANCE,
        "levels": levels,
        "suffices_from": suffices,
        "truth_suffices_from": of_truth,
        "statement": _statement(levels, suffices),
    }


def _suffices(gaps: list[float]) -> float | None:
    """The smallest sigma from which on the gap stays under the tolerance."""
    under = [gap <= TOLERANCE for gap in gaps]
    for i, sigma in enumerate(SIGMAS):
        if all(under[i:]):
            return sigma
    return None


def _statement(levels: list[dict], suffices: float | None) -> str:
    first = levels[0]
    if suffices is None:
        return "A Gaussian does not suffice at any noise scale tried (up to 3 sd)."
    if suffices == 0.0:
        if first["gap"] < -TOLERANCE:
            return (
                "Nothing was found against a Gaussian, but the kernel density is the worse of "
                "the two here and could not have found much: with this many dimensions the "
                "question is open below the noise scale where their gap is level."
            )
        return "A Gaussian suffices at every noise scale: none of the structure shows without it."
    if first["gap"] <= 2 * first["standard_error"]:
        return (
            f"With noise of {suffices:g} sd or more nothing but a Gaussian was found (within "
            f"{TOLERANCE:g} nats a row); with less the kernel density is too uncertain to tell."
        )
    return (
        f"With noise of {suffices:g} sd or more nothing but a Gaussian was found "
        f"(within {TOLERANCE:g} nats a row); without noise it lacks at least {first['gap']:.2f} ± "
        f"{first['standard_error']:.2f}."
    )
