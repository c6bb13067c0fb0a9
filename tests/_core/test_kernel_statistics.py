"""The streaming statistics of kernel weights against direct sums, in the tail, over devices."""

import functools
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec
from jax.test_util import check_grads

from estimators._core import kernel_statistics, log_sum_exp
from estimators._core._blocks import POINT_BLOCK, QUERY_BLOCK


def problem(m, n, d, dtype=jnp.float64):
    keys = jax.random.split(jax.random.key(0), 3)
    queries = jax.random.normal(keys[0], (m, d), dtype)
    points = jax.random.normal(keys[1], (n, d), dtype)
    return queries, points, jnp.log(jax.random.uniform(keys[2], (n,), dtype))


def direct(queries, points, log_weights, precision=1.0, own=None, query_labels=None, labels=None):
    """The same from the whole matrix, in numpy's float64."""
    queries, points, log_weights = (
        np.asarray(a, np.float64) for a in (queries, points, log_weights)
    )
    distance = np.sum((queries[:, None] - points[None]) ** 2, -1)
    s = np.ones(len(points)) if own is None else np.asarray(own, np.float64)
    distance = distance * s
    logits = log_weights - 0.5 * np.broadcast_to(precision, len(queries))[:, None] * distance
    if labels is not None:
        logits = np.where(np.asarray(query_labels)[:, None] == labels, -np.inf, logits)
    top = logits.max(-1)
    w = np.exp(logits - top[:, None])
    total = w.sum(-1)
    w = w / total[:, None]
    mean = (w * distance).sum(-1)
    second = (w**2).sum(-1)
    pull = w * s
    return {
        "log_sum": top + np.log(total),
        "participation_ratio": second,
        "fourth_power_ratio": (w**4).sum(-1) / second**2,
        "entropy": -np.sum(np.where(w > 0, w * np.log(np.where(w > 0, w, 1)), 0), -1),
        "distance_mean": mean,
        "distance_variance": (w * (distance - mean[:, None]) ** 2).sum(-1),
        "squared_weights_distance_mean": (w**2 * distance).sum(-1) / second,
        "mean_shift": pull @ points - pull.sum(-1, keepdims=True) * queries,
        "nearest_squared_distance": np.where(np.isneginf(logits), np.inf, distance).min(-1),
    }


def compare(got, expected, rtol, atol=0.0):
    assert set(got._fields) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(
            getattr(got, name), value, rtol=rtol, atol=max(atol, rtol), err_msg=name
        )


@pytest.mark.parametrize("unequal", [False, True])
@pytest.mark.parametrize(("m", "n"), [(7, 3), (QUERY_BLOCK + 1, 2 * POINT_BLOCK + 3)])
def test_equals_the_direct_sum(x64, m, n, unequal):
    arguments = problem(m, n, 3)
    precision = jnp.linspace(0.5, 30.0, m)
    own = jnp.linspace(0.5, 3.0, n) if unequal else None
    got = kernel_statistics(*arguments, precision, point_precision=own)
    compare(got, direct(*arguments, precision, own), 1e-10)


def test_labels_and_zero_weights_leave_points_out(x64):
    """Also where whole blocks are left out, and the sum is far below one."""
    queries, points, log_weights = problem(20, 2 * POINT_BLOCK + 50, 2)
    points = points / jnp.linalg.norm(points, axis=-1, keepdims=True)
    queries = 0.01 * queries
    log_weights = log_weights.at[POINT_BLOCK : 2 * POINT_BLOCK].set(-jnp.inf)
    labels = jnp.arange(points.shape[0]) // POINT_BLOCK
    asked = jnp.where(jnp.arange(20) < 15, 0, 2)
    got = kernel_statistics(
        queries, points, log_weights, 4e3, query_labels=asked, point_labels=labels
    )
    expected = direct(
        queries, points, log_weights, 4e3, query_labels=asked, labels=np.asarray(labels)
    )
    assert (expected["log_sum"] < -1500).all()
    compare(got, expected, 1e-9)


def test_no_point_left():
    queries, points, log_weights = problem(2, 5, 2, jnp.float32)
    got = kernel_statistics(queries, points, jnp.full_like(log_weights, -jnp.inf))
    assert jnp.isneginf(got.log_sum).all()
    assert jnp.isposinf(got.nearest_squared_distance).all()
    assert jnp.isnan(got.participation_ratio).all()
    assert jnp.isnan(got.distance_mean).all()


# The rounding of a distance r from the centre is eps r^2, here 3e4 eps = 4e-3 in float32. The
# direct sum is of the same float32 numbers. Log weights are the exponents' to 4e-3, and the
# spread of the distances, of order 1e2, keeps two digits more than r^2 eps would leave to
# a variance taken as the difference of squares (3e4^2 eps = 1e2).
@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float64, 1e-9), (jnp.float32, 1e-2)])
def test_the_far_tail(x64, dtype, tolerance):
    _, points, log_weights = problem(1, 2000, 3, dtype)
    queries = jnp.array([[100.0, 100.0, 100.0], [-100.0, 0.0, 100.0]], dtype)
    # A wide kernel, so that many points have a say although all are far.
    got = kernel_statistics(queries, points, log_weights, 1e-3)
    expected = direct(queries, points, log_weights, 1e-3)
    compare(got, expected, tolerance)
    narrow = kernel_statistics(queries, points, log_weights, 1.0)
    expected = direct(queries, points, log_weights, 1.0)
    assert expected["log_sum"].max() < -9_000
    compare(narrow, expected, tolerance)


