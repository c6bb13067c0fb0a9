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


def direct(points, x, sigma):
    """Log density, kernel weights and score in float64, of arrays as float32 has them."""
    points, x = np.asarray(points, float), np.asarray(x, float)
    logits = -((x[:, None] - points[None]) ** 2).sum(-1) / (2 * sigma**2)
    top = logits.max(-1, keepdims=True)
    kernel = np.exp(logits - top)
    d = points.shape[1]
    value = top[:, 0] + np.log(kernel.mean(-1)) - d * np.log(sigma * np.sqrt(2 * np.pi))
    weights = kernel / kernel.sum(-1, keepdims=True)
    return value, weights, (weights @ points - x) / sigma**2


@pytest.mark.parametrize("sigma", [2e-3, 1e-4])
def test_noise_below_the_rounding_of_products(sigma):
    """In float32, a noise away from rows: to the rounding of the coordinates, as in `KDE`."""
    generator = np.random.default_rng(1)
    points = generator.normal(size=(500, 3)).astype(np.float32)
    points[250:] = points[:250] + sigma * generator.normal(size=(250, 3)).astype(np.float32)
    x = (points[:40] + sigma * generator.normal(size=(40, 3))).astype(np.float32)
    fitted = score.Empirical().fit(points)
    bound = 4 * np.finfo(np.float32).eps * 5 / sigma
    value, weights, slope = direct(points, x, sigma)
    np.testing.assert_allclose(fitted.log_density(x, sigma), value, atol=bound)
    np.testing.assert_allclose(fitted.score(x, sigma) * sigma, slope * sigma, atol=2 * bound)
    ratio = (weights**2).sum(-1)
    assert 0.5 < ratio.min() < 0.6
    np.testing.assert_allclose(fitted.participation_ratio(x, sigma), ratio, atol=bound)
    step = 1e-5
    rise = direct(points, x, sigma * (1 + step))[0] - direct(points, x, sigma * (1 - step))[0]

    def total(sigma):
        return jnp.sum(fitted.log_density(x, sigma))

    got = jax.jit(jax.grad(total))(jnp.float32(sigma))
    np.testing.assert_allclose(got * sigma, rise.sum() / (2 * step), atol=40 * bound)


def test_derivatives_by_differences_are_those_by_products(x64):
    """Noise at which the float64 score is of differences, against autodiff and closed forms."""
    points = draw(30) * 1e-4
    points[-1] += 1
    x, sigma = points[:4] + 1e-4, np.array([1e-4, 2e-4, 1e-4, 3e-4])
    fitted = score.Empirical().fit(points)
    _, weights, _ = zip(*(direct(points, x[i : i + 1], sigma[i]) for i in range(4)), strict=True)
    weights = np.concatenate(weights)
    mean = weights @ points
    apart = points[None] - mean[:, None]
    covariance = np.einsum("mn,mni,mnj->mij", weights, apart, apart)
    # The Jacobian of the denoiser is the posterior covariance over the variance of the noise.
    expected = covariance / sigma[:, None, None] ** 2
    for way in (jax.jacfwd, jax.jacrev):
        got = jax.vmap(way(fitted.denoise))(jnp.asarray(x), jnp.asarray(sigma))
        np.testing.assert_allclose(got, expected, atol=1e-7)


def test_a_zero_weight_leaves_the_gradient_in_the_others():
    points = jnp.asarray(draw(5), jnp.float32)
    weights = jnp.array([1.0, 2.0, 0.0, 1.0, 1.0])

    def value(weights, rows):
        return score.Empirical().fit(points[rows], weights).log_density(points[0] + 0.1, 1.0)

    kept = jnp.array([0, 1, 3, 4])
    got = jax.grad(value)(weights, jnp.arange(5))
    expected = jax.grad(value)(weights[kept], kept)
    np.testing.assert_allclose(got[kept], expected, rtol=1e-4, atol=1e-6)


def test_what_is_refused_outside_jit_is_nan_inside():
    points = jnp.asarray(draw(20), jnp.float32)

    @jax.jit
    def value(weight, sigma):
        fitted = score.Empirical().fit(points, jnp.ones(20).at[3].set(weight))
        drawn = fitted.sample(2, sigma, key=jax.random.key(0))
        return fitted.log_density(points[0], 1.0), drawn

    assert all(jnp.isnan(a).all() for a in value(-1.0, 1.0))
    density, drawn = value(1.0, -1.0)
    assert jnp.isfinite(density)
    assert jnp.isnan(drawn).all()
