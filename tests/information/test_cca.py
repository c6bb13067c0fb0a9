"""Canonical correlation against numpy and scikit-learn, its null mean, and its invariances."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import digamma
from sklearn.cross_decomposition import CCA

from estimators import information
from estimators.testing import refuses


def by_hand(x, y):
    """Canonical correlations from two orthonormal bases; the bias from the Wishart law."""
    n, dx, dy = len(x), x.shape[1], y.shape[1]
    of_x, of_y = (np.linalg.qr(a - a.mean(0))[0] for a in (x, y))
    r = np.linalg.svd(of_x.T @ of_y, compute_uv=False)
    i = np.arange(1, dy + 1)
    bias = (digamma((n - i) / 2) - digamma((n - dx - i) / 2)).sum() / 2
    return r, -0.5 * np.log1p(-(r**2)).sum(), bias


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("n", "dx", "dy"), [(12, 1, 1), (60, 2, 3), (200, 5, 1)])
def test_against_numpy(n, dx, dy):
    rng = np.random.default_rng(n)
    x = rng.gamma(2, size=(n, dx))
    y = x[:, :1] + rng.normal(size=(n, dy))
    r, value, bias = by_hand(x, y)
    np.testing.assert_allclose(information.canonical_correlations(x, y), r, atol=1e-12)
    plain = information.CanonicalCorrelation(bias_correction=False).estimate(x, y)
    np.testing.assert_allclose(float(plain.value), value, atol=1e-12)
    corrected = information.CanonicalCorrelation().estimate(x, y)
    np.testing.assert_allclose(float(corrected.value), value - bias, atol=1e-12)


def test_against_scikit_learn():
    x, noise = jax.random.normal(jax.random.key(0), (2, 300, 2))
    y = x @ jnp.array([[1.0, 0.5], [0.0, 0.3]]) + noise
    ours = information.canonical_correlations(x, y)
    first, second = CCA(2, max_iter=5000, tol=1e-10).fit_transform(x, y)
    theirs = [np.corrcoef(first[:, i], second[:, i])[0, 1] for i in (0, 1)]
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def moments(law, n, replicates=1000):
    def one(key):
        estimate = information.CanonicalCorrelation().estimate(*law(key, n))
        return estimate.value, estimate.standard_error

    keys = jax.random.split(jax.random.key(5), replicates)
    return tuple(map(np.asarray, jax.jit(lambda k: jax.lax.map(one, k, batch_size=50))(keys)))


def gaussian(rho, dx, dy):
    def law(key, n):
        z = jax.random.normal(key, (n, dx + dy))
        x, noise = z[:, :dx], z[:, dx:]
        return x, rho * x[:, :1] + np.sqrt(1 - rho**2) * noise

    return law


@pytest.mark.parametrize(("rho", "n", "dx", "dy"), [
    (0.0, 30, 1, 1), (0.0, 30, 4, 4), (0.8, 20, 3, 1),
])  # fmt: skip
def test_unbiased_for_gaussian_rows(rho, n, dx, dy):
    # Within 4 Monte Carlo standard errors: false alarm 6e-5 a case. Without the correction the
    # mean would be at least 6 of them away.
    values, _ = moments(gaussian(rho, dx, dy), n)
    error = values.std() / np.sqrt(len(values))
    assert dx * dy / (2 * n) > 6 * error
    assert abs(values.mean() + 0.5 * np.log(1 - rho**2)) < 4 * error


def test_the_standard_error_holds_for_laws_that_are_not_gaussian():
    # A scale shared by x and y has the canonical correlation of a Gaussian pair and a larger
    # variance. The sample standard deviation of 1000 is within 10 % of the true one but for a
    # chance of 1e-5; the formula of Gaussian rows, rho / sqrt(n), would be 40 % too small.
    def law(key, n):
        of_rows, of_scale = jax.random.split(key)
        x, y = gaussian(0.6, 1, 1)(of_rows, n)
        scale = jnp.exp(0.5 * jax.random.normal(of_scale, (n, 1)))
        return x * scale, y * scale

    values, errors = moments(law, 1000)
    ratio = np.sqrt(np.mean(errors**2)) / values.std()
    assert 0.88 < ratio < 1.12
    assert 0.6 / np.sqrt(1000) < 0.7 * values.std()


def test_linear_maps_change_nothing():
    x, y = jax.random.normal(jax.random.key(0), (2, 100, 3))
    y = y + x
    turn = jnp.array([[1.0, 2.0, 0.0], [0.0, 1.0, -1.0], [1.0, 0.0, 3.0]])
    spec = information.CanonicalCorrelation()
    one, other = spec.estimate(x, y), spec.estimate(1e4 + x @ turn, 1e-3 * y)
    chex.assert_trees_all_close(one.value, other.value, atol=1e-3)
    chex.assert_trees_all_close(one.standard_error, other.standard_error, rtol=1e-2)


def test_collinear_columns_are_refused_or_marked():
    x, y = jax.random.normal(jax.random.key(0), (2, 40, 2))
    spec = information.CanonicalCorrelation()
    repeated = jnp.concatenate([x, x[:, :1] + x[:, 1:]], 1)
    with refuses("collinear"):
        spec.estimate(repeated, y)
    inside = jax.jit(spec.estimate.__func__)(spec, repeated, y)
    assert np.isnan(inside.value)
    assert int(inside.info.status) == 3
    assert np.isnan(information.canonical_correlations(repeated, y)).all()


def test_it_has_a_derivative():
    with jax.enable_x64(True):
        x, y = jax.random.normal(jax.random.key(0), (2, 30, 2))
        y = y + x
        spec = information.CanonicalCorrelation()
        jax.test_util.check_grads(lambda x: spec.estimate(x, y).value, (x,), order=1)
