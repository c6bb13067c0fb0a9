"""The Gaussian copula against a plain-numpy version, its null mean, and closed forms."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from laws import LAWS
from scipy.special import digamma

from estimators import information


def by_hand(x, y):
    """Ranks by scipy, determinants and covariance by numpy, bias as the three entropies have."""
    n, dx, dy = len(x), x.shape[1], y.shape[1]
    z = scipy.stats.norm.ppf(scipy.stats.rankdata(np.hstack([x, y]), axis=0) / (n + 1))

    def entropy(columns):
        d = columns.shape[1]
        half = 0.5 * np.linalg.slogdet(np.cov(columns.T).reshape(d, d))[1]
        places = np.arange(1, d + 1)
        return half - 0.5 * (d * np.log(2 / (n - 1)) + digamma((n - places) / 2).sum())

    value = entropy(z[:, :dx]) + entropy(z[:, dx:]) - entropy(z)
    law = scipy.stats.multivariate_normal
    centred = z - z.mean(0)
    parts = [slice(None), slice(dx), slice(dx, None)]
    joint, of_x, of_y = (
        law(cov=np.atleast_2d(np.cov(z[:, part].T))).logpdf(centred[:, part]) for part in parts
    )
    return value, np.sqrt(np.var(joint - of_x - of_y) / n + dx * dy / (2 * n**2))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("n", "dx", "dy"), [(12, 1, 1), (60, 2, 3), (200, 5, 1)])
def test_against_scipy(n, dx, dy):
    rng = np.random.default_rng(n)
    x = rng.normal(size=(n, dx))
    y = x[:, :1] + rng.normal(size=(n, dy))
    value, error = by_hand(x, y)
    estimate = information.GaussianCopula().estimate(x, y)
    np.testing.assert_allclose(float(estimate.value), value, atol=1e-10)
    np.testing.assert_allclose(float(estimate.standard_error), error, rtol=1e-10)
    assert float(information.gaussian_copula(x, y)) == float(estimate.value)


@pytest.mark.thorough
@pytest.mark.parametrize(("n", "dx", "dy"), [(30, 1, 1), (30, 5, 5), (100, 2, 3), (1000, 5, 5)])
def test_mean_under_independence_is_zero(n, dx, dy):
    # Within 4 Monte Carlo standard errors: false alarm 6e-5 a case. Without the correction the
    # mean would be about dx dy / (2 n), which is 7 to 70 of them.
    replicates = 1000

    def one(key):
        z = jax.random.normal(key, (n, dx + dy))
        return information.gaussian_copula(z[:, :dx], z[:, dx:])

    keys = jax.random.split(jax.random.key(5), replicates)
    values = np.asarray(jax.jit(lambda keys: jax.lax.map(one, keys, batch_size=50))(keys))
    error = values.std() / np.sqrt(replicates)
    assert dx * dy / (2 * n) > 7 * error
    assert abs(values.mean()) < 4 * error


@pytest.mark.parametrize(("name", "truth"), [
    ("normal 1x1, rho = 0.75", 0.4133), ("normal 3x3, rho = 0.5", 0.4315),
    ("mixture of rho = +-0.9", 0.0),
])  # fmt: skip
def test_information_of_the_gaussian_copula(name, truth):
    # Mean of 40 data sets of 2000, 5 Monte Carlo standard errors and 1 % for the scores' ends.
    _, sample = LAWS[name]
    keys = jax.random.split(jax.random.key(1), 40)
    values = jax.lax.map(lambda key: information.gaussian_copula(*sample(key, 2000)), keys)
    assert abs(values.mean() - truth) < 0.01 * truth + 5 * values.std() / np.sqrt(40)


def test_ranks_only():
    x, y = jax.random.normal(jax.random.key(0), (2, 100, 2))
    chex.assert_trees_all_equal(
        information.GaussianCopula().estimate(x, y),
        information.GaussianCopula().estimate(jnp.exp(x), y**3),
    )


def test_vmap_agrees_with_a_loop():
    x, y = jax.random.normal(jax.random.key(0), (2, 4, 60, 2))
    batch = jax.jit(jax.vmap(information.gaussian_copula))(x, y)
    loop = jnp.stack([information.gaussian_copula(a, b) for a, b in zip(x, y, strict=True)])
    chex.assert_trees_all_close(batch, loop, atol=1e-5)
