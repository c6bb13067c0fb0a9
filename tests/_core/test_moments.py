"""Moments and whitening, near and far from the origin."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from estimators._core import (
    constant_columns,
    effective_sample_size,
    weighted_covariance,
    weighted_mean,
    whiten,
    whitening,
)


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_moments_equal_numpy(x64, offset):
    points = np.random.default_rng(0).normal(size=(100, 3)) + offset
    raw = np.random.default_rng(1).uniform(size=100)
    weights = jnp.asarray(raw / raw.sum())
    mean = weighted_mean(jnp.asarray(points), weights)
    np.testing.assert_allclose(mean, np.average(points, axis=0, weights=raw), rtol=1e-13)
    np.testing.assert_allclose(
        weighted_covariance(jnp.asarray(points), weights, mean),
        np.cov(points.T, aweights=raw),
        rtol=1e-8,
    )
    np.testing.assert_allclose(effective_sample_size(weights), raw.sum() ** 2 / (raw**2).sum())


def test_a_constant_column_far_away_has_variance_zero():
    points = jnp.stack([jnp.full(50, 1234.567), jnp.arange(50.0)], 1)
    weights = jnp.full(50, 1 / 50)
    mean = weighted_mean(points, weights)
    assert weighted_covariance(points, weights, mean)[0, 0] == 0.0
    np.testing.assert_array_equal(constant_columns(points), [True, False])


def test_rows_without_weight_do_not_count():
    points = jax.random.normal(jax.random.key(0), (200, 2)) + 3.0
    weights = jnp.full(200, 1 / 190).at[:10].set(0.0)
    astray = points.at[:10].set(1e7)
    mean = weighted_mean(astray, weights)
    np.testing.assert_allclose(mean, points[10:].mean(0), rtol=1e-5)
    np.testing.assert_allclose(
        weighted_covariance(astray, weights, mean), np.cov(points[10:].T), rtol=1e-4, atol=1e-5
    )
    flat = points.at[10:, 0].set(4.0)
    np.testing.assert_array_equal(constant_columns(flat), [False, False])
    np.testing.assert_array_equal(constant_columns(flat, weights=weights), [True, False])


@pytest.mark.parametrize("devices", [8])
def test_rows_without_weight_do_not_count_over_devices(devices):
    points = jax.random.normal(jax.random.key(0), (64, 2)) + 3.0
    weights = jnp.full(64, 1 / 50).at[:14].set(0.0)  # the first device has none
    astray = points.at[:14].set(1e7)
    rows = PartitionSpec("data")
    mesh = jax.make_mesh((devices,), ("data",), axis_types=(AxisType.Auto,))

    def of_part(points, weights):
        mean = weighted_mean(points, weights, "data")
        return mean, constant_columns(points, "data", weights=weights)

    whole = jax.shard_map(
        of_part, mesh=mesh, in_specs=(rows, rows), out_specs=(PartitionSpec(), PartitionSpec())
    )
    mean, constant = whole(astray.at[14:, 1].set(5.0), weights)
    np.testing.assert_allclose(mean, [points[14:, 0].mean(), 5.0], rtol=1e-6)
    np.testing.assert_array_equal(constant, [False, True])


def test_whitening_whitens(x64):
    mixing = jnp.array([[1e-3, 0.0], [50.0, 80.0]])
    covariance = mixing @ mixing.T
    factor, log_determinant, definite = whitening(covariance)
    assert definite
    np.testing.assert_allclose(factor @ factor.T, covariance, rtol=1e-12)
    np.testing.assert_allclose(log_determinant, 0.5 * jnp.linalg.slogdet(covariance)[1])
    points = jax.random.normal(jax.random.key(0), (500, 2)) @ mixing.T + 9.0
    white = whiten(points, jnp.full(2, 9.0), factor)
    np.testing.assert_allclose(white @ factor.T + 9.0, points, rtol=1e-9)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_linear_dependence_is_seen_in_any_units(x64, dtype):
    points = jax.random.normal(jax.random.key(0), (200, 2), dtype)
    third = points[:, :1] + points[:, 1:]
    points = jnp.concatenate([points, third], 1) * jnp.array([[1e-4, 1.0, 1e4]], dtype)
    weights = jnp.full(200, 1 / 200, dtype)
    covariance = weighted_covariance(points, weights, weighted_mean(points, weights))
    assert not whitening(covariance)[2]
    assert whitening(covariance[:2, :2])[2]
