"""Learned denoisers: they start as closed forms, learn what these lack, and are saved whole."""

import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from estimators import io, score
from estimators.testing import refuses


def clusters(n, key=0):
    generator = np.random.default_rng(key)
    points = 0.5 * generator.normal(size=(n, 3))
    points[:, 0] += 3 * np.sign(generator.normal(size=n))
    return points.astype(np.float32)


def small(columns=3):
    return score.ResidualNetwork(columns, width=16, depth=1, key=jax.random.key(0))


def untrained(kind, points):
    gaussian = score.Gaussian().fit(points)
    return score.LearnedDenoiser(small(), gaussian, None, None, kind), gaussian


@pytest.mark.parametrize("kind", ["hybrid", "spectral"])
def test_a_spectral_network_starts_as_the_gaussian(kind):
    points = clusters(200)
    model, gaussian = untrained(kind, points)
    x = points[:20]
    for sigma in (0.01, 1.0, 50.0):
        got = model.denoise(x, sigma)
        np.testing.assert_allclose(got, gaussian.denoise(x, sigma), atol=1e-5)


def test_an_edm_network_starts_as_the_isotropic_gaussian():
    points = clusters(200)
    model, _ = untrained("edm", points)
    variance = points.var(0, ddof=1).mean()
    expected = points.mean(0) + variance / (variance + 4) * (points[:9] - points.mean(0))
    np.testing.assert_allclose(model.denoise(points[:9], 2.0), expected, atol=1e-5)


@pytest.fixture(scope="module")
def trained():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", score.DenoiserWarning)
        return score.train_denoiser(
            score.ResidualNetwork(3, width=64, depth=2, key=jax.random.key(0)),
            clusters(2000),
            key=jax.random.key(1),
            steps=1200,
            preconditioning="hybrid",
        )


def test_training_beats_the_gaussian_and_nears_the_truth(trained):
    """Two clusters 6 apart with spread .5: at noise 1 the truth is a known mixture."""
    fresh = clusters(2000, key=9)
    noise = np.random.default_rng(1).normal(size=fresh.shape).astype(np.float32)
    x = fresh + noise

    def error(clean):
        return float(jnp.mean(jnp.sum((clean - fresh) ** 2, -1)))

    variance = 0.25
    shrunk = variance / (variance + 1)
    centre = 3 * np.tanh(3 * x[:, :1] / (variance + 1)) * np.array([[1, 0, 0]])
    best = error(centre + shrunk * (x - centre))
    learned, gaussian = error(trained.denoise(x, 1.0)), error(trained.gaussian.denoise(x, 1.0))
    assert best < learned < best + 0.3 * (gaussian - best)
    assert trained.info.status == "finished"


def test_it_carries_its_certificate(trained):
    """The skip it finds is that of the truth, within a fifth."""
    fresh = clusters(2000, key=7)
    truth = score.Mixture(2).fit(clusters(20_000, key=8), key=jax.random.key(3))
    held = score.certificate(trained.gaussian, truth, fresh, key=jax.random.key(4))
    skip = trained.certificate.skip_sigma(0.05)
    assert abs(skip / held.skip_sigma(0.05) - 1) < 0.2
    levels = score.edm_schedule(20)
    start = score.initial_noise(400, trained, levels, key=jax.random.key(2))
    result = score.sample(trained, start, levels, teleport="auto", sampler=score.UniPC())
    assert result.evaluations < 14
    assert result.landing.to_sigma >= skip
    assert 0 < float(result.landing.divergence) < 0.05
    share = np.mean(np.asarray(result.samples[:, 0]) > 0)
    assert abs(share - 0.5) < 4 * 0.5 / 20  # four standard errors
    assert abs(np.abs(result.samples[:, 0]).mean() - 3) < 0.2


@pytest.mark.thorough
def test_saving_keeps_everything(trained, tmp_path):
    io.save(tmp_path / "model.safetensors", trained)
    again = io.load(tmp_path / "model.safetensors")
    x = clusters(5)
    np.testing.assert_array_equal(again.denoise(x, 0.5), trained.denoise(x, 0.5))
    assert again.teleport.land(score.edm_schedule(9)).index > 0
    unet = score.UNet((1, 4, 4), widths=(4, 8), key=jax.random.key(0))
    io.save(tmp_path / "unet.safetensors", unet)
    images = jnp.ones((2, 16))
    loaded = io.load(tmp_path / "unet.safetensors")
    np.testing.assert_array_equal(loaded(images, jnp.ones(2)), unet(images, jnp.ones(2)))


