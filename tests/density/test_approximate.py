"""Approximate sums: the error that is stated, the paths, and that nothing goes unnoticed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from estimators import density
from estimators._core import student_quantile
from estimators.density._fast._approximate import QUERY_BLOCK
from estimators.density._fast._cells import Cells
from estimators.testing import refuses


def normal(seed, n, d, dtype=jnp.float32):
    return jax.random.normal(jax.random.key(seed), (n, d), dtype)


def relative(approximation, exact):
    return np.abs(np.expm1(np.asarray(approximation.log_density) - np.asarray(exact)))


def made(points, bandwidth, weights=None, **options):
    fitted = density.KDE(bandwidth).fit(points, weights)
    return fitted, density.approximate(fitted, key=jax.random.key(9), **options)


def test_cells_hold_every_point_once_inside_their_boxes():
    points = normal(0, 1000, 3)
    cells = Cells.of(points, jnp.zeros(1000), None, jax.random.key(0), at_most=100)
    held = np.asarray(cells.points)[np.isfinite(np.asarray(cells.log_weights))]
    assert cells.points.shape == (16, 64, 3)
    np.testing.assert_array_equal(np.sort(held, 0), np.sort(np.asarray(points), 0))
    assert {tuple(row) for row in held} == {tuple(row) for row in np.asarray(points)}
    assert bool(jnp.all(cells.points >= cells.lower[:, None]))
    assert bool(jnp.all(cells.points <= cells.upper[:, None]))
    # A point that is not on a cut is found in its own cell.
    found = cells.find(cells.points.reshape(-1, 3)).reshape(16, 64)
    assert np.mean(np.asarray(found) == np.arange(16)[:, None]) > 0.97


def test_bounds_are_above_what_they_bound(x64):
    points, queries = normal(0, 1000, 2, jnp.float64), 2 * normal(1, 20, 2, jnp.float64)
    precision = jnp.linspace(0.5, 2, 1000)
    cells = Cells.of(points, jnp.zeros(1000), precision, jax.random.key(0), at_most=100)
    squares = jnp.sum((queries[:, None, None] - cells.points[None]) ** 2, -1)
    logits = cells.log_weights[None] - 0.5 * cells.precision[None] * squares
    of_cell, of_point = cells.log_bounds(queries)
    assert bool(jnp.all(of_cell >= jax.nn.logsumexp(logits, -1)))
    assert bool(jnp.all(of_point >= jnp.max(logits, -1)))


CASES = [  # d, bandwidth, relative error, sampled, at most this work
    (2, 0.01, 0.01, None, 1.1),
    (2, 0.5, 0.1, True, 0.6),
    (8, 2.0, 0.1, True, 0.6),
    (8, 0.2, 0.1, False, 1.1),
]


@pytest.mark.thorough
@pytest.mark.parametrize(("d", "bandwidth", "error", "sampled", "work"), CASES)
def test_keeps_the_error_in_every_regime(d, bandwidth, error, sampled, work):
    """One order of the points; all 300 answers fail in under .05 of such data sets together,
    and at most 15 singly: none did at these seeds."""
    fitted, fast = made(normal(0, 20_000, d), bandwidth)
    queries = normal(1, 300, d)
    got = fast.log_density(queries, relative_error=error, probability=0.99)
    assert np.mean(relative(got, fitted.log_density(queries)) > error) <= 0.05
    assert float(got.relative_error.max()) <= error
    assert float(got.work.max()) <= work
    if sampled is not None:
        assert bool(jnp.all(got.sampled == sampled))


def test_pruned_sums_are_certain(x64):
    """Small kernels on a lattice far apart: no query may be off by more, at any seed."""
    points = jnp.stack(jnp.meshgrid(*2 * (jnp.arange(100.0),)), -1).reshape(-1, 2)
    fitted, fast = made(points, 0.3, points_per_cell=128)
    queries = jax.random.uniform(jax.random.key(0), (40, 2), maxval=12.0)
    got = fast.log_density(queries, relative_error=1e-3)
    assert not bool(got.sampled.any())
    assert np.all(relative(got, fitted.log_density(queries)) <= got.relative_error + 1e-9)
    assert float(got.relative_error.max()) <= 1e-3
    assert float(got.work.max()) < 0.3


@pytest.mark.thorough
def test_a_lone_near_point_is_never_missed():
    """One of 20 000 points carries two thirds of the sum: a sample would overlook it."""
    bulk = normal(0, 20_000, 3)
    lone = jnp.full((1, 3), 4.0)
    height = density.KDE(0.5).fit(bulk).log_density(lone[0])
    weight = 2 * jnp.exp(height + 1.5 * jnp.log(2 * jnp.pi * 0.25))
    weights = jnp.concatenate([jnp.full(20_000, 1 / 20_000), weight[None]])
    fitted, fast = made(jnp.concatenate([bulk, lone]), 0.5, weights)
    got = fast.log_density(lone, relative_error=0.1)
    assert relative(got, fitted.log_density(lone))[0] < 0.1


def test_zero_error_is_the_exact_sum():
    fitted, fast = made(normal(0, 5000, 2), 0.3)
    queries = normal(1, 50, 2)
    got = fast.log_density(queries, relative_error=0)
    np.testing.assert_array_equal(got.log_density, fitted.log_density(queries))
    assert not bool(got.sampled.any())
    inside = jax.jit(lambda f, x, e: f.log_density(x, relative_error=e))(fast, queries, 0.0)
    np.testing.assert_allclose(inside.log_density, got.log_density, rtol=0, atol=2e-5)


@pytest.mark.thorough
def test_weights_and_widths():
    points = normal(0, 8000, 2)
    weights = jax.random.uniform(jax.random.key(3), (8000,))
    fitted = density.KDE("scott", widths="abramson").fit(points, weights)
    fast = density.approximate(fitted, key=jax.random.key(4))
    queries = normal(1, 100, 2)
    got = fast.log_density(queries, relative_error=0.05, probability=0.99)
    assert np.mean(relative(got, fitted.log_density(queries)) > 0.05) <= 0.05
    assert float(got.work.max()) < 1.3


def test_far_tails_and_bad_rows():
    fitted, fast = made(normal(0, 5000, 2), 0.2)
    queries = jnp.asarray([[30.0, 0.0], [0.0, 0.0], [-500.0, 500.0]])
    got = fast.log_density(queries, relative_error=0.05)
    exact = fitted.log_density(queries)
    assert exact[2] < -1e6
    np.testing.assert_allclose(got.log_density, exact, rtol=1e-6, atol=0.05)
    bad = jax.jit(lambda f, x: f.log_density(x))(fast, queries.at[0, 0].set(jnp.nan))
    assert np.isnan(bad.log_density[0])
    np.testing.assert_allclose(bad.log_density[1:], exact[1:], rtol=1e-6, atol=0.05)


def test_order_and_shape_of_queries_do_not_matter():
    _, fast = made(normal(0, 20_000, 2), 0.1)
    queries = normal(1, 2 * QUERY_BLOCK, 2)
    got = fast.log_density(queries).log_density
    turned = fast.log_density(queries[::-1].reshape(2, QUERY_BLOCK, 2)).log_density
    np.testing.assert_allclose(turned.reshape(-1)[::-1], got, rtol=1e-5, atol=1e-5)


def test_no_query_has_no_answer():
    _, fast = made(normal(0, 3000, 2), 0.1)
    got = fast.log_density(jnp.zeros((0, 2)))
    assert got.log_density.shape == got.relative_error.shape == (0,)


def test_student_quantile():
    from scipy import stats

    for degrees, tolerance in ((15, 2e-3), (63, 1e-4)):
        for p in (0.8, 0.95, 0.99):
            z = stats.norm.ppf(0.5 + p / 2)
            expected = stats.t.ppf(0.5 + p / 2, degrees)
            assert abs(student_quantile(z, degrees) - expected) < tolerance * expected


def test_refusals():
    fitted, fast = made(normal(0, 100, 2), 0.5)
    with pytest.raises(ValueError, match="relative_error"):
        fast.log_density(jnp.zeros(2), relative_error=-1.0)
    with refuses("relative_error must be a single number"):
        fast.log_density(jnp.zeros(2), relative_error=jnp.array([0.1, 0.2]))
    with pytest.raises(ValueError, match="probability"):
        fast.log_density(jnp.zeros(2), probability=1.0)
    with pytest.raises(ValueError, match="points_per_cell"):
        density.approximate(fitted, key=jax.random.key(0), points_per_cell=8)
    with pytest.raises(ValueError, match="Gaussian"):
        density.approximate(
            density.KDE(0.5, kernel=density.TopHat()).fit(normal(0, 100, 2)), key=jax.random.key(0)
        )


@pytest.mark.parametrize("compiled", [False, True])
def test_where_products_round_too_much_it_is_exact(compiled):
    points = normal(0, 2000, 3)
    fitted, fast = made(points, 1e-3)
    queries = points[:60] + 1e-3 * normal(1, 60, 3)
    ask = jax.jit(lambda x: fast.log_density(x)) if compiled else fast.log_density
    got = ask(queries)
    np.testing.assert_allclose(got.log_density, fitted.log_density(queries), rtol=1e-6)
    assert not got.sampled.any()
    assert (got.relative_error == 0).all()
