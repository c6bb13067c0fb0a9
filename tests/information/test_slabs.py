"""The fast path of KSG for single columns: brute force to the last bit, and two peers."""

import functools

import counts_by_hand
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.feature_selection._mutual_info import _compute_mi_cc

from estimators import information
from estimators.information._neighbours import _counting, _ksg, _ksg_slabs, _slabs
from estimators.information._neighbours._nearest import kth_neighbour, strictly

N = 700


def columns(law, n=N):
    rng = np.random.default_rng(3)
    x, noise = rng.normal(size=(2, n))
    return {
        "independent": (x, noise),
        "dependent": (x, 0.9 * x + 0.4 * noise),
        "heavy tails": (x, noise / rng.normal(size=n)),
        "a line": (x, x),
        "rounded": (np.round(x, 1), np.round(x + noise, 1)),
        "a discrete column": (np.round(x), noise),
        "discrete columns": (np.round(x), np.round(x + noise)),
        "clusters": (x + 100 * (noise > 0), noise + 1e4 * (x > 1)),
    }[law]


LAWS = (
    "independent", "dependent", "heavy tails", "a line", "rounded", "a discrete column",
    "discrete columns", "clusters",
)  # fmt: skip


@functools.partial(jax.jit, static_argnames="m")
def searched(x, y, m):
    sorted_columns = _slabs.sort_columns(x, y)
    found = _slabs.nearest(sorted_columns, m)
    places = [
        _slabs.interval(ordered, column, strictly(found.distances[-1]))
        for ordered, column in (
            (sorted_columns.ordered_x, sorted_columns.x),
            (sorted_columns.ordered_y, sorted_columns.y),
        )
    ]
    return sorted_columns.x, sorted_columns.y, found, places


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_distances_and_counts_are_those_of_brute_force_bit_for_bit(law, dtype, x64):
    x, y = (jnp.asarray(column.astype(dtype)) for column in columns(law))
    same_x, same_y, found, places = searched(x, y, 5)
    assert bool((same_x == x).all() & (same_y == y).all())
    x, y, exact = np.asarray(x), np.asarray(y), np.asarray(found.exact)
    away = np.maximum(abs(x[:, None] - x), abs(y[:, None] - y))
    rows, distances = np.stack(found.rows, 1), np.stack(found.distances, 1)
    np.testing.assert_array_equal(
        distances[exact], np.sort(counts_by_hand.others(away), 1)[exact, :5]
    )
    np.testing.assert_array_equal(np.take_along_axis(away, rows, 1)[exact], distances[exact])
    assert all(len(set(row)) == 5 for row in rows[exact])
    assert not (rows == np.arange(N)[:, None])[exact].any()
    # It stops where brute force on the rest costs no more: that is 6 rows for each place that
    # was looked at on either side in three slabs, about 15 places here.
    if "discrete" not in law and law != "rounded":
        assert exact.mean() > 1 - 6 * 20 / N
    for column, (low, high) in zip((x, y), places, strict=True):
        closer = abs(column[:, None] - column) < np.asarray(strictly(found.distances[-1]))[:, None]
        np.testing.assert_array_equal((high - low)[exact], closer.sum(1)[exact])


@functools.partial(jax.jit, static_argnames="k")
def by_brute_force(x, y, k):
    mean, error = _counting.jackknife(_ksg_slabs.PAIR, (x, y), k)
    return jax.scipy.special.digamma(jnp.asarray(len(x), x.dtype)) + mean, error


@functools.partial(jax.jit, static_argnames="k")
def by_slabs(x, y, k):
    return _ksg.mean_contribution(x, y, k), *_ksg.jackknife(x, y, k)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("k", [1, 5])
def test_value_and_jackknife_are_those_of_brute_force(law, k, x64):
    x, y = (jnp.asarray(column)[:, None] for column in columns(law))
    assert _ksg_slabs.in_slabs(x, y)
    value, again, error = by_slabs(x, y, k)
    expected, expected_error = by_brute_force(x, y, k)
    np.testing.assert_allclose([value, again], expected, atol=1e-12)
    np.testing.assert_allclose(error, expected_error, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("law", ["independent", "dependent", "heavy tails", "clusters"])
@pytest.mark.parametrize("k", [1, 5])
def test_agrees_with_scikit_learn_and_npeet(law, k, x64):
    x, y = (_ksg.standardise(jnp.asarray(column)[:, None]) for column in columns(law))
    x, y = np.asarray(x), np.asarray(y)
    value = float(information.ksg(x, y, neighbours=k))
    assert abs(value - counts_by_hand.npeet(x, y, k)) < 1e-6
    theirs = _compute_mi_cc(x[:, 0], y[:, 0], k)  # clipped at zero
    assert abs(max(value, 0) - theirs) < 1e-6


@pytest.mark.thorough
def test_vmap_and_shapes_around_the_threshold(x64):
    x, y = jax.random.normal(jax.random.key(0), (2, 3, N, 1))
    y = x * jnp.array([0.0, 1.0, 9.0])[:, None, None] + y
    batch = jax.jit(jax.vmap(lambda x, y: by_slabs(x, y, 5)))(x, y)
    for i in range(3):
        single = by_slabs(x[i], y[i], 5)
        np.testing.assert_allclose([b[i] for b in batch], single, rtol=1e-10)


def test_a_value_that_is_not_finite_costs_no_more(x64):
    # Nothing is searched for in it: all rows would be left to brute force otherwise.
    x, y = (jnp.asarray(column)[:, None] for column in columns("independent"))
    assert np.isnan(jax.jit(information.ksg)(x.at[3].set(jnp.nan), y))
    assert np.isnan(jax.jit(information.ksg)(x, y.at[3].set(jnp.inf)))


def test_kth_neighbour_takes_a_number_for_each_row():
    away = jnp.array([[0.0, 3, 1, 2], [5.0, 0, jnp.inf, 4]])
    radius, then = kth_neighbour(away, jnp.array([3, 1]), 3)
    assert radius.tolist() == [3, 4]
    assert then.tolist() == [np.inf, 5]
