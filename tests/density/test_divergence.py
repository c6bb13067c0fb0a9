"""Entropies and divergences of single kernels in closed form, and the standard error of all."""

import jax
import jax.numpy as jnp
import numpy as np
from kernels import mixture

from estimators import density
from estimators.testing import refuses

KEY = jax.random.key(0)


def normal(mean, covariance):
    """A Gaussian law as the estimate of one point."""
    return density.KDE(jnp.asarray(covariance)).fit(jnp.asarray(mean)[None])


def test_single_kernels_in_closed_form(x64):
    """Within 4 standard errors, three statements: false alarm 2e-4."""
    p = normal([0.0, 1.0], [[1.0, 0.3], [0.3, 2.0]])
    q = normal([1.0, 1.0], [[2.0, 0.0], [0.0, 1.0]])
    sp, sq = np.asarray(p.bandwidth), np.asarray(q.bandwidth)
    entropy = 0.5 * np.log(np.linalg.det(2 * np.pi * np.e * sp))
    gap = np.array([1.0, 0.0])
    trace = np.trace(np.linalg.solve(sq, sp)) + gap @ np.linalg.solve(sq, gap) - 2
    divergence = 0.5 * (trace + np.log(np.linalg.det(sq) / np.linalg.det(sp)))
    for result, truth in (
        (density.entropy(p, key=KEY), entropy),
        (density.cross_entropy(p, q, key=KEY), entropy + divergence),
        (density.divergence(p, q, key=KEY), divergence),
    ):
        assert abs(result.value - truth) < 4 * result.standard_error
        assert result.standard_error < 0.03
        assert result.samples == 4096


def test_entropy_of_one_column_equals_the_integral(x64):
    """Within 4 standard errors: false alarm 6e-5."""
    fitted, *_ = mixture(d=1)
    grid = np.linspace(-20.0, 40.0, 6001)
    log_density = fitted.log_density(grid[:, None])
    truth = -np.sum(np.exp(log_density) * log_density) * (grid[1] - grid[0])
    result = density.entropy(fitted, key=KEY, samples=20_000)
    assert abs(result.value - truth) < 4 * result.standard_error


def test_standard_errors_are_those_of_replication():
    """400 keys: the spread of the values is the reported error to 4 of its own errors, 3.5 %.

    False alarm 1e-4 for each of the two.
    """
    p, *_ = mixture(d=2, dtype=np.float32)
    q, *_ = mixture(d=2, n=20, dtype=np.float32)
    keys = jax.random.split(KEY, 400)
    for call in (
        lambda key: density.entropy(p, key=key, samples=200),
        lambda key: density.divergence(p, q, key=key, samples=200),
    ):
        results = jax.vmap(call)(keys)
        ratio = jnp.std(results.value, ddof=1) / jnp.sqrt(jnp.mean(results.standard_error**2))
        assert abs(ratio - 1) < 4 / np.sqrt(2 * 399)


def test_pairing_makes_the_error_of_a_small_divergence_small(x64):
    """Both densities at the same draws: the error is that of their log ratio."""
    points = np.random.default_rng(0).normal(size=(200, 2))
    p, q = density.KDE(0.4).fit(points), density.KDE(0.41).fit(points)
    together = density.divergence(p, q, key=KEY)
    apart = density.entropy(p, key=KEY)
    assert together.standard_error < apart.standard_error / 20
    assert density.divergence(p, p, key=KEY).value == 0


def test_dtype_and_jit(x64):
    for dtype in (np.float32, np.float64):
        fitted, *_ = mixture(d=1, dtype=dtype)
        eager = density.entropy(fitted, key=KEY, samples=50)
        jitted = jax.jit(lambda f: density.entropy(f, key=KEY, samples=50))(fitted)
        assert eager.value.dtype == eager.standard_error.dtype == dtype
        np.testing.assert_allclose(jitted.value, eager.value, rtol=1e-6)


def test_interval():
    result = density.entropy(normal([0.0], [[1.0]]), key=KEY)
    lower, upper = result.interval(0.95)
    np.testing.assert_allclose(upper - lower, 2 * 1.96 * result.standard_error, rtol=1e-3)
    np.testing.assert_allclose((upper + lower) / 2, result.value, rtol=1e-6)
    with refuses("coverage must lie strictly between 0 and 1"):
        result.interval(1.0)


def test_the_bandwidths_derivative_is_unbiased(x64):
    """One kernel: the entropy is log h and a constant, so the derivative is 1/h exactly."""

    def entropy(h):
        return density.entropy(density.KDE(h).fit(np.zeros((1, 1))), key=KEY).value

    np.testing.assert_allclose(jax.grad(entropy)(0.5), 2.0, rtol=1e-10)


def test_refusals():
    p, q = normal([0.0], [[1.0]]), normal([0.0, 0.0], np.eye(2))
    with refuses("q must have as many columns as p; got 2 against 1"):
        density.cross_entropy(p, q, key=KEY)
    with refuses("q must have as many columns as p"):
        density.divergence(p, q, key=KEY)
    with refuses("samples must be a whole number >= 2; got 1"):
        density.entropy(p, key=KEY, samples=1)
    with refuses("key must be a new-style key"):
        density.entropy(p, key=0)


def test_a_fit_that_failed_gives_nan():
    def value(points):
        return density.entropy(density.KDE("scott").fit(points), key=KEY, samples=10)

    result = jax.jit(value)(jnp.ones((5, 2)))
    assert jnp.isnan(result.value)
    assert jnp.isnan(result.standard_error)
