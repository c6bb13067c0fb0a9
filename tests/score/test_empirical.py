"""The empirical score against the kernel density of the same bandwidth, and plain sums."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from estimators import density, score


def draw(n=300, d=3):
    return np.random.default_rng(0).normal(size=(n, d)) + 5


@pytest.mark.parametrize("sigma", [0.2, 1.0, 20.0])
def test_it_is_the_kernel_density_of_that_bandwidth(x64, sigma):
    points, x = draw(), draw()[:20] + 0.1
    fitted = score.Empirical().fit(points)
    kernel = density.KDE(sigma).fit(points)
    np.testing.assert_allclose(fitted.log_density(x, sigma), kernel.log_density(x), atol=1e-10)
    np.testing.assert_allclose(fitted.score(x, sigma), kernel.score(x), atol=1e-9)


def test_denoise_is_the_weighted_mean_with_a_noise_for_each_row(x64):
    points, x = draw(), draw()[:6] + 0.1
    weights = np.random.default_rng(1).uniform(size=300)
    sigma = np.linspace(0.1, 3, 6)
    logits = -((x[:, None] - points[None]) ** 2).sum(-1) / (2 * sigma[:, None] ** 2)
    kernel = weights * np.exp(logits - logits.max(-1, keepdims=True))
    kernel /= kernel.sum(-1, keepdims=True)
    fitted = score.Empirical().fit(points, weights)
    np.testing.assert_allclose(fitted.denoise(x, sigma), kernel @ points, atol=1e-11)
    got = fitted.participation_ratio(x, sigma)
    np.testing.assert_allclose(got, (kernel**2).sum(-1), rtol=1e-10)
    gradient = jax.grad(lambda x: fitted.log_density(x, sigma).sum())(jnp.asarray(x))
    np.testing.assert_allclose(fitted.score(x, sigma), gradient, atol=1e-10)


def test_samples_are_points_plus_noise():
    points = draw().astype(np.float32)
    fitted = score.Empirical().fit(points)
    drawn = np.asarray(fitted.sample(50, key=jax.random.key(0)))
    nearest = np.min(((drawn[:, None] - points[None]) ** 2).sum(-1), -1)
    assert (nearest < 1e-10).all()
    noised = np.asarray(fitted.sample(20_000, 3.0, key=jax.random.key(0)))
    expected = points.var(0) + 9
    # The variance of a sum of normals: four standard errors, 6e-5 a number.
    assert (abs(noised.var(0) / expected - 1) < 4 * (2 / 20_000) ** 0.5).all()