@pytest.mark.thorough
def test_derivatives(x64):
    """Against the identities in `log_sum`, and each field's gradient against differences."""
    queries, points, log_weights = problem(5, 40, 2)
    got = kernel_statistics(queries, points, log_weights, 1.5)

    def log_sums(log_precision):
        sums = log_sum_exp(queries, points, log_weights, jnp.exp(log_precision))
        squares = log_sum_exp(queries, points, 2 * log_weights, 2 * jnp.exp(log_precision))
        return sums, squares - 2 * sums

    at = jnp.log(jnp.asarray(1.5))
    slope, of_participation = jax.jacfwd(log_sums)(at)
    np.testing.assert_allclose(-0.5 * 1.5 * got.distance_mean, slope, rtol=1e-10)
    np.testing.assert_allclose(
        1.5 * (got.distance_mean - got.squared_weights_distance_mean),
        of_participation,
        rtol=1e-10,
    )
    score = jax.grad(lambda q: log_sum_exp(q, points, log_weights, 1.5).sum())(queries)
    np.testing.assert_allclose(1.5 * got.mean_shift, score, rtol=1e-9, atol=1e-12)

    def differentiable(queries, points, log_weights, precision, own):
        got = kernel_statistics(queries, points, log_weights, precision, point_precision=own)
        return got._replace(nearest_squared_distance=None)

    arguments = (queries, points, log_weights, jnp.asarray(1.5), jnp.linspace(0.5, 2.0, 40))
    check_grads(
        lambda *a: differentiable(*map(jnp.asarray, a)), arguments, order=1, modes=["fwd", "rev"]
    )


@pytest.mark.thorough
def test_gradients_are_finite_where_points_are_left_out():
    queries, points, log_weights = problem(5, 40, 2, jnp.float32)
    log_weights = log_weights.at[3].set(-jnp.inf)
    labels = jnp.arange(40) // 8

    def total(queries, points, precision):
        got = kernel_statistics(
            queries, points, log_weights, precision, query_labels=labels[:5], point_labels=labels
        )
        return sum(jnp.sum(field) for field in got)

    for gradient in jax.grad(total, (0, 1, 2))(queries, points, jnp.float32(1.0)):
        assert jnp.isfinite(gradient).all()


def test_memory_does_not_grow_with_the_matrix():
    """Temporaries of value and gradient at n = m = 20 000 stay far below the 1.6 GB of n x m."""
    rows = jax.ShapeDtypeStruct((20_000, 8), jnp.float32)
    weights = jax.ShapeDtypeStruct((20_000,), jnp.float32)

    def megabytes(function):
        compiled = jax.jit(function).lower(rows, rows, weights).compile()
        return compiled.memory_analysis().temp_size_in_bytes / 1e6

    assert megabytes(kernel_statistics) < 30
    total = jax.grad(lambda *a: jnp.sum(kernel_statistics(*a).participation_ratio), (0, 1, 2))
    assert megabytes(total) < 100


@pytest.mark.parametrize("devices", [1, 8])
def test_sharded_points_give_the_same_numbers(x64, devices):
    queries, points, log_weights = problem(40, 1000, 3)
    log_weights = log_weights.at[:125].set(-jnp.inf)  # the first of 8 devices has nothing
    own = jnp.linspace(0.5, 2.0, 1000)
    axis = PartitionSpec("data")
    mesh = jax.make_mesh((devices,), ("data",), axis_types=(AxisType.Auto,))

    def shard(queries, points, log_weights, own):
        return kernel_statistics(
            queries, points, log_weights, 3.0, point_precision=own, axis_name="data"
        )

    sharded = jax.jit(
        jax.shard_map(
            shard,
            mesh=mesh,
            in_specs=(PartitionSpec(), axis, axis, axis),
            out_specs=PartitionSpec(),
        )
    )
    expected = kernel_statistics(queries, points, log_weights, 3.0, point_precision=own)
    got = sharded(queries, points, log_weights, own)
    chex.assert_trees_all_close(got, expected, rtol=1e-10, atol=1e-11)
    if devices > 1:
        text = sharded.lower(queries, points, log_weights, own).compile().as_text()
        assert len(re.findall(r"= \S+ all-reduce(?:-start)?\(", text)) == 2
        assert "all-gather(" not in text

    def gradient(function):
        return jax.grad(lambda q: jnp.sum(function(q).distance_variance))(queries)

    np.testing.assert_allclose(
        gradient(lambda q: sharded(q, points, log_weights, own)),
        gradient(lambda q: kernel_statistics(q, points, log_weights, 3.0, point_precision=own)),
        rtol=1e-8,
        atol=1e-9,
    )


def test_traced_once_and_batched():
    compiled = jax.jit(chex.assert_max_traces(kernel_statistics, n=1))
    queries, points, log_weights = problem(5, 20, 2, jnp.float32)
    compiled(queries, points, log_weights, 1.0)
    got = compiled(queries + 1, points, log_weights, 2.0)
    assert all(field.dtype == jnp.float32 for field in got)
    batched = jax.vmap(functools.partial(kernel_statistics, queries + 1, points, log_weights))
    chex.assert_trees_all_close(
        jax.tree.map(lambda a: a[1], batched(jnp.array([1.0, 2.0]))), got, rtol=1e-5, atol=1e-5
    )
