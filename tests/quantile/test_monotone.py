"""Sorting and isotonic projection: values, derivatives, and what they never do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from sklearn.isotonic import isotonic_regression

from estimators import quantile
from estimators.testing import refuses

PROJECTIONS = [quantile.sort_levels, quantile.isotonic_levels]
LENGTHS = [1, 2, 3, 7, 16, 19, 99]


def rows(n, length, seed=0, dtype=np.float64):
    """Half of the rows random, half of them nearly sorted; some ties."""
    generator = np.random.default_rng(seed)
    out = generator.normal(size=(n, length)) * 2
    out[: n // 2] = np.sort(out[: n // 2], -1) + 0.1 * generator.normal(size=(n // 2, length))
    out[::5] = np.round(out[::5])
    return out.astype(dtype)


@pytest.mark.parametrize("length", LENGTHS)
def test_sort_equals_numpy_to_the_bit(length):
    x = rows(50, length, dtype=np.float32)
    x[7, 0] = np.inf
    x[8, -1] = -np.inf
    np.testing.assert_array_equal(quantile.sort_levels(x), np.sort(x, -1), strict=True)


def test_sort_of_many_rows_goes_through_blocks():
    x = rows(5000, 5, dtype=np.float32).reshape(2, 2500, 5)
    np.testing.assert_array_equal(quantile.sort_levels(x), np.sort(x, -1), strict=True)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.usefixtures("x64")
def test_isotonic_equals_scikit_learn(length):
    x = rows(50, length)
    expected = np.stack([isotonic_regression(row) for row in x])
    np.testing.assert_allclose(quantile.isotonic_levels(x), expected, rtol=0, atol=1e-12)


def test_isotonic_in_float32_far_from_the_origin():
    # Spacing of float32 at 1000 is 6e-5; the mean of a pool may be off by a few of them.
    x = (rows(3000, 19) + 1000).astype(np.float32)
    expected = np.stack([isotonic_regression(row.astype(np.float64)) for row in x])
    ours = np.asarray(quantile.isotonic_levels(x))
    np.testing.assert_allclose(ours, expected, rtol=0, atol=4e-4)
    assert (np.diff(ours, axis=-1) >= 0).all()
    ordered = np.sort(x, -1)
    np.testing.assert_array_equal(quantile.isotonic_levels(ordered), ordered)


@pytest.mark.usefixtures("x64")
def test_sort_passes_the_cotangents_through_its_permutation():
    x, cotangent = rows(2500, 19), rows(2500, 19, seed=1)
    x[3, 4] = np.inf
    _, pull = jax.vjp(quantile.sort_levels, jnp.asarray(x))
    order = np.argsort(x, -1, kind="stable")
    expected = np.empty_like(cotangent)
    np.put_along_axis(expected, order, cotangent, -1)
    np.testing.assert_array_equal(pull(jnp.asarray(cotangent))[0], expected)


@pytest.mark.usefixtures("x64")
def test_isotonic_derivative_is_the_mean_over_pools():
    x, cotangent = rows(200, 19)[101:], rows(99, 19, seed=1)
    x = x + 1e-3 * rows(99, 19, seed=2)  # no ties, so that pools are beyond doubt
    fitted = np.stack([isotonic_regression(row) for row in x])
    same = np.abs(fitted[:, :, None] - fitted[:, None, :]) < 1e-12
    jacobian = same / same.sum(-1, keepdims=True)
    expected = np.einsum("nij,nj->ni", jacobian, cotangent)
    _, pull = jax.vjp(quantile.isotonic_levels, jnp.asarray(x))
    np.testing.assert_allclose(pull(jnp.asarray(cotangent))[0], expected, atol=1e-12)
    _, push = jax.jvp(quantile.isotonic_levels, (jnp.asarray(x),), (jnp.asarray(cotangent),))
    np.testing.assert_allclose(push, expected, atol=1e-12)


@pytest.mark.parametrize("project", PROJECTIONS)
@pytest.mark.usefixtures("x64")
def test_gradients_to_second_order(project):
    x = jnp.asarray(np.random.default_rng(5).normal(size=(4, 7)))
    check_grads(lambda x: jnp.sum(project(x) ** 3), (x,), order=2)


@pytest.mark.parametrize("project", PROJECTIONS)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.usefixtures("x64")
def test_the_score_of_no_single_outcome_gets_worse(project, seed):
    # Proposition 2 of arXiv 2103.00083: it holds for each pair, so no pair may break it.
    x = rows(3000, 9, seed)
    y = 2 * np.random.default_rng(seed + 10).normal(size=3000)
    levels = np.arange(1, 10) / 10
    before = np.asarray(quantile.weighted_interval_score(y, x, levels))
    after = np.asarray(quantile.weighted_interval_score(y, project(x), levels))
    assert (after <= before + 1e-12).all()
    assert (after < before - 1e-3).any()


@pytest.mark.usefixtures("x64")
def test_a_running_maximum_does_raise_some_scores():
    # The converse of the test above: it can fail, and for another repair it does.
    x, y, levels = np.array([[1.0, 0.0]]), np.array([0.0]), np.array([0.25, 0.75])
    before = quantile.weighted_interval_score(y, x, levels)
    after = quantile.weighted_interval_score(y, np.maximum.accumulate(x, -1), levels)
    assert after[0] > before[0]


@pytest.mark.parametrize("project", PROJECTIONS)
def test_projections_are_monotone_and_idempotent(project):
    once = project(rows(500, 19, dtype=np.float32))
    assert (np.diff(once, axis=-1) >= 0).all()
    np.testing.assert_array_equal(project(once), once)


@pytest.mark.parametrize("project", PROJECTIONS)
def test_a_row_with_nan_is_nan_and_no_other_is(project):
    x = rows(10, 7, dtype=np.float32)
    x[3, 2] = np.nan
    out = np.asarray(project(x))
    assert np.isnan(out[3]).all()
    np.testing.assert_array_equal(np.delete(out, 3, 0), project(np.delete(x, 3, 0)))


@pytest.mark.parametrize("project", PROJECTIONS)
def test_jit_and_vmap_change_nothing(project):
    x = jnp.asarray(rows(12, 7, dtype=np.float32)).reshape(3, 4, 7)
    expected = project(x)
    np.testing.assert_array_equal(jax.jit(project)(x), expected)
    np.testing.assert_array_equal(jax.vmap(jax.vmap(project))(x), expected)
    np.testing.assert_array_equal(project(x[0, 0]), expected[0, 0])
    assert project(jnp.zeros((0, 7))).shape == (0, 7)


@pytest.mark.parametrize("project", PROJECTIONS)
def test_bad_input_is_refused(project):
    with refuses(r"predictions must have shape \(\*batch, levels\); got shape \(\)"):
        project(jnp.zeros(()))
