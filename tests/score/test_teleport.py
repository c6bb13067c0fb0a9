"""Teleportation and its certificate against Monte Carlo, and the likelihood against the law."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from estimators import score
from estimators.testing import refuses


def clusters(n, d=6, seed=0):
    generator = np.random.default_rng(seed)
    points = generator.normal(size=(n, d)) * np.linspace(1.5, 0.3, d)
    points[:, :2] += 2.0 * np.sign(generator.normal(size=(n, 2)))
    return points.astype(np.float32)


@pytest.fixture(scope="module")
def truth():
    """A mixture that is the truth, and the Gaussian of its own moments."""
    mixture = score.Mixture(4).fit(clusters(2000), key=jax.random.key(1))
    weights = jnp.exp(mixture.log_weights)
    mean = weights @ mixture.means
    apart = mixture.means - mean[None]
    modes = mixture.basis, mixture.eigenvalues, mixture.basis
    within = jnp.einsum("k,kdr,kr,ker->de", weights, *modes)
    covariance = within + jnp.einsum("k,kd,ke->de", weights, apart, apart)
    values, basis = jnp.linalg.eigh(covariance)
    plain = score.Gaussian().fit(clusters(50))
    zero = jnp.zeros(())
    gaussian = score.FittedGaussian(mean, basis[:, ::-1], values[::-1], zero, plain.info)
    return mixture, gaussian


@pytest.mark.parametrize("estimate", ["distance", "losses"])
def test_certificate_is_the_divergence(truth, estimate):
    """Within 10 % or .02 nats of Monte Carlo, and within four standard errors of both."""
    mixture, gaussian = truth
    held_out = mixture.sample(4000, key=jax.random.key(2))
    held = score.certificate(gaussian, mixture, held_out, key=jax.random.key(3), estimate=estimate)
    for sigma in (0.3, 0.5, 1.0, 1.5, 2.0, 3.0):
        x = mixture.sample(40_000, sigma, key=jax.random.key(4))
        gap = mixture.log_density(x, sigma) - gaussian.log_density(x, sigma)
        error = float(jnp.std(gap)) / 200
        got = float(held.at(sigma))
        certified = float(jnp.interp(sigma, held.sigmas, held.standard_error))
        allowed = max(0.1 * float(gap.mean()), 0.02)
        if estimate == "losses":  # a noisier estimate of the same
            allowed = max(allowed, 4 * (error**2 + certified**2) ** 0.5)
        assert abs(got - float(gap.mean())) < allowed, sigma


def test_the_skip_is_where_the_tolerance_is_met(truth):
    mixture, gaussian = truth
    held_out = mixture.sample(2000, key=jax.random.key(2))
    held = score.certificate(gaussian, mixture, held_out, key=jax.random.key(3))
    skip = held.skip_sigma(0.05)
    assert held.at(skip) < 0.05 < held.at(0.8 * skip)
    assert held.skip_sigma(0.5) < skip < held.skip_sigma(0.005)
    teleport = score.Teleport(gaussian, certificate=held)
    landing = teleport.land(score.edm_schedule(18))
    levels = score.edm_schedule(18)
    assert landing.to_sigma == levels[landing.index] >= skip > levels[landing.index + 1]
    assert "certified divergence" in str(landing)
    # A law that starts below the skip is not carried anywhere.
    low = teleport.land(score.edm_schedule(18, sigma_max=0.5 * skip))
    assert low.index == 0
    assert low.to_sigma == 0.5 * skip


def test_what_is_not_finite_is_not_certified(truth):
    mixture, gaussian = truth
    held_out = mixture.sample(200, key=jax.random.key(2))
    held = score.certificate(gaussian, mixture, held_out, key=jax.random.key(3))
    broken = eqx.tree_at(lambda held: held.divergence, held, held.divergence.at[:30].set(jnp.nan))
    assert broken.skip_sigma(10.0) >= float(held.sigmas[30])
    with refuses("must be known when compiling"):
        jax.jit(lambda held: held.skip_sigma(0.05))(held)


def test_a_worse_model_is_named(truth):
    mixture, gaussian = truth
    held_out = mixture.sample(2000, key=jax.random.key(2))
    broken = score.Predictor(
        lambda x, sigma: 1.2 * mixture.denoise(x, sigma), 6, score.VarianceExploding(), "clean"
    )
    held = score.certificate(gaussian, broken, held_out, key=jax.random.key(3))
    assert held.loses_at().size > 5
    fine = score.certificate(gaussian, mixture, held_out, key=jax.random.key(3))
    assert fine.loses_at().size == 0


@pytest.mark.parametrize("sampler", [score.Euler(), score.UniPC()], ids=str)
def test_teleported_samples_follow_the_true_flow(truth, sampler):
    """From the same noise: with the skip, as near to the fine solution as without, for less."""
    mixture, gaussian = truth
    levels = score.edm_schedule(24)
    start = score.initial_noise(2000, mixture, levels, key=jax.random.key(5))
    teleport = score.Teleport(gaussian, to_sigma=5.0)
    fine = score.flow(mixture, start, 80.0, 0.002, steps=400)
    plain = score.sample(mixture, start, levels, sampler=sampler)
    skipped = score.sample(mixture, start, levels, sampler=sampler, teleport=teleport)
    assert skipped.evaluations < 0.7 * plain.evaluations

    def distance(result):
        return float(jnp.sqrt(jnp.median(jnp.sum((result.samples - fine) ** 2, -1))))

    assert distance(skipped) < 1.05 * distance(plain) + 0.02


def test_mixture_teleportation_reaches_lower(truth):
    """The mixture's own flow: exact here, where the mixture is the model."""
    mixture, _ = truth
    levels = score.edm_schedule(40)
    start = score.initial_noise(500, mixture, levels, key=jax.random.key(5))
    teleport = score.Teleport(mixture, to_sigma=0.5, steps=96)
    plain = score.sample(mixture, start, levels)
    skipped = score.sample(mixture, start, levels, teleport=teleport)
    assert skipped.evaluations < 0.5 * plain.evaluations
    assert float(jnp.median(jnp.abs(skipped.samples - plain.samples))) < 0.02


