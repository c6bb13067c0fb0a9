"""The streaming log-sum-exp against the full matrix, its derivatives, memory and devices."""

import functools
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec
from jax.test_util import check_grads

from estimators._core import log_sum_exp
from estimators._core._blocks import POINT_BLOCK, QUERY_BLOCK


def problem(m, n, d, dtype=jnp.float64):
    keys = jax.random.split(jax.random.key(0), 3)
    queries = jax.random.normal(keys[0], (m, d), dtype)
    points = jax.random.normal(keys[1], (n, d), dtype)
    return queries, points, jnp.log(jax.random.uniform(keys[2], (n,), dtype))


def full_matrix(queries, points, log_weights, precision):
    squares = jnp.sum((queries[:, None] - points[None]) ** 2, -1)
    return jax.nn.logsumexp(log_weights[None] - 0.5 * precision * squares, axis=1)


SIZES = [(1, 1), (7, 3), (QUERY_BLOCK, POINT_BLOCK), (QUERY_BLOCK + 1, 2 * POINT_BLOCK + 3)]


@pytest.mark.parametrize(("m", "n"), SIZES)
def test_equals_the_full_matrix(x64, m, n):
    arguments = problem(m, n, 3)
    got = log_sum_exp(*arguments, 2.0)
    np.testing.assert_allclose(got, full_matrix(*arguments, 2.0), rtol=0, atol=1e-12)


@pytest.mark.thorough
@pytest.mark.parametrize(("m", "n"), SIZES[1:])
def test_gradient_equals_the_full_matrix(x64, m, n):
    arguments = (*problem(m, n, 3), jnp.asarray(2.0))

    def total(of, *arguments):
        return jnp.sum(jnp.sin(of(*arguments)))

    got = jax.grad(functools.partial(total, log_sum_exp), (0, 1, 2, 3))(*arguments)
    expected = jax.grad(functools.partial(total, full_matrix), (0, 1, 2, 3))(*arguments)
    chex.assert_trees_all_close(got, expected, rtol=0, atol=1e-11)


@pytest.mark.thorough
def test_second_derivatives(x64):
    arguments = (*problem(5, 40, 2), jnp.asarray(1.5))
    check_grads(
        lambda *a: log_sum_exp(*map(jnp.asarray, a)), arguments, order=2, modes=["fwd", "rev"]
    )


def test_one_precision_a_query(x64):
    queries, points, log_weights = problem(6, 30, 2)
    precisions = jnp.arange(1.0, 7.0)
    got = log_sum_exp(queries, points, log_weights, precisions)
    for i, precision in enumerate(precisions):
        expected = full_matrix(queries[i : i + 1], points, log_weights, precision)[0]
        np.testing.assert_allclose(got[i], expected, atol=1e-12)


@pytest.mark.parametrize(("m", "n"), [(7, 3), (QUERY_BLOCK + 1, 2 * POINT_BLOCK + 3)])
def test_one_precision_a_point(x64, m, n):
    queries, points, log_weights = problem(m, n, 3)
    of_points = jnp.linspace(0.5, 3.0, n)

    def streamed(queries, points, log_weights, precision, of_points):
        return log_sum_exp(queries, points, log_weights, precision, point_precision=of_points)

    def full(queries, points, log_weights, precision, of_points):
        return full_matrix(queries, points, log_weights, precision * of_points[None])

    arguments = (queries, points, log_weights, jnp.asarray(0.7), of_points)
    np.testing.assert_allclose(streamed(*arguments), full(*arguments), rtol=0, atol=1e-12)

    def total(of):
        return jax.grad(lambda *a: jnp.sum(jnp.sin(of(*a))), (0, 1, 2, 3, 4))(*arguments)

    chex.assert_trees_all_close(total(streamed), total(full), rtol=0, atol=1e-11)


@pytest.mark.thorough
def test_second_derivatives_in_the_precision_of_points(x64):
    queries, points, log_weights = problem(5, 40, 2)
    check_grads(
        lambda q, x, s: log_sum_exp(
            jnp.asarray(q), jnp.asarray(x), log_weights, point_precision=jnp.asarray(s)
        ),
        (queries, points, jnp.linspace(0.5, 3.0, 40)),
        order=2,
        modes=["fwd", "rev"],
    )


def test_labels_leave_points_out(x64):
    queries, points, log_weights = problem(30, 30, 2)
    labels = jnp.arange(30) // 3
    got = log_sum_exp(queries, points, log_weights, query_labels=labels, point_labels=labels)
    for i in (0, 14, 29):
        keep = np.asarray(labels != labels[i])
        expected = full_matrix(queries[i : i + 1], points[keep], log_weights[keep], 1.0)[0]
        np.testing.assert_allclose(got[i], expected, atol=1e-12)


def test_nothing_left_is_minus_infinity_with_gradient_zero():
    queries, points, log_weights = problem(2, 5, 2, jnp.float32)
    labels = jnp.zeros(5, jnp.int32)

    def value(queries, points):
        return log_sum_exp(
            queries, points, log_weights, query_labels=labels[:2], point_labels=labels
        )

    assert jnp.all(jnp.isneginf(value(queries, points)))
    slope = jax.jvp(lambda q: value(q, points), (queries,), (jnp.ones_like(queries),))[1]
    np.testing.assert_array_equal(slope, 0.0)


