"""Linear observations: the exact posterior against algebra, the samplers against it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from estimators import score
from estimators.testing import refuses


def prior(kind, dtype=np.float64):
    generator = np.random.default_rng(0)
    points = generator.normal(size=(600, 3)) @ generator.normal(size=(3, 3))
    if kind == "gaussian":
        return score.Gaussian().fit(points.astype(dtype))
    points[:300] += 4
    return score.Mixture(2).fit(points.astype(dtype), key=jax.random.key(0))


def seen(dtype=np.float64):
    operator = np.array([[1.0, 0.5, 0.0], [0.0, 1.0, -1.0]], dtype)
    return score.Observation(operator, np.array([1.0, 0.3], dtype), np.array([0.3, 0.5], dtype))


@pytest.mark.parametrize("kind", ["gaussian", "mixture"])
def test_the_posterior_is_proportional_to_prior_times_likelihood(x64, kind):
    model, observation = prior(kind), seen()
    after = score.posterior(model, observation)
    x = jnp.asarray(np.random.default_rng(1).normal(size=(10, 3)))
    gap = (observation.value[None] - x @ observation.operator.T) / observation.noise[None]
    joint = model.log_density(x, 0.0) - 0.5 * jnp.sum(gap**2, -1)
    difference = joint - after.log_density(x, 0.0)
    np.testing.assert_allclose(difference, jnp.full(10, difference[0]), atol=1e-8)


def test_moment_matching_is_exact_for_a_gaussian_prior(x64):
    model, observation = prior("gaussian"), seen()
    exact = score.posterior(model, observation)
    pulled = score.guided(model, observation)
    x = np.random.default_rng(1).normal(size=(5, 3))
    for sigma in (0.05, 1.0, 20.0):
        np.testing.assert_allclose(pulled.denoise(x, sigma), exact.denoise(x, sigma), atol=1e-8)


def test_pigdm_is_exact_for_an_isotropic_gaussian_and_one_direction(x64):
    model = prior("gaussian")
    isotropic = score.FittedGaussian(
        model.mean, model.basis, jnp.full(3, 2.0), model.floor, model.info
    )
    observation = score.Observation(jnp.array([[0.6, 0.8, 0.0]]), jnp.array([1.0]), 0.4)
    exact = score.posterior(isotropic, observation)
    pulled = score.guided(isotropic, observation, method="pigdm", variance=2.0)
    x = np.random.default_rng(1).normal(size=(5, 3))
    np.testing.assert_allclose(pulled.denoise(x, 0.7), exact.denoise(x, 0.7), atol=1e-9)


@pytest.mark.parametrize("method", ["moments", "pigdm"])
def test_samples_reach_the_exact_posterior(method):
    """Mean and covariance of 8000 draws. For "moments" within five standard errors; "pigdm" is an
    approximation, wrong here by less than a tenth of the prior's spread.
    """
    model, observation = prior("gaussian", np.float32), seen(np.float32)
    exact = score.posterior(model, observation)
    n = 8000
    pulled = score.guided(model, observation, method=method, variance=2.0)
    levels = score.edm_schedule(60, sigma_max=40.0)
    start = score.initial_noise(n, model, levels, key=jax.random.key(1))
    got = np.asarray(score.sample(pulled, start, levels).samples)
    covariance = np.asarray((exact.basis[0] * exact.eigenvalues[0][None]) @ exact.basis[0].T)
    error = np.sqrt(np.diagonal(covariance) / n)
    spread = np.sqrt(np.trace((model.basis * model.eigenvalues[None]) @ model.basis.T) / 3)
    if method == "moments":
        assert (abs(got.mean(0) - exact.means[0]) < 5 * error + 2e-3).all()
        diagonal = np.diagonal(covariance)
        allowed = 5 * np.sqrt((np.outer(diagonal, diagonal) + covariance**2) / n) + 2e-3
        assert (abs(np.cov(got.T) - covariance) < allowed).all()
    else:
        assert (abs(got.mean(0) - exact.means[0]) < 0.1 * spread).all()


def test_a_precise_observation_leaves_its_variance_in_float32():
    """Noise 1e-4 of a unit prior: a difference of covariances would have no digits left."""
    model = score.Gaussian().fit(np.random.default_rng(0).normal(size=(500, 2)).astype(np.float32))
    operator = jnp.array([[1.0, 0.0]])
    after = score.posterior(model, score.Observation(operator, jnp.ones(1), 1e-4))
    np.testing.assert_allclose(jnp.sqrt(after.eigenvalues.min()), 1e-4, rtol=1e-2)


def test_moments_stay_finite_for_a_network():
    """The Jacobian of a network need not be that of a posterior mean."""
    points = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
    network = score.ResidualNetwork(3, width=8, depth=1, key=jax.random.key(0))
    noisy = jax.tree.map(lambda a: a + 0.7, network)
    model = score.LearnedDenoiser(noisy, score.Gaussian().fit(points), None, None, "edm")
    pulled = score.guided(model, seen(np.float32))
    for sigma in (0.1, 1.0, 10.0):
        assert jnp.isfinite(pulled.denoise(points[:20], sigma)).all()


def test_dps_draws_near_what_was_seen():
    model, observation = prior("mixture", np.float32), seen(np.float32)
    levels = score.edm_schedule(100, sigma_max=40.0)
    start = score.initial_noise(500, model, levels, key=jax.random.key(1))

    def misfit(denoiser):
        got = score.sample(
            denoiser, start, levels, sampler=score.Ancestral(), key=jax.random.key(2)
        )
        gap = got.samples @ observation.operator.T - observation.value[None]
        return float(jnp.mean(jnp.abs(gap)))

    pulled = score.guided(model, observation, method="dps")
    assert misfit(pulled) < 0.3 * misfit(model)


def test_red_diff_finds_the_posterior_mean_of_a_gaussian():
    """There its fixed point is the mode, which is the mean; noise of the steps remains."""
    model, observation = prior("gaussian", np.float32), seen(np.float32)
    exact = score.posterior(model, observation)
    start = jnp.zeros((64, 3))
    levels = np.geomspace(3.0, 0.05, 400)
    found = score.red_diff(
        model, observation, start, levels, key=jax.random.key(0), learning_rate=0.05
    )
    spread = float(jnp.sqrt(jnp.mean(model.eigenvalues)))
    assert (jnp.abs(found.mean(0) - exact.means[0]) < 0.15 * spread).all()


def test_bad_input_is_refused():
    model, observation = prior("gaussian", np.float32), seen(np.float32)
    with refuses("operator must have 3 columns"):
        score.posterior(model, score.Observation(jnp.ones((1, 2)), jnp.ones(1), 0.1))
    with refuses("model must be a FittedGaussian or a FittedMixture"):
        score.posterior(score.Empirical().fit(jnp.ones((4, 3))), observation)
    with refuses("observation must be a score.Observation"):
        score.guided(model, jnp.ones(3))
    with refuses("noise must be finite and positive"):
        score.Observation(jnp.ones((1, 2)), jnp.ones(1), 0.0)
    with refuses("value must have length 1"):
        score.Observation(jnp.ones((1, 2)), jnp.ones(2), 0.1)
    with refuses("variance must be given for method='pigdm'"):
        score.guided(model, observation, method="pigdm")
    with refuses("method must be one of"):
        score.guided(model, observation, method="ddrm")
    with refuses("leave it out"):
        score.red_diff(
            model, observation, jnp.ones((1, 3)), score.edm_schedule(4), key=jax.random.key(0)
        )


def test_noise_that_is_not_positive_gives_nan_inside_jit():
    model = prior("gaussian", np.float32)

    @jax.jit
    def mean(noise):
        return score.posterior(model, score.Observation(jnp.ones((1, 3)), jnp.ones(1), noise)).means

    for bad in (-0.1, 0.0, jnp.inf, jnp.nan):
        assert jnp.isnan(mean(bad)).all()
    assert jnp.isfinite(mean(0.1)).all()
