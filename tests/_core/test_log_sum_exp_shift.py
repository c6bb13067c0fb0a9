"""The log-sum-exp on CPUs reuses the shift of earlier blocks: where that could go wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from estimators._core import log_sum_exp
from estimators._core._blocks import POINT_BLOCK, QUERY_BLOCK


def direct(queries, points, log_weights):
    """Differences and numpy in float64."""
    q, x = np.asarray(queries, np.float64), np.asarray(points, np.float64)
    logits = np.asarray(log_weights, np.float64)[None] - 0.5 * ((q[:, None] - x[None]) ** 2).sum(-1)
    top = logits.max(1)
    return top + np.log(np.exp(logits - top[:, None]).sum(1))


def agree(queries, points, log_weights, dtype):
    expected = direct(queries, points, log_weights)
    scale = 1 + np.abs(expected) + (np.asarray(queries, np.float64) ** 2).sum(-1)
    got = np.asarray(log_sum_exp(queries, points, log_weights))
    assert np.all(np.abs(got - expected) < 30 * float(jnp.finfo(dtype).eps) * scale)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("toward", [1, -1])
def test_each_block_raises_the_sum_beyond_overflow(x64, dtype, toward):
    """Blocks that lie ever nearer (exponents grow by far more than 88, and 709), and farther."""
    blocks = 5
    block = jnp.repeat(jnp.arange(blocks), POINT_BLOCK)[::toward]
    points = jnp.zeros((blocks * POINT_BLOCK, 2), dtype).at[:, 0].set(60.0 * block)
    queries = jax.random.normal(jax.random.key(0), (6, 2), dtype) + 240.0
    queries = queries.at[3:, 0].set(jnp.asarray([0.0, 100.0, 170.0], dtype))
    agree(queries, points, jnp.zeros(points.shape[0], dtype), dtype)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_a_block_without_points_hides_no_other(x64, dtype):
    """Every weight of some blocks is zero, and the sum of the others is below exp(-800)."""
    points = jnp.full((3 * POINT_BLOCK, 1), 40.0, dtype)
    for empty in (0, 1, 2):
        log_weights = jnp.zeros(3 * POINT_BLOCK, dtype)
        log_weights = log_weights.at[empty * POINT_BLOCK : (empty + 1) * POINT_BLOCK].set(-jnp.inf)
        got = log_sum_exp(jnp.zeros((2, 1), dtype), points, log_weights)
        np.testing.assert_allclose(got, -800 + np.log(2 * POINT_BLOCK), rtol=1e-6)


def test_one_bad_query_leaves_the_others_alone():
    points = jax.random.normal(jax.random.key(0), (3 * POINT_BLOCK, 2))
    log_weights = jnp.zeros(points.shape[0])
    got = log_sum_exp(points[:5].at[2].set(jnp.nan), points, log_weights)
    clean = np.asarray(log_sum_exp(points[:5], points, log_weights))
    assert np.isnan(got[2])
    np.testing.assert_allclose(np.delete(got, 2), np.delete(clean, 2), rtol=1e-6)


def test_batches_keep_one_branch():
    """Under vmap a branch whose choice is batched becomes a selection: both are computed."""
    points = jax.random.normal(jax.random.key(0), (2, 2 * POINT_BLOCK, 2))
    log_weights = jnp.zeros(2 * POINT_BLOCK)
    batched = jax.jit(jax.vmap(lambda x: log_sum_exp(x[:QUERY_BLOCK], x, log_weights)))
    assert "conditional(" in batched.lower(points).compile().as_text()
    got = batched(points)
    for one, x in zip(got, points, strict=True):
        np.testing.assert_allclose(one, log_sum_exp(x[:QUERY_BLOCK], x, log_weights), rtol=1e-5)
