"""Parametrisations against the definition: densities of alpha x0 + sigma eps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from estimators import score
from estimators.testing import refuses

SCHEDULES = [
    score.VarianceExploding(),
    score.VariancePreserving(),
    score.CosineNoise(),
    score.FlowMatching(),
]


def gaussian(d=3, dtype=np.float64):
    generator = np.random.default_rng(0)
    points = 2 + generator.normal(size=(200, d)) @ generator.normal(size=(d, d))
    return score.Gaussian(2).fit(points.astype(dtype))


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
def test_time_inverts_the_ratio(x64, schedule):
    time = jnp.array([1e-4, 0.01, 0.3, 0.7, 0.99])
    ratio = schedule.sigma(time) / schedule.alpha(time)
    np.testing.assert_allclose(schedule.time(ratio), time, rtol=1e-9)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
def test_density_and_score_are_those_of_the_noised_rows(x64, schedule):
    fitted = gaussian()
    noised = score.Noised(fitted, schedule)
    x, time = jnp.asarray(np.random.default_rng(1).normal(size=(5, 3))), 0.6
    alpha, sigma = float(schedule.alpha(jnp.array(time))), float(schedule.sigma(jnp.array(time)))
    within = fitted.basis @ fitted.basis.T
    clean = (fitted.basis * fitted.eigenvalues[None]) @ fitted.basis.T
    covariance = alpha**2 * (clean + fitted.floor * (np.eye(3) - within)) + sigma**2 * np.eye(3)
    law = stats.multivariate_normal(alpha * fitted.mean, covariance)
    np.testing.assert_allclose(noised.log_density(x, time), law.logpdf(x), rtol=1e-10)
    gradient = jax.grad(lambda x: noised.log_density(x, time).sum())(x)
    np.testing.assert_allclose(noised.score(x, time), gradient, atol=1e-10)
    noise = noised.predict(x, time, "noise")
    np.testing.assert_allclose(noise, -sigma * gradient, atol=1e-10)
    rebuilt = alpha * noised.denoise(x, time) + sigma * noise
    np.testing.assert_allclose(rebuilt, x, atol=1e-10)


@pytest.mark.parametrize("what", ["clean", "noise", "velocity", "flow", "score"])
@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
def test_a_network_in_any_parametrisation_is_the_same_model(x64, schedule, what):
    fitted = gaussian()
    noised = score.Noised(fitted, schedule)
    model = score.Predictor(lambda x, t: noised.predict(x, t, what), 3, schedule, what)
    x, sigma = np.random.default_rng(1).normal(size=(4, 3)), np.array([0.1, 0.5, 2.0, 9.0])
    np.testing.assert_allclose(model.denoise(x, sigma), fitted.denoise(x, sigma), atol=1e-8)
    np.testing.assert_allclose(model.score(x, sigma), fitted.score(x, sigma), atol=1e-6)


def test_the_flow_of_matching_is_the_velocity(x64):
    """Along the flow-matching path dx/dt is the predicted flow: a small step of the closed form."""
    fitted = gaussian()
    noised = score.Noised(fitted, score.FlowMatching())
    x, step = np.random.default_rng(1).normal(size=(4, 3)), 1e-5
    moved = noised.transport(x, 0.5, 0.5 + step) - noised.transport(x, 0.5, 0.5 - step)
    np.testing.assert_allclose(moved / (2 * step), noised.predict(x, 0.5, "flow"), atol=1e-8)


def test_bad_input_is_refused():
    fitted = gaussian(dtype=np.float32)
    with refuses("what must be one of"):
        score.Noised(fitted, score.FlowMatching()).predict(jnp.ones((1, 3)), 0.5, "epsilon")
    with refuses("time must be where FlowMatching has some signal"):
        score.Noised(fitted, score.FlowMatching()).score(jnp.ones((1, 3)), 1.0)
    with refuses("predicts must be one of"):
        score.Predictor(lambda x, t: x, 3, score.FlowMatching(), "x0")
    with refuses("parametrisation must be one"):
        score.Noised(fitted, "flow")
    with refuses("parametrisation must be one"):
        score.Predictor(lambda x, t: x, 3, score.FlowMatching, "clean")
    for wrong in (lambda x, t: x[:, :1], lambda x, t: (x, t)):
        with refuses(r"function must map points \(2, 3\) and times \(2,\) to \(2, 3\)"):
            score.Predictor(wrong, 3, score.FlowMatching(), "flow").denoise(jnp.ones((2, 3)), 1.0)
    predictor = score.Predictor(lambda x, t: x, 3, score.FlowMatching(), "clean")
    with refuses("model must have a log density"):
        score.Noised(predictor, score.FlowMatching()).log_density(jnp.ones((1, 3)), 0.5)
    with refuses("model must be a FittedGaussian"):
        score.Noised(predictor, score.FlowMatching()).transport(jnp.ones((1, 3)), 0.5, 0.1)
