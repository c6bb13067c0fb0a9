"""Highest density regions of laws whose level is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from kernels import mixture
from scipy import stats

from estimators import density
from estimators.testing import refuses

KEY = jax.random.key(0)


def normal_level(d, coverage):
    """Log density on the boundary of the ball that holds `coverage` of a standard normal."""
    return -0.5 * (d * np.log(2 * np.pi) + stats.chi2(d).ppf(coverage))


def test_level_of_a_normal_law(x64):
    """Within 4 standard errors, six statements: false alarm 4e-4."""
    for d in (1, 3):
        fitted = density.KDE(1.0).fit(np.zeros((1, d)))
        for coverage in (0.5, 0.9, 0.99):
            region = density.highest_density_region(fitted, coverage, key=KEY)
            error = region.standard_error
            assert abs(region.log_level - normal_level(d, coverage)) < 4 * error
            assert error < 0.2
            assert region.samples == 4096


@pytest.mark.thorough
def test_mass_and_error_over_replications():
    """500 keys. The mean mass is the coverage within 4 errors; the spread of the level is the
    reported error within 10 % (its own error is 3.2 %, that of the reported mean below 2 %).
    """
    fitted, *_ = mixture(d=2, dtype=np.float32)
    fresh = fitted.log_density(fitted.sample(200_000, key=jax.random.key(1)))
    regions = jax.vmap(
        lambda key: density.highest_density_region(fitted, 0.8, key=key, samples=500)
    )(jax.random.split(KEY, 500))
    mass = jnp.mean(fresh[None] >= regions.log_level[:, None], 1)
    assert abs(mass.mean() - 0.8) < 4 * np.sqrt(0.16 * (1 / 500 / 500 + 1 / 200_000))
    np.testing.assert_allclose(mass.std(), np.sqrt(0.16 / 500), rtol=0.13)
    reported = jnp.sqrt(jnp.mean(regions.standard_error**2))
    np.testing.assert_allclose(reported, regions.log_level.std(), rtol=0.1)


def test_it_is_the_smallest_region(x64):
    """Two clusters: the region is two intervals, shorter than the one between quantiles."""
    points = np.concatenate([np.full(30, -5.0), np.full(30, 5.0)])[:, None]
    fitted = density.KDE(1.0).fit(points)
    region = density.highest_density_region(fitted, 0.9, key=KEY, samples=20_000)
    grid = np.linspace(-12.0, 12.0, 2401)[:, None]
    inside = np.asarray(region.contains(grid))
    assert np.diff(inside.astype(int)).tolist().count(1) == 2
    # Each interval is that of a normal law alone, 2 * 1.645 long.
    np.testing.assert_allclose(inside.sum() * 0.01, 4 * stats.norm.ppf(0.95), rtol=0.02)
    assert region.contains(grid.reshape(7, 343, 1)).shape == (7, 343)


def test_coverage_may_be_swept_and_the_level_differentiated(x64):
    fitted = density.KDE(1.0).fit(np.zeros((1, 2)))
    levels = jax.vmap(
        lambda c: density.highest_density_region(fitted, c, key=KEY, samples=500).log_level
    )(jnp.array([0.5, 0.9]))
    one = density.highest_density_region(fitted, 0.9, key=KEY, samples=500).log_level
    assert levels[1] == one < levels[0]

    def level(h):
        fitted = density.KDE(h).fit(np.zeros((1, 2)))
        return density.highest_density_region(fitted, 0.9, key=KEY, samples=500).log_level

    np.testing.assert_allclose(jax.grad(level)(0.5), -4.0, rtol=1e-10)  # -d / h


def test_dtype(x64):
    for dtype in (np.float32, np.float64):
        fitted, *_ = mixture(d=1, dtype=dtype)
        region = density.highest_density_region(fitted, 0.9, key=KEY, samples=50)
        assert region.log_level.dtype == region.standard_error.dtype == dtype


def test_refusals_and_nan():
    fitted = density.KDE(1.0).fit(np.zeros((1, 2), np.float32))
    with refuses("coverage must lie strictly between 0 and 1; got 1"):
        density.highest_density_region(fitted, 1.0, key=KEY)
    with refuses("samples must be at least 999 for coverage 0.999"):
        density.highest_density_region(fitted, 0.999, key=KEY, samples=500)
    with refuses("key must be a new-style key"):
        density.highest_density_region(fitted, 0.9, key=None)
    region = density.highest_density_region(fitted, 0.9, key=KEY)
    with refuses(r"shape \(\*batch, 2\)"):
        region.contains(np.zeros(3, np.float32))

    def value(points, coverage):
        fitted = density.KDE("scott").fit(points)
        return density.highest_density_region(fitted, coverage, key=KEY, samples=100).log_level

    assert jnp.isnan(jax.jit(value)(jnp.ones((5, 2)), 0.9))
    assert jnp.isnan(jax.jit(value)(jnp.array([[0.0], [1.0]]), 1.5))