def test_zero_weight_equals_absence(x64):
    queries, points, log_weights = problem(9, 50, 2)
    half = log_weights.at[25:].set(-jnp.inf)
    np.testing.assert_allclose(
        log_sum_exp(queries, points, half),
        log_sum_exp(queries, points[:25], log_weights[:25]),
        atol=1e-13,
    )


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_far_tail_is_finite_and_exact(x64, dtype):
    _, points, log_weights = problem(1, 2000, 3, dtype)
    queries = jnp.full((1, 3), 100.0, dtype)
    expected = full_matrix(*(a.astype(jnp.float64) for a in (queries, points, log_weights)), 1.0)
    assert expected[0] < -14_000
    np.testing.assert_allclose(
        log_sum_exp(queries, points, log_weights), expected, rtol=10 * jnp.finfo(dtype).eps
    )


@pytest.mark.parametrize("distance", [50.0, 1e4, 1e6])
@pytest.mark.parametrize("of_points", [None, 1.0])
def test_derivatives_far_from_the_points(distance, of_points):
    """Exponents of 1e6 to 1e14 in float32: the kernel weights still sum to one."""
    points = jax.random.normal(jax.random.key(0), (500, 2))
    precision, query = 400.0, jnp.array([[distance, 0.0]])
    widths = None if of_points is None else jnp.full(500, of_points)

    def value(query, precision):
        zeros = jnp.zeros(500)
        return log_sum_exp(query, points, zeros, precision, point_precision=widths)[0]

    away = np.asarray(points, np.float64) - np.asarray(query, np.float64)
    squares = np.sum(away**2, -1)
    weights = np.exp(-0.5 * precision * (squares - squares.min()))
    weights /= weights.sum()
    by_query, by_precision = jax.grad(value, (0, 1))(query, precision)
    np.testing.assert_allclose(by_query[0, 0], precision * (weights @ away)[0], rtol=1e-5)
    np.testing.assert_allclose(by_precision, -0.5 * weights @ squares, rtol=1e-5)


def test_a_block_without_weight_does_not_hide_a_far_tail():
    _, points, _ = problem(1, POINT_BLOCK + 200, 1, jnp.float32)
    log_weights = jnp.where(jnp.arange(POINT_BLOCK + 200) < POINT_BLOCK, -jnp.inf, 0.0)
    queries = jnp.full((1, 1), 500.0, jnp.float32)
    for order in (slice(None), slice(None, None, -1)):
        got = log_sum_exp(queries, points[order], log_weights[order])
        expected = full_matrix(queries, points[POINT_BLOCK:], log_weights[POINT_BLOCK:], 1.0)
        np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_memory_does_not_grow_with_the_matrix():
    """Temporaries of value and gradient at n = m = 20 000 stay far below the 1.6 GB of n x m."""
    rows = jax.ShapeDtypeStruct((20_000, 8), jnp.float32)
    weights = jax.ShapeDtypeStruct((20_000,), jnp.float32)

    def megabytes(function):
        compiled = jax.jit(function).lower(rows, rows, weights).compile()
        return compiled.memory_analysis().temp_size_in_bytes / 1e6

    assert megabytes(log_sum_exp) < 10
    gradient = jax.grad(lambda *a: jnp.sum(log_sum_exp(*a)), (0, 1, 2))
    assert megabytes(gradient) < 25


@pytest.mark.parametrize("devices", [1, 8])
def test_sharded_points_give_the_same_numbers(x64, devices):
    queries, points, log_weights = problem(40, 1000, 3)
    axis = PartitionSpec("data")
    mesh = jax.make_mesh((devices,), ("data",), axis_types=(AxisType.Auto,))
    sharded = jax.jit(
        jax.shard_map(
            functools.partial(log_sum_exp, axis_name="data"),
            mesh=mesh,
            in_specs=(PartitionSpec(), axis, axis),
            out_specs=PartitionSpec(),
        )
    )
    np.testing.assert_allclose(
        sharded(queries, points, log_weights),
        log_sum_exp(queries, points, log_weights),
        rtol=0,
        atol=1e-12,
    )
    if devices > 1:
        text = sharded.lower(queries, points, log_weights).compile().as_text()
        assert len(re.findall(r"= \S+ all-reduce(?:-start)?\(", text)) == 2
        assert "all-gather(" not in text

    def score(function):
        return jax.grad(lambda q: jnp.sum(function(q, points, log_weights)))(queries)

    np.testing.assert_allclose(score(sharded), score(log_sum_exp), rtol=0, atol=1e-12)


def test_new_values_do_not_trace_again():
    compiled = jax.jit(chex.assert_max_traces(log_sum_exp, n=1))
    queries, points, log_weights = problem(5, 20, 2, jnp.float32)
    compiled(queries, points, log_weights, 1.0)
    compiled(queries + 1, points, log_weights, 2.0)
