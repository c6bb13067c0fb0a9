"""Distribution, survival and quantiles against mixtures of scipy's normal."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from kernels import mixture
from scipy import optimize, stats

from estimators import density
from estimators.testing import refuses


def fit(n=1500, dtype=np.float64, bandwidth=0.3):
    """Two clusters far apart, weighted; more points than one block."""
    generator = np.random.default_rng(0)
    points = np.concatenate([generator.normal(-50, 1, n // 2), generator.normal(30, 2, n // 2)])
    weights = generator.uniform(size=points.size)
    fitted = density.KDE(bandwidth).fit(points[:, None].astype(dtype), weights.astype(dtype))
    return fitted, points, weights / weights.sum()


def below(x, points, weights, bandwidth=0.3):
    return stats.norm(points, bandwidth).cdf(np.asarray(x)[..., None]) @ weights


def above(x, points, weights, bandwidth=0.3):
    return stats.norm(points, bandwidth).sf(np.asarray(x)[..., None]) @ weights


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-11), (np.float32, 2e-4)])
def test_both_tails_equal_scipy(x64, dtype, tolerance):
    """Relative to the tail itself: in float32 the query is a few 1e-6 bandwidths uncertain."""
    fitted, points, weights = fit(dtype=dtype)
    points = points.astype(dtype).astype(float)
    x = np.array([[-56.0, -53.0], [-50.0, 0.0], [31.0, 39.0]])
    lower = density.cumulative_distribution(fitted, x[..., None].astype(dtype))
    upper = density.survival(fitted, x[..., None].astype(dtype))
    assert lower.shape == x.shape
    assert lower.dtype == upper.dtype == dtype
    np.testing.assert_allclose(lower, below(x, points, weights), rtol=tolerance)
    np.testing.assert_allclose(upper, above(x, points, weights), rtol=tolerance)


LEVELS = np.array([1e-30, 1e-12, 1e-3, 0.2, 0.4999, 0.5001, 0.9, 0.999, 1 - 1e-12])


def test_quantiles_equal_a_root_of_scipys_mixture(x64):
    fitted, points, weights = fit()
    got = density.quantile(fitted, LEVELS.reshape(3, 3))
    assert got.shape == (3, 3)
    for level, value in zip(LEVELS, np.ravel(got), strict=True):
        if level < 0.5:
            expected = optimize.brentq(
                lambda x, p=level: np.log(below(x, points, weights) / p), -60, 60, xtol=1e-13
            )
        else:
            expected = optimize.brentq(
                lambda x, p=level: np.log(above(x, points, weights) / (1 - p)), -60, 45, xtol=1e-13
            )
        np.testing.assert_allclose(value, expected, rtol=0, atol=1e-11)


def test_unequal_widths_and_a_kernel_of_no_weight(x64):
    fitted, centres, width, weights, kernel = mixture(d=1)
    spread = np.sqrt(kernel[0, 0]) * width
    x = np.linspace(4.0, 16.0, 7)
    expected = stats.norm(centres[:, 0], spread).cdf(x[:, None]) @ weights
    np.testing.assert_allclose(
        density.cumulative_distribution(fitted, x[:, None]), expected, rtol=1e-12
    )
    np.testing.assert_allclose(density.quantile(fitted, expected), x, rtol=1e-12)
    points = np.array([[0.0], [1.0], [1e9]])
    alone = density.KDE(0.5).fit(points, np.array([1.0, 1.0, 0.0]))
    np.testing.assert_allclose(density.quantile(alone, np.array(0.5)), 0.5, atol=1e-12)


def test_quantile_in_float32_has_its_probability():
    """The probability of what comes back is the level to a few roundings."""
    fitted, *_ = fit(dtype=np.float32)
    levels = np.float32([1e-30, 1e-6, 0.01, 0.3, 0.7, 0.99])
    value = density.quantile(fitted, levels)
    assert value.dtype == jnp.float32
    slope = jnp.exp(fitted.log_density(value[:, None]))
    rounding = 4 * 1.2e-7 * jnp.abs(value) * slope
    got = density.cumulative_distribution(fitted, value[:, None])
    assert (jnp.abs(got - levels) < rounding + 4e-6 * levels).all()


def test_a_level_in_a_gap_ends_in_the_gap(x64):
    """Half of the mass lies on each side, to the last digit: the density there is 0."""
    fitted = density.KDE(0.1).fit(np.array([[-100.0], [100.0]]))
    value = density.quantile(fitted, np.array(0.5))
    assert -100 < value < 100
    assert density.cumulative_distribution(fitted, value[None]) == 0.5


@pytest.mark.thorough
def test_derivatives_of_the_distribution(x64):
    fitted, *_ = fit(n=60)
    at = jnp.array([-51.0])
    slope = jax.grad(lambda x: density.cumulative_distribution(fitted, x))(at)[0]
    np.testing.assert_allclose(slope, jnp.exp(fitted.log_density(at)), rtol=1e-12)
    points = np.random.default_rng(1).normal(size=(20, 1))

    def of_data(points, h):
        return density.survival(density.KDE(h).fit(points), jnp.array([0.3]))

    check_grads(of_data, (points, 0.4), order=1, atol=1e-6, rtol=1e-6)


@pytest.mark.thorough
def test_quantile_has_the_implicit_derivative(x64):
    """In the level, the points and the bandwidth; of first and second order."""
    points = np.random.default_rng(1).normal(size=(12, 1))

    def value(level, points, h):
        return density.quantile(density.KDE(h).fit(points), level)

    for level in (0.2, 0.9):
        check_grads(
            value, (jnp.asarray(level), points, 0.4), order=2, atol=1e-4, rtol=1e-4, eps=1e-5
        )
    fitted = density.KDE(0.4).fit(points)
    level = jnp.asarray(0.3)
    at = density.quantile(fitted, level)
    slope = jax.grad(lambda p: density.quantile(fitted, p))(level)
    np.testing.assert_allclose(slope, jnp.exp(-fitted.log_density(at[None])), rtol=1e-12)


def test_refusals():
    fitted = density.KDE(0.5).fit(np.ones((2, 3), np.float32))
    for call in (density.cumulative_distribution, density.survival, density.quantile):
        with refuses(r"fitted must be an estimate of one column; it has 3.*density\.marginal"):
            call(fitted, np.zeros(1, np.float32))
    flat = dataclasses.replace(density.marginal(fitted, [0]), kernel=density.TopHat())
    with refuses("fitted must have a Gaussian kernel.*got TopHat"):
        density.quantile(flat, np.float32(0.5))
    one = density.marginal(fitted, [0])
    for bad in (0.0, 1.0, -0.1):
        with refuses(f"levels must lie strictly between 0 and 1; got {bad}"):
            density.quantile(one, np.float32(bad))
        assert jnp.isnan(jax.jit(density.quantile)(one, jnp.float32(bad)))
    with refuses(r"levels must be finite"):
        density.quantile(one, np.float32([0.5, np.nan]))
    with refuses(r"shape \(\*batch, 1\).*write x\[..., None\]"):
        density.cumulative_distribution(one, np.zeros(3, np.float32))


@pytest.mark.parametrize("level", [1 - 1e-10, 1e-50])
def test_levels_that_a_float32_fit_rounds_to_an_end_are_refused(x64, level):
    fitted = density.KDE(0.5).fit(np.ones((2, 1), np.float32))
    with refuses("levels must lie strictly between 0 and 1; got .* .in float32"):
        density.quantile(fitted, np.array([0.5, level]))


def test_a_fit_that_failed_gives_nan():
    def value(points):
        fitted = density.KDE("scott").fit(points)
        return (
            density.quantile(fitted, jnp.array([0.1, 0.9])),
            density.survival(fitted, jnp.zeros((2, 1))),
        )

    for bad in (jnp.ones((5, 1)), jnp.array([[0.0], [jnp.nan], [1.0], [2.0], [3.0]])):
        assert all(jnp.isnan(part).all() for part in jax.jit(value)(bad))
