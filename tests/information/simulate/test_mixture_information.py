"""The information of mixtures against quadrature, and whether its standard error is honest."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats

from estimators.data._mixture import MixtureTruth
from estimators.information import simulate
from estimators.information.simulate._bend_and_mix import concentric, crossed, letters
from estimators.information.simulate._simulator import _information

pytestmark = pytest.mark.thorough


@pytest.mark.parametrize(("law", "grid"), [(crossed(), 1200), (letters(), 1600)])
def test_one_by_one_against_the_trapezoidal_rule(law, grid):
    # 4 standard errors and 2e-6 for float32: false alarm about 1e-3 each, 15 degrees of freedom.
    truth = MixtureTruth(*(np.asarray(a, float) for a in (law.weights, law.means)),
                         np.asarray(law.covariances, float))  # fmt: skip
    value, error = _information(law)
    assert error < 5e-5
    assert abs(value - truth.mutual_information(0, 1, grid=grid)) < 4 * error + 2e-6


@pytest.mark.parametrize("d", [3, 5])
def test_concentric_against_radial_quadrature(d):
    # y is a label: what x tells of it depends on the radius alone, one integral.
    radius = np.arange(1.0, 6.0)

    def log_density(r):
        logs = -0.5 * (r / radius) ** 2 - d * np.log(radius) - d / 2 * np.log(2 * np.pi)
        return scipy.special.logsumexp(logs) - np.log(5)

    def integrand(r):
        surface = 2 * np.pi ** (d / 2) / scipy.special.gamma(d / 2) * r ** (d - 1)
        return -surface * np.exp(log_density(r)) * log_density(r)

    entropy = scipy.integrate.quad(integrand, 0, 60, limit=400)[0]
    truth = entropy - np.mean(d / 2 * np.log(2 * np.pi * np.e * radius**2))
    value, error = _information(concentric(d))
    assert error < 5e-5
    assert abs(value - truth) < 4 * error + 2e-6


def test_one_component_is_normal():
    covariance = simulate.dense_correlation(2, 2, correlation=0.6)
    law = simulate.Mixture(jnp.ones(1), jnp.ones((1, 4)), covariance[None], dx=2, draws=1 << 15)
    truth = simulate.Normal(covariance, dx=2).mutual_information
    assert abs(law.mutual_information - truth) < 4 * law.standard_error + 1e-6


def test_the_standard_error_is_honest():
    # 64 random mixtures at 2^10 points against 2^16. Errors in units of their standard error
    # have a mean square of 15/13; the points are the same, so the bounds are wide: a factor 2.
    def draw(key, draws):
        of_means, of_factors = jax.random.split(key)
        factors = jax.random.normal(of_factors, (3, 3, 3)) / 2
        covariances = factors @ jnp.swapaxes(factors, 1, 2) + 0.2 * jnp.eye(3)[None]
        means = 1.5 * jax.random.normal(of_means, (3, 3))
        return simulate.Mixture(jnp.ones(3), means, covariances, dx=1, draws=draws)

    keys = jax.random.split(jax.random.key(0), 64)
    few, many = (
        jax.jit(jax.vmap(lambda key, draws=draws: _information(draw(key, draws))))(keys)
        for draws in (1 << 10, 1 << 16)
    )
    assert (many.standard_error < few.standard_error / 8).all()  # random points: exactly 8
    units = np.asarray((few.value - many.value) / few.standard_error)
    assert 0.5 < np.sqrt(np.mean(units**2)) < 2