class Fragile(eqx.Module):
    """A network that is NaN as soon as its parameter leaves (-1, 1)."""

    scale: jax.Array

    def __call__(self, inputs, times):
        return inputs * jnp.log(1 - self.scale**2)


def test_divergence_is_said():
    network = Fragile(jnp.asarray(0.5))
    with pytest.warns(score.DenoiserWarning, match="training diverged"):
        score.train_denoiser(
            network, clusters(60), key=jax.random.key(0), steps=20, learning_rate=10.0
        )


def test_it_warns_where_it_loses_to_the_closed_form():
    """Columns of unequal spread: without training "edm" treats them as equal."""
    points = np.random.default_rng(0).normal(size=(300, 3)) * np.array([3, 1, 0.1])
    with pytest.warns(score.DenoiserWarning, match="worse than the Gaussian closed form"):
        score.train_denoiser(small(), points.astype(np.float32), key=jax.random.key(0), steps=5)


@pytest.mark.thorough
def test_the_unet_learns_what_is_local():
    """Images of one bright row, at random: a Gaussian cannot know that only one is."""
    rows = jax.random.randint(jax.random.key(0), (600,), 0, 4)
    images = jnp.repeat(jax.nn.one_hot(rows, 4), 4, axis=-1).reshape(600, 16)
    network = score.UNet((1, 4, 4), widths=(8, 16), key=jax.random.key(1))
    assert jnp.all(network(images[:2], jnp.zeros(2)) == 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", score.DenoiserWarning)
        model = score.train_denoiser(
            network,
            images,
            key=jax.random.key(2),
            steps=300,
            batch_size=64,
            learning_rate=5e-3,
            averaging=0.95,
        )
    certificate = model.certificate
    index = int(jnp.argmin(jnp.abs(certificate.sigmas - 0.3)))
    assert certificate.model_loss[index] < 0.8 * certificate.analytic_loss[index]


def test_positive_data_stay_positive(x64):
    points = np.exp(np.random.default_rng(0).normal(size=(500, 2)))
    model = score.Multiplicative(score.Gaussian().fit(np.log(points)))
    x = jnp.asarray(points[:10])
    gradient = jax.grad(lambda x: model.log_density(x, 0.3).sum())(x)
    np.testing.assert_allclose(model.score(x, 0.3), gradient, atol=1e-9)
    np.testing.assert_allclose(model.multiplicative_score(x, 0.3), x * gradient, atol=1e-9)
    assert (model.sample(50, key=jax.random.key(0)) > 0).all()
    with refuses("x must be finite and positive"):
        model.score(-x, 0.3)


def test_metropolis_reaches_the_law():
    """Variance of a Gaussian from its score alone: five standard errors, and 2 % for Simpson."""
    points = 2.0 * jax.random.normal(jax.random.key(0), (500, 2))
    model = score.Gaussian().fit(points)
    n = 4000
    start = model.sample(n, 1.0, key=jax.random.key(1)) * 0.5
    chain = score.metropolis(model, start, sigma=1.0, step=2.5, steps=60, key=jax.random.key(2))
    covariance = (model.basis * model.eigenvalues[None]) @ model.basis.T + jnp.eye(2)
    ratio = jnp.var(chain.samples, axis=0) / jnp.diagonal(covariance)
    assert (jnp.abs(ratio - 1) < 5 * (2 / n) ** 0.5 + 0.02).all()
    assert 0.2 < chain.acceptance < 0.7


def test_bad_input_is_refused():
    points = clusters(50)
    with refuses("preconditioning must be one of"):
        score.train_denoiser(
            small(), points, key=jax.random.key(0), steps=2, preconditioning="none"
        )
    with refuses("network must map inputs"):
        score.train_denoiser(lambda x, t: x[:1], points, key=jax.random.key(0), steps=2)
    with refuses("validation must have at least 2 rows"):
        score.train_denoiser(
            small(), points, key=jax.random.key(0), steps=2, validation=jnp.ones((1, 3))
        )
    with refuses("gaussian must be a FittedGaussian of 3 columns"):
        score.train_denoiser(small(), points, key=jax.random.key(0), steps=2, gaussian=points)
    with refuses("validation must have 3 columns"):
        score.train_denoiser(
            small(), points, key=jax.random.key(0), steps=2, validation=jnp.ones((4, 2))
        )
    with refuses("points must be finite"):
        score.train_denoiser(small(), points * np.nan, key=jax.random.key(0), steps=2)
    with refuses("divisible by 4 for 3 widths"):
        score.UNet((1, 6, 6), widths=(4, 8, 8), key=jax.random.key(0))
