"""The kernel plug-in against scipy's densities, one row left out at a time, and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from jax.test_util import check_grads
from laws import LAWS

from estimators import information
from estimators.testing import refuses


def by_hand(x, y, scale, weights=None):
    """Normal densities of every other row, with the weighted covariance of all rows."""
    both = np.hstack([x, y])
    n, d = both.shape
    h = scale * (4 / ((d + 2) * n)) ** (1 / (d + 4))
    weights = np.full(n, 1 / n) if weights is None else weights / weights.sum()

    def log_density(columns, i):
        covariance = h**2 * np.atleast_2d(np.cov(columns.T, aweights=weights))
        kernels = scipy.stats.multivariate_normal(cov=covariance)
        others = np.arange(n) != i
        return np.log(
            np.average(kernels.pdf(columns[others] - columns[i]), weights=weights[others])
        )

    return sum(
        weights[i] * (log_density(both, i) - log_density(x, i) - log_density(y, i))
        for i in range(n)
    )


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("n", "dx", "dy", "scale"), [(20, 1, 1, 1.0), (30, 2, 1, 1.5)])
def test_against_scipy(n, dx, dy, scale):
    rng = np.random.default_rng(n)
    x = rng.normal(size=(n, dx))
    y = x[:, :1] ** 2 + rng.normal(size=(n, dy))
    value = by_hand(x, y, scale)
    estimate = information.KernelDensityPlugIn(scale).estimate(x, y)
    np.testing.assert_allclose(float(estimate.value), value, atol=1e-10)
    kernel = information.kernel_density_plug_in(x, y, bandwidth_scale=scale)
    np.testing.assert_allclose(float(kernel), value, atol=1e-10)
    # The influence of a row, by a difference: a little more weight for it.
    step = 1e-5
    influence = [(by_hand(x, y, scale, 1 + step * row) - value) * n / step for row in np.eye(n)]
    expected = np.sqrt(np.mean(np.square(influence)) / n)
    np.testing.assert_allclose(float(estimate.standard_error), expected, rtol=1e-4)


def test_blocks_change_nothing():
    # More rows than a block of the streaming sum.
    x, noise = jax.random.normal(jax.random.key(0), (2, 1100, 1))
    y = x + noise
    value = by_hand(np.asarray(x, float), np.asarray(y, float), 1.0)
    assert float(information.kernel_density_plug_in(x, y)) == pytest.approx(value, abs=1e-4)


@pytest.mark.parametrize(("name", "slack"), [
    ("normal 1x1, rho = 0", 0.02), ("normal 1x1, rho = 0.5", 0.02), ("normal 1x1, rho = 0.9", 0.03),
])  # fmt: skip
def test_normal_laws(name, slack):
    # Mean of 10 data sets of 2000 rows: kernels shaped like the law do not smooth it away. The
    # slack is for the densities' variance; product kernels would be 0.2 too low at rho = 0.9.
    truth, sample = LAWS[name]
    keys = jax.random.split(jax.random.key(0), 10)
    values = jax.lax.map(lambda key: information.kernel_density_plug_in(*sample(key, 2000)), keys)
    assert abs(float(values.mean()) - truth) < slack + 5 * float(values.std()) / np.sqrt(10)


@pytest.mark.usefixtures("x64")
def test_gradients():
    x, noise = jax.random.normal(jax.random.key(0), (2, 25, 2))

    def of(x, y, h):
        return information.kernel_density_plug_in(x, y, bandwidth_scale=h)

    check_grads(of, (x, x + noise, 1.2), order=1, atol=1e-5, rtol=1e-5)


@pytest.mark.thorough
def test_bandwidth_is_a_leaf():
    x, noise = jax.random.normal(jax.random.key(0), (2, 60, 1))
    scales = jnp.array([0.5, 1.0, 2.0])

    def of(h):
        return information.KernelDensityPlugIn(h).estimate(x, x + noise).value

    np.testing.assert_allclose(jax.vmap(of)(scales), [of(h) for h in scales], atol=1e-5)
    assert np.isnan(jax.jit(of)(-1.0))


def test_refusals():
    x = jax.random.normal(jax.random.key(0), (30, 1))
    with refuses("bandwidth_scale must be finite and positive"):
        information.KernelDensityPlugIn(0.0)
    with refuses("collinear"):
        information.kernel_density_plug_in(x, 2 * x)
