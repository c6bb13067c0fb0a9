"""Streaming log-sum-exp of any kernel over pairs (query, point), in O(block) memory.

    L_i = log sum_j exp(log_weights_j + log_kernel(query_i, point_j))

`log_sum_exp` is the fast path for Gaussian kernels. This one takes any function of a block of
queries and a block of points: radial kernels, products of one kernel a column.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, PyTree

from estimators._core._blocks import into_blocks, map_blocks, reduce_blocks


def pairwise_log_sum(
    log_kernel: Callable,
    queries: PyTree,
    points: PyTree,
    log_weights: Float[Array, " n"],
    *,
    query_labels: Integer[Array, " m"] | None = None,
    point_labels: Integer[Array, " n"] | None = None,
    axis_name: str | None = None,
) -> Float[Array, " m"]:
    """Log of the weighted sum of a kernel at each query.

    Args:
        log_kernel: `(block of queries, block of points) -> (b, p)`. It may close over traced
            arrays, and derivatives go through them. It may return -inf, as a constant that
            has no derivative; at points of zeros it must be finite or -inf, because zeros
            fill up the last block.
        queries: pytree of arrays with m rows.
        points: pytree of arrays with n rows.
        log_weights: log weight of each point; -inf leaves the point out.
        query_labels: with `point_labels`, leaves out every point whose label equals the
            query's.
        point_labels: see `query_labels`.
        axis_name: inside `jax.shard_map`, the mesh axis over which the points are split;
            the result is then that of all points (two all-reduces, no gather).

    Returns:
        `(m,)`; -inf, with derivative zero, where no point has a kernel above zero; NaN where
        the query is NaN.
    """

    def without_statistics(queries, points):
        return log_kernel(queries, points), ()

    return pairwise_log_sum_and_means(
        without_statistics,
        queries,
        points,
        log_weights,
        query_labels=query_labels,
        point_labels=point_labels,
        axis_name=axis_name,
    )[0]


def pairwise_log_sum_and_means(
    kernel: Callable,
    queries: PyTree,
    points: PyTree,
    log_weights: Float[Array, " n"],
    *,
    query_labels: Integer[Array, " m"] | None = None,
    point_labels: Integer[Array, " n"] | None = None,
    axis_name: str | None = None,
) -> tuple[Float[Array, " m"], tuple[Float[Array, " m"], ...]]:
    """`pairwise_log_sum`, and means of statistics of the pairs under the kernel's weights.

    With `statistics` the derivatives of the log kernel by its parameters, the means are those
    of the log sum: values and slopes of a likelihood in one pass, without a backward one.

    Args:
        kernel: `(block of queries, block of points) -> (log kernel, statistics)`, where
            `statistics` is a tuple of finite arrays `(b, p)`.
        queries: pytree of arrays with m rows.
        points: pytree of arrays with n rows.
        log_weights: log weight of each point.
        query_labels: see `pairwise_log_sum`.
        point_labels: see `pairwise_log_sum`.
        axis_name: see `pairwise_log_sum`.

    Returns:
        The log sum `(m,)`, and for each statistic its mean `(m,)`; zero where the sum is -inf.
    """
    if query_labels is None or point_labels is None:
        query_labels = point_labels = None
    lowest = jnp.finfo(log_weights.dtype).min
    parts = (
        jax.tree.map(into_blocks, points),
        into_blocks(log_weights, fill=-jnp.inf),
        into_blocks(point_labels),
    )

    def merge(one, other):
        top = jnp.maximum(one[0], other[0])
        sums = zip(one[1], other[1], strict=True)
        fade, rise = jnp.exp(one[0] - top), jnp.exp(other[0] - top)
        return top, tuple(a * fade + b * rise for a, b in sums)

    # Twice jax.checkpoint: the outer one lets a query block forget the others, the inner one
    # lets it forget every block of points but the one at hand.
    @jax.checkpoint
    def one_block(block):
        queries, query_labels = block

        @jax.checkpoint
        def against(part):
            points, log_weights, point_labels = part
            logits, statistics = kernel(queries, points)
            logits = logits + log_weights[None, :]
            if query_labels is not None:
                logits = jnp.where(query_labels[:, None] == point_labels[None, :], -jnp.inf, logits)
            top = jnp.max(jax.lax.stop_gradient(logits), -1)
            # A block without a point must not raise the top of one whose sum is tiny.
            top = jnp.where(jnp.isfinite(top), top, lowest)
            weights = jnp.exp(logits - top[:, None])
            if statistics:  # else XLA computes them anew inside each of the sums
                weights = jax.lax.optimization_barrier(weights)
            sums = (jnp.sum(weights * statistic, -1) for statistic in statistics)
            return top, (jnp.sum(weights, -1), *sums)

        top, sums = reduce_blocks(against, merge, parts)
        if axis_name is not None:
            highest = jax.lax.pmax(jax.lax.stop_gradient(top), axis_name)
            sums = jax.lax.psum(tuple(a * jnp.exp(top - highest) for a in sums), axis_name)
            top = highest
        nothing = sums[0] == 0
        total = jnp.where(nothing, 1, sums[0])
        value = jnp.where(nothing, -jnp.inf, top + jnp.log(total))
        return value, tuple(a / total for a in sums[1:])

    return map_blocks(one_block, (queries, query_labels))
