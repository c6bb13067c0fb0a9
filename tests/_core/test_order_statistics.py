"""Order statistics without a sort, against a sort."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from estimators._core import grouped_order_statistics, order_statistic


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_every_rank_equals_the_sorted_entry(x64, dtype):
    values = jax.random.normal(jax.random.key(0), (101,), dtype)
    values = values.at[:20].set(values[20:40]).at[3].set(jnp.inf).at[4].set(-jnp.inf)
    values = values.at[5].set(0.0).at[6].set(-0.0)
    values = values.at[7].set(jnp.finfo(dtype).tiny).at[8].set(-jnp.finfo(dtype).max)
    ranks = jnp.arange(1, 102)
    got = jax.jit(jax.vmap(order_statistic, (None, 0)))(values, ranks)
    np.testing.assert_array_equal(got, np.sort(np.asarray(values)))


@pytest.mark.parametrize("law", ["normal", "power", "few", "one", "half infinite", "counts"])
def test_every_law_is_told_apart(x64, law):
    """Enough values for a sample's bracket, and laws in which interpolation is of little use."""
    n = 20_000
    u = np.random.default_rng(0).random(n)
    values = {
        "normal": np.random.default_rng(1).normal(size=n),
        "power": (2 * u - 1) ** 51,
        "few": np.where(u < 0.4, -1.0, np.where(u < 0.9, 1e-9, 1e300)),
        "one": np.ones(n),
        "half infinite": np.where(u < 0.5, u, np.where(u < 0.7, -np.inf, np.inf)),
        "counts": np.floor(50 * u),
    }[law]
    ranks = jnp.asarray([1, 2, 400, 10_000, 10_001, 17_999, 18_001, n - 1, n])
    got = jax.jit(jax.vmap(order_statistic, (None, 0)))(jnp.asarray(values), ranks)
    np.testing.assert_array_equal(got, np.sort(values)[np.asarray(ranks) - 1])


def test_ranks_outside_are_infinite():
    values = jnp.arange(5.0)
    assert order_statistic(values, 6) == jnp.inf
    assert order_statistic(values, 0) == -jnp.inf


def test_nan_gives_nan():
    assert jnp.isnan(order_statistic(jnp.array([1.0, jnp.nan]), 1))


def test_empty_has_no_order_statistic():
    assert order_statistic(jnp.zeros(0), 1) == jnp.inf


def test_derivative_goes_to_the_value_found(x64):
    values = jax.random.normal(jax.random.key(3), (20,))
    gradient = jax.grad(order_statistic)(values, 7)
    np.testing.assert_array_equal(gradient, values == jnp.sort(values)[6])
    np.testing.assert_array_equal(
        jax.grad(order_statistic)(jnp.array([1.0, 1.0, 2.0]), 1), [0.5, 0.5, 0.0]
    )
    assert jnp.all(jax.grad(order_statistic)(values, 21) == 0)


def test_grouped_order_statistics_are_those_of_each_group():
    """Every rank of every group from 0 to one past the last, with ties, in both precisions."""
    rng = np.random.default_rng(0)
    values = np.round(rng.normal(size=60), 1).astype(np.float32)
    groups = rng.integers(0, 4, 60)
    for rank in range(25):
        got = grouped_order_statistics(jnp.asarray(values), jnp.asarray(groups), jnp.full(4, rank))
        for group in range(4):
            ordered = np.sort(values[groups == group])
            expected = np.concatenate([[-np.inf], ordered, np.full(30, np.inf)])[rank]
            assert got[group] == expected


def test_a_value_of_an_unknown_group_belongs_to_none():
    values = jnp.array([1.0, jnp.nan, 3.0, jnp.nan])
    got = grouped_order_statistics(values, jnp.array([0, 1, 0, -1]), jnp.array([1, 1, 1]))
    assert got[0] == 1
    assert jnp.isnan(got[1])
    assert jnp.isposinf(got[2])


@pytest.mark.parametrize("n", [1, 7, 20_000])
def test_nan_and_ranks_out_of_range_end(n):
    """Some or all NaN, all infinite, all equal, any rank: the search stops, and says so."""
    for values in (jnp.full(n, jnp.nan), jnp.full(n, jnp.inf), jnp.full(n, -jnp.inf), jnp.ones(n)):
        for rank in (-3, 0, 1, n, n + 1, n + 99):
            got = order_statistic(values, rank)
            expected = jnp.where(rank < 1, -jnp.inf, jnp.where(rank > n, jnp.inf, values[0]))
            np.testing.assert_array_equal(got, jnp.where(jnp.isnan(values[0]), jnp.nan, expected))
    mixed = jnp.arange(float(n)).at[n // 2].set(jnp.nan)
    assert jnp.isnan(order_statistic(mixed, 1))
