"""Leave-one-out: the likelihood by brute force, its maximum by a grid, copies and units."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import slow
from scipy import optimize, stats
from scipy.special import logsumexp

from estimators import density, sharding
from estimators.density import _bandwidth
from estimators.density._asked import places_with_weight


def brute_force(points, weights, h):
    total = 0.0
    for i in range(len(points)):
        others = np.any(points != points[i], axis=1)
        kernel = stats.norm.logpdf((points[i] - points[others]) / h).sum(1)
        share = weights[others] / weights[others].sum()
        total += weights[i] * (logsumexp(kernel, b=share) - points.shape[1] * np.log(h))
    return total


def test_likelihood_equals_brute_force_with_copies_and_weights(x64):
    generator = np.random.default_rng(0)
    points = generator.normal(size=(60, 2))
    points[40:] = points[:20]
    weights = generator.uniform(size=60)
    weights /= weights.sum()
    rows = _bandwidth.sample(jnp.asarray(points), jnp.log(weights))
    got = _bandwidth.leave_one_out_log_likelihood(jnp.log(0.4), rows)
    np.testing.assert_allclose(got, brute_force(points, weights, 0.4), rtol=1e-10)


@pytest.mark.parametrize("law", ["normal", "heavy", "bimodal"])
def test_the_maximum_is_the_maximum(x64, law):
    generator = np.random.default_rng(1)
    points = {
        "normal": generator.normal(size=(300, 2)),
        "heavy": generator.standard_t(2, size=(300, 2)),
        "bimodal": generator.normal(size=(300, 2)) * 0.2 + generator.integers(2, size=(300, 1)) * 4,
    }[law]
    fitted = density.KDE("loo").fit(points)
    covariance = np.cov(points.T)
    white = points @ np.linalg.inv(np.linalg.cholesky(covariance)).T
    best = optimize.minimize_scalar(
        lambda t: -brute_force(white, np.full(300, 1 / 300), np.exp(t)),
        bounds=(-5, 2),
        method="bounded",
        options={"xatol": 1e-9},
    )
    np.testing.assert_allclose(fitted.info.factor, np.exp(best.x), rtol=1e-5)
    volume = 0.5 * np.linalg.slogdet(covariance)[1]
    np.testing.assert_allclose(fitted.info.log_likelihood, -best.fun - volume, atol=1e-8)
    assert fitted.info.steps <= 12


@pytest.mark.thorough
def test_copies_of_every_row_change_little(x64):
    """Each row twice: the naive likelihood grows without bound as h falls to zero."""
    points = np.random.default_rng(2).normal(size=(200, 3))
    once = density.KDE("loo").fit(points).info.factor
    twice = density.KDE("loo").fit(np.concatenate([points, points])).info.factor
    np.testing.assert_allclose(twice, once, rtol=0.01)


@pytest.mark.thorough
def test_large_tables_are_sampled_and_agree():
    points = jax.random.normal(jax.random.key(0), (9000, 4))
    assert -(-9000 // _bandwidth.LEAVE_ONE_OUT_QUERIES) == 5
    sampled = density.KDE("loo").fit(points).info.factor
    half = density.KDE("loo").fit(points[:2000]).info.factor
    # h ~ n^(-1/(d+4)): the two sizes differ by 4.5^(1/8).
    np.testing.assert_allclose(half / sampled, 4.5 ** (1 / 8), rtol=0.05)


@pytest.mark.thorough
def test_the_bandwidth_has_a_derivative_in_the_data(x64):
    """By the implicit function theorem, although a loop found it."""
    points = jax.random.normal(jax.random.key(1), (80, 2))

    def factor(a):
        return (
            density.KDE("loo")
            .fit(jnp.stack([points[:, 0], points[:, 1] ** 3 * a + points[:, 0]], 1))
            .info.factor
        )

    slope = (factor(1.0 + 1e-4) - factor(1.0 - 1e-4)) / 2e-4
    np.testing.assert_allclose(jax.grad(factor)(1.0), slope, rtol=1e-3, atol=1e-6)


def test_labels_are_equal_only_for_equal_rows():
    points = jax.random.normal(jax.random.key(2), (3000, 2)).round(1)
    points = points.at[0].set(0.0).at[1].set(-0.0)
    labels = np.asarray(_bandwidth.row_labels(points))
    assert labels[0] == labels[1]
    distinct = len(np.unique(np.asarray(points) + 0.0, axis=0))
    assert len(np.unique(labels)) == distinct


@pytest.mark.parametrize(("n", "stride"), [(1, 1), (9, 4), (4097, 3), (30_000, 15)])
def test_rows_asked_at_have_weight(n, stride):
    every = np.arange(n)[::stride]
    np.testing.assert_array_equal(places_with_weight(jnp.ones(n), stride), every)
    weights = jnp.ones(n).at[1::2].set(0).at[::4].set(0)
    places = places_with_weight(weights, stride)
    assert places.shape == every.shape
    kept = np.asarray(places)[np.asarray(weights)[places] > 0]
    left = int(weights.sum())
    assert len(set(kept)) == len(kept) >= min(left, len(every)) // 2
    assert np.all(np.diff(kept) > 0)
    assert left < len(every) or kept[-1] >= n - 8 * stride  # to the end of the table


@pytest.mark.parametrize("of_mesh", [False, True])
def test_every_second_row_without_weight(of_mesh):
    points = jax.random.normal(jax.random.key(3), (4096, 2))
    weights = jnp.ones(4096).at[::2].set(0)
    expected = density.KDE("loo").fit(points[1::2]).info
    if of_mesh:
        points, weights = sharding.split(points), sharding.split(weights)
        got = density.KDE("loo").fit(points, weights).info
    else:
        got = density.KDE("loo").fit(points, weights).info
    np.testing.assert_allclose(got.factor, expected.factor, rtol=1e-4)
    np.testing.assert_allclose(got.log_likelihood, expected.log_likelihood, rtol=1e-4)


@pytest.mark.parametrize("spec", slow.parameters(["shrunken", "product"], ["product"]))
def test_every_second_row_without_weight_in_other_searches(spec):
    points = jax.random.normal(jax.random.key(3), (4096, 2))
    weights = jnp.ones(4096).at[::2].set(0)
    spec = {
        "shrunken": density.KDE("loo", centres="shrunken"),
        "product": density.ProductKDE([density.Real()] * 2),
    }[spec]
    got, expected = spec.fit(points, weights).bandwidth, spec.fit(points[1::2]).bandwidth
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-6)


def test_what_is_left_beside_a_row_that_has_all_the_weight():
    points = jnp.array([[0.0], [1.0], [2.0], [3.0]])
    fitted = density.KDE(1.0).fit(points, jnp.array([1e9, 1.0, 1.0, 1.0]))
    expected = logsumexp(stats.norm.logpdf([1.0, 2.0, 3.0])) - np.log(3)
    np.testing.assert_allclose(fitted.leave_one_out_log_density()[0], expected, rtol=1e-5)
    split = density.KDE(1.0).fit(sharding.split(points), sharding.split(np.float32([1e9, 1, 1, 1])))
    got = split.leave_one_out_log_density().gather()
    np.testing.assert_allclose(got, fitted.leave_one_out_log_density(), rtol=1e-5)
