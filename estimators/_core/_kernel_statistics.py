"""One streaming pass over the points for all that a kernel sum can say about itself.

With w_j the kernel weights of a query q, scaled to sum to one,

    w_j  proportional to  exp(log_weights_j - precision D_j / 2),   D_j = s_j |q - x_j|^2,

s_j one or the precision of the point, `kernel_statistics` gives the log of the sum, how few
points carry it (sum w^2, sum w^4 / (sum w^2)^2, the entropy), the moments of D under the
weights, of which derivatives in the bandwidth are made, and the direction of the score.

Blocks merge associatively, everything relative to the running maximum of the exponents, so
that nothing underflows in the far tail. Memory is O(block), forwards and backwards.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Integer, Real

from estimators._core._blocks import map_blocks, reduce_blocks
from estimators._core._log_sum_exp import PointBlocks, QueryBlock, block_logits, in_blocks


class KernelStatistics(NamedTuple):
    """What `kernel_statistics` finds at each of m queries; D in squared units of the points.

    Where no point is left `log_sum` is -inf, `nearest_squared_distance` inf, the rest NaN.
    """

    log_sum: Float[Array, " m"]
    """Log of the kernel sum, as `log_sum_exp`."""
    participation_ratio: Float[Array, " m"]
    """Sum of w^2: one over the number of points that carry the sum."""
    fourth_power_ratio: Float[Array, " m"]
    """Sum of w^4 over the square of the sum of w^2: one over the number of points that carry
    the sum's variance. With equal `log_weights` it is the participation ratio at twice the
    precision."""
    entropy: Float[Array, " m"]
    """Minus the sum of w log w, nats."""
    distance_mean: Float[Array, " m"]
    """Mean of D under w: minus twice the derivative of `log_sum` in the precision."""
    distance_variance: Float[Array, " m"]
    """Variance of D under w: four times the second derivative."""
    squared_weights_distance_mean: Float[Array, " m"]
    """Mean of D under w^2; less than under w. The log of the participation ratio grows with
    the log precision at the rate `precision (distance_mean - this)`."""
    mean_shift: Float[Array, "m d"]
    """Sum of w s (x - q). The score is `precision` times it; where points have no precision
    of their own, q plus it is the weighted mean of the points."""
    nearest_squared_distance: Float[Array, " m"]
    """The smallest D of a point that has weight; constant to derivatives."""


def kernel_statistics(
    queries: Float[Array, "m d"],
    points: Float[Array, "n d"],
    log_weights: Float[Array, " n"],
    precision: Real[ArrayLike, "..."] = 1.0,
    *,
    point_precision: Float[Array, " n"] | None = None,
    query_labels: Integer[Array, " m"] | None = None,
    point_labels: Integer[Array, " n"] | None = None,
    axis_name: str | None = None,
) -> KernelStatistics:
    """Statistics of the kernel weights at each query, in one pass over the points.

    Args:
        queries: where to evaluate; centred like `points`.
        points: the kernels' centres.
        log_weights: log weight of each point; -inf leaves the point out.
        precision: one over the squared bandwidth, positive, shape `()` or `(m,)`.
        point_precision: as in `log_sum_exp`.
        query_labels: as in `log_sum_exp`.
        point_labels: as in `log_sum_exp`.
        axis_name: inside `jax.shard_map`, the mesh axis over which the points are split;
            the result is then that of all points (two all-reduces, no gather).

    Returns:
        See `KernelStatistics`.
    """
    asked, parts = in_blocks(
        queries,
        points,
        log_weights,
        precision,
        point_precision=point_precision,
        query_labels=query_labels,
        point_labels=point_labels,
    )

    @jax.checkpoint  # else every query block would store what it read of the points
    def one_block(block):
        return _finish(block, *_total(block, parts, axis_name))

    return map_blocks(one_block, asked)


class _Sums(NamedTuple):
    """Sums over some points, e = exp(logit - top), g the gap of `_gaps`; merged by `_merge`."""

    top: Float[Array, " m"]  # the highest logit, -inf where no point is left
    nearest: Float[Array, " m"]  # the smallest gap
    gap: Float[Array, " m"]  # mean of g under e, and the sum of e (g - gap)^2: a sum of g^2
    scatter: Float[Array, " m"]  # would lose the variance of distances far from all points
    first: Float[Array, " m"]  # sum e
    second: Float[Array, " m"]  # sum e^2
    fourth: Float[Array, " m"]  # sum e^4
    second_gap: Float[Array, " m"]  # sum e^2 g
    log_first: Float[Array, " m"]  # sum e log e
    pull: Float[Array, "m columns"]  # sum e s x, and sum e s where points have a precision


def _total(queries: QueryBlock, parts: PointBlocks, axis_name):
    """The sums over all points for one block of queries."""

    @jax.checkpoint
    def block(part: PointBlocks):
        return _block(queries, part)

    sums = reduce_blocks(block, _merge, parts)
    if axis_name is None:
        return sums, sums.scatter / sums.first
    extremes = jax.lax.stop_gradient(jnp.stack([sums.top, -sums.nearest]))
    top, nearest = jax.lax.pmax(extremes, axis_name)
    moved = _rescale(sums, top)
    # About a reference that all shards know, so that one all-reduce serves mean and variance.
    reference = jnp.where(jnp.isfinite(nearest), -nearest, 0)
    offset = jnp.where(moved.first > 0, moved.gap - reference, 0)
    columns = jnp.stack(
        [
            *(moved.first, moved.second, moved.fourth, moved.second_gap, moved.log_first),
            moved.first * offset,
            moved.scatter + moved.first * offset**2,
        ],
        -1,
    )
    columns = jax.lax.psum(jnp.concatenate([columns, moved.pull], -1), axis_name)
    first, second, fourth, second_gap, log_first, shift, square = columns[:, :7].T
    mean = shift / first
    variance = square / first - mean**2
    pull = columns[:, 7:]
    gap = reference + mean
    whole = _Sums(top, -nearest, gap, square, first, second, fourth, second_gap, log_first, pull)
    return whole, variance


def _block(queries: QueryBlock, part: PointBlocks) -> _Sums:
    """The sums over one block of points."""
    bare = part._replace(log_weights=jnp.zeros_like(part.log_weights), labels=None)
    exponents = block_logits(queries, bare)
    logits = exponents + part.log_weights[None, :]
    if queries.labels is not None and part.labels is not None:
        logits = jnp.where(queries.labels[:, None] == part.labels[None, :], -jnp.inf, logits)
    left_out = jnp.isneginf(logits)
    # The squared distance up to `_common` of each query: smaller, and so is its rounding.
    gaps = (-2 / queries.precision)[:, None] * exponents
    top = jax.lax.stop_gradient(jnp.max(logits, -1))
    relative = jnp.where(left_out, 0, logits - jnp.where(jnp.isneginf(top), 0, top)[:, None])
    e = jnp.where(left_out, 0, jnp.exp(relative))
    square = e**2
    first = jnp.sum(e, -1)
    gap = jnp.sum(e * gaps, -1) / jnp.where(first > 0, first, 1)
    x = part.points
    if part.precision is not None:
        s = part.precision[:, None]
        x = jnp.concatenate([s * x, s], -1)
    return _Sums(
        top=top,
        nearest=jax.lax.stop_gradient(jnp.min(jnp.where(left_out, jnp.inf, gaps), -1)),
        gap=gap,
        scatter=jnp.sum(e * (gaps - gap[:, None]) ** 2, -1),
        first=first,
        second=jnp.sum(square, -1),
        fourth=jnp.sum(square**2, -1),
        second_gap=jnp.sum(square * gaps, -1),
        log_first=jnp.sum(e * relative, -1),
        pull=jnp.matmul(e, x, precision=jax.lax.Precision.HIGHEST),
    )


def _rescale(sums: _Sums, top) -> _Sums:
    """The same sums relative to a higher `top`."""
    empty = jnp.isneginf(sums.top)
    down = jnp.where(empty, 0, sums.top - jnp.where(empty, 0, top))
    scale = jnp.where(empty, 0, jnp.exp(down))
    return sums._replace(
        top=top,
        scatter=scale * sums.scatter,
        first=scale * sums.first,
        second=scale**2 * sums.second,
        fourth=scale**4 * sums.fourth,
        second_gap=scale**2 * sums.second_gap,
        log_first=scale * (sums.log_first + down * sums.first),
        pull=scale[:, None] * sums.pull,
    )


def _merge(one: _Sums, other: _Sums) -> _Sums:
    """The sums over the points of both."""
    top = jnp.maximum(one.top, other.top)
    one, other = _rescale(one, top), _rescale(other, top)
    both = jax.tree.map(jnp.add, one, other)
    # Chan, Golub & LeVeque's update of a mean and a sum of squares about it.
    share = other.first / jnp.where(both.first > 0, both.first, 1)
    apart = other.gap - one.gap
    return both._replace(
        top=top,
        nearest=jnp.minimum(one.nearest, other.nearest),
        gap=one.gap + share * apart,
        scatter=both.scatter + one.first * share * apart**2,
    )


def _finish(queries: QueryBlock, sums: _Sums, variance) -> KernelStatistics:
    """From sums to statistics."""
    q, precision = queries.queries, queries.precision
    d = q.shape[1]
    own = sums.pull.shape[1] > d  # the points have a precision of their own
    squares = jnp.sum(q**2, -1)
    common = jnp.zeros_like(squares) if own else squares
    mass = sums.pull[:, d] / sums.first if own else jnp.ones_like(squares)
    top = jnp.where(jnp.isneginf(sums.top), 0, sums.top)
    return KernelStatistics(
        log_sum=top + jnp.log(sums.first) - 0.5 * precision * common,
        participation_ratio=sums.second / sums.first**2,
        fourth_power_ratio=sums.fourth / sums.second**2,
        entropy=jnp.log(sums.first) - sums.log_first / sums.first,
        # Far from the queries' centre rounding may leave a distance below zero.
        distance_mean=jnp.maximum(jnp.where(sums.first > 0, common + sums.gap, jnp.nan), 0),
        distance_variance=jnp.maximum(variance, 0),
        squared_weights_distance_mean=jnp.maximum(common + sums.second_gap / sums.second, 0),
        mean_shift=sums.pull[:, :d] / sums.first[:, None] - mass[:, None] * q,
        nearest_squared_distance=jnp.maximum(common + sums.nearest, 0),
    )