@pytest.mark.parametrize("probes", [None, 64])
def test_likelihood_of_a_known_law(x64, probes):
    points = clusters(400).astype(float)
    mixture = score.Mixture(4).fit(points, key=jax.random.key(1))
    gaussian = score.Gaussian().fit(points)
    x = points[:8]
    found = score.log_likelihood(
        mixture, x, closing=gaussian, sigma_min=0.1, probes=probes, key=jax.random.key(0)
    )
    expected = mixture.log_density(x, 0.1)
    if probes is None:
        np.testing.assert_allclose(found.value, expected, atol=1e-3)
        short = score.log_likelihood(mixture, x, closing=mixture, sigma_min=0.1, sigma_max=3.0)
        np.testing.assert_allclose(short.value, expected, atol=1e-3)
    else:
        # Eight rows, 4.5 standard errors: a false alarm in 10^4 keys.
        assert (jnp.abs(found.value - expected) < 4.5 * found.standard_error + 1e-3).all()


def test_closed_forms_of_the_gaussian(x64):
    fitted = score.Gaussian(2).fit(clusters(300).astype(float))
    x = jnp.asarray(clusters(3, seed=1).astype(float))
    end = fitted.endpoint(x, 20.0, 0.7)
    expected = fitted.denoise(fitted.transport(x, 20.0, 0.7), 0.7)
    np.testing.assert_allclose(end, expected, atol=1e-10)
    jacobian = jax.vmap(jax.jacfwd(lambda x: fitted.transport(x, 5.0, 0.2)))(x)
    determinant = jnp.linalg.slogdet(jacobian)[1]
    got = fitted.log_determinant(5.0, 0.2)
    np.testing.assert_allclose(determinant, jnp.full(3, got), atol=1e-10)


def test_reverse_transition_is_the_conditional_law():
    """Joint law of two noise levels of one Gaussian mode, by simulation. Five standard errors."""
    points = 1 + 2.0 * jax.random.normal(jax.random.key(0), (500, 1))
    fitted = score.Gaussian().fit(points)
    n, high, low = 40_000, 3.0, 1.0
    x = fitted.sample(n, high, key=jax.random.key(1))
    back = fitted.reverse_transition(x, high, low, key=jax.random.key(2))
    variance = float(fitted.eigenvalues[0])
    both = np.cov(np.stack([x[:, 0], back[:, 0]]))
    np.testing.assert_allclose(both[1, 1], variance + low**2, rtol=5 * (2 / n) ** 0.5)
    # Forward, noise is added to the lower level: the covariance is the lower variance.
    assert abs(both[0, 1] - (variance + low**2)) < 5 * (both[0, 0] * both[1, 1] * 2 / n) ** 0.5
    with refuses("to_sigma must not be above from_sigma"):
        fitted.reverse_transition(x, 1.0, 2.0, key=jax.random.key(0))


def test_bad_input_is_refused(truth):
    mixture, gaussian = truth
    start = jnp.ones((2, 6))
    levels = score.edm_schedule(6)
    with refuses("to_sigma must lie within the schedule, from 0.002 to 80; got 100"):
        score.sample(mixture, start, levels, teleport=score.Teleport(gaussian, to_sigma=100.0))
    with refuses("to_sigma or certificate must be given"):
        score.Teleport(gaussian)
    with refuses("teleport='auto' needs a model that carries its own"):
        score.sample(mixture, start, levels, teleport="auto")
    with refuses("certificate must be a score.Certificate"):
        score.Teleport(gaussian, certificate=0.05)
    with refuses("sigmas must increase strictly"):
        score.certificate(
            gaussian, mixture, start, key=jax.random.key(0), sigmas=jnp.array([2.0, 1.0])
        )
    with refuses("points must have 6 columns"):
        score.certificate(gaussian, mixture, jnp.ones((9, 5)), key=jax.random.key(0))
    with refuses("sigma_max must be above sigma_min"):
        score.log_likelihood(mixture, start, closing=gaussian, sigma_min=2.0, sigma_max=1.0)
    with refuses("key must be given for random probes"):
        score.log_likelihood(mixture, start, closing=gaussian, probes=4)
