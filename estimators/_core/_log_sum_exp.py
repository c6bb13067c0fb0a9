"""Streaming log-sum-exp of Gaussian kernels over points: the one sum that densities,
scores, leave-one-out likelihoods and regimes are made of.

    L_i = log sum_j exp(log_weights_j - precision_i point_precision_j |q_i - x_j|^2 / 2)

Queries and points are taken in blocks, so memory is O(block), forwards and backwards.
Callers centre queries and points on a common location first: the squared distance is
expanded into a matrix product, whose float32 error grows with |q|^2 eps.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Integer, Real

from estimators._core._blocks import into_blocks, map_blocks, reduce_blocks
from estimators._core._product import product


def log_sum_exp(
    queries: Float[Array, "m d"],
    points: Float[Array, "n d"],
    log_weights: Float[Array, " n"],
    precision: Real[ArrayLike, "..."] = 1.0,
    *,
    point_precision: Float[Array, " n"] | None = None,
    query_labels: Integer[Array, " m"] | None = None,
    point_labels: Integer[Array, " n"] | None = None,
    axis_name: str | None = None,
) -> Float[Array, " m"]:
    """Log of the weighted sum of Gaussian kernels at each query.

    Args:
        queries: where to evaluate; centred like `points`.
        points: the kernels' centres.
        log_weights: log weight of each point; -inf leaves the point out.
        precision: one over the squared bandwidth, shape `()` or `(m,)`.
        point_precision: `(n,)`, a factor for each point: kernels of unequal width. Their
            normalisation belongs into `log_weights`. None is faster than ones.
        query_labels: with `point_labels`, leaves out every point whose label equals the
            query's: its own index for leave-one-out, a fold number for cross-validation.
        point_labels: see `query_labels`.
        axis_name: inside `jax.shard_map`, the mesh axis over which the points are split;
            the result is then that of all points (two all-reduces, no gather).

    Returns:
        `(m,)`; -inf where no point is left. Differentiable any number of times, forwards
        and backwards, in the first four arguments.
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
        return _block_sum(block, parts, axis_name)

    return map_blocks(one_block, asked)


class QueryBlock(NamedTuple):
    """Queries that are worked on together."""

    queries: Float[Array, "m d"]
    precision: Float[Array, " m"]
    labels: Integer[Array, " m"] | None


class PointBlocks(NamedTuple):
    """Blocks of points, or one of them; log-weights of -inf fill up the last."""

    points: Float[Array, "*blocks size d"]
    log_weights: Float[Array, "*blocks size"]
    labels: Integer[Array, "*blocks size"] | None
    precision: Float[Array, "*blocks size"] | None

    @classmethod
    def of(cls, points, log_weights, labels=None, precision=None):
        """Cut the points of one sum into blocks."""
        return cls(
            into_blocks(points),
            into_blocks(log_weights, fill=-jnp.inf),
            into_blocks(labels),
            into_blocks(precision),
        )


def in_blocks(
    queries, points, log_weights, precision, *, point_precision, query_labels, point_labels
) -> tuple[QueryBlock, PointBlocks]:
    """The arguments of `log_sum_exp` in one dtype: all queries, and the points in blocks."""
    dtype = jnp.result_type(queries, points, log_weights)
    queries, points, log_weights = (a.astype(dtype) for a in (queries, points, log_weights))
    precision = jnp.broadcast_to(jnp.asarray(precision, dtype), queries.shape[:1])
    if point_precision is not None:
        point_precision = point_precision.astype(dtype)
    if query_labels is None or point_labels is None:
        query_labels = point_labels = None
    parts = PointBlocks.of(points, log_weights, point_labels, point_precision)
    return QueryBlock(queries, precision, query_labels), parts


def block_logits(queries: QueryBlock, part: PointBlocks) -> Float[Array, "m size"]:
    """The exponents of one block of pairs, up to `half_squares(queries)` of each query."""
    points, scaled = part.points, queries.precision[:, None] * queries.queries
    halves = 0.5 * jnp.sum(points**2, -1, keepdims=True)
    columns, of_queries = [points, halves], [scaled, -queries.precision[:, None]]
    if part.precision is not None:
        s = part.precision[:, None]
        columns = [s * points, s * halves, s]
        of_queries += [-0.5 * jnp.sum(scaled * queries.queries, -1, keepdims=True)]
    # The weights are added outside the product: -inf must not pass through the split
    # low-precision passes that accelerators make of a matrix product.
    pairs = product(jnp.concatenate(of_queries, -1), jnp.concatenate(columns, -1).T)
    logits = pairs + part.log_weights[None, :]
    if queries.labels is not None and part.labels is not None:
        logits = jnp.where(queries.labels[:, None] == part.labels[None, :], -jnp.inf, logits)
    return logits


def half_squares(queries: QueryBlock, part: PointBlocks) -> Float[Array, " m"]:
    """What `block_logits` left out, the same for every point: `precision |q|^2 / 2`.

    Zero where the points have a precision of their own; there it is no longer the same.
    """
    if part.precision is not None:
        return jnp.zeros_like(queries.precision)
    return 0.5 * queries.precision * jnp.sum(queries.queries**2, -1)


def _scaled(queries: QueryBlock, part: PointBlocks):
    """The largest exponent of each query in one block, and the sum of exponentials over its."""
    logits = block_logits(queries, part)
    top = jnp.max(logits, -1)
    # A block without a point must not raise the top of one whose sum is tiny.
    top = jnp.where(jnp.isfinite(top), top, jnp.finfo(top.dtype).min)
    return top, jnp.sum(jnp.exp(logits - top[:, None]), -1)


def _merged(one, other):
    top = jnp.maximum(one[0], other[0])
    return top, one[1] * jnp.exp(one[0] - top) + other[1] * jnp.exp(other[0] - top)


def _stream_from_the_top(queries: QueryBlock, parts: PointBlocks):
    """`(top, total)`, the sum as `exp(top) total`, with the largest exponent of every block."""
    return reduce_blocks(functools.partial(_scaled, queries), _merged, parts)


def _stream_from_a_shift(queries: QueryBlock, parts: PointBlocks):
    """The same `(top, total)`, looking for the largest exponent only where it is needed.

    Any number serves as `top` that lies neither so low that the exponentials overflow nor so
    high that they vanish. That of the blocks before cannot be too high, and where it is too low
    the sum says so: such a block is taken again by its largest exponent. A third of the time
    is saved, since most blocks are read once instead of twice.
    """
    first, rest = (jax.tree.map(lambda a, at=at: a[at], parts) for at in (0, slice(1, None)))
    limit = jnp.finfo(queries.queries.dtype).max ** 0.75

    def step(carry, part):
        top, total, careful = carry

        def shifted():
            logits = block_logits(queries, part) - top[:, None]
            more = total + jnp.sum(jnp.exp(logits), -1)
            return more, anywhere((more > limit) | (total == 0))

        def again():
            found = _merged((top, total), _scaled(queries, part))
            return *found, anywhere((found[0] - top > jnp.log(limit)) | (total == 0))

        more, careful = jax.lax.cond(careful, lambda: (total, careful), shifted)
        return jax.lax.cond(careful, again, lambda: (top, more, careful)), None

    top, total = _scaled(queries, first)
    (top, total, _), _ = jax.lax.scan(step, (top, total, anywhere(total == 0)), rest)
    return top, total


@jax.custom_batching.custom_vmap
def anywhere(mask) -> Bool[Array, ""]:
    """Whether any is true; under `jax.vmap` in the whole batch, so that a branch stays one."""
    return jnp.any(mask)


@anywhere.def_vmap
def _in_any_of_a_batch(_, __, mask):
    return anywhere(mask), False


def _block_sum(queries: QueryBlock, parts: PointBlocks, axis_name):
    """The sum for one block of queries, streaming over blocks of points."""
    return _sum_and_offset(queries, parts, axis_name)[0]


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _sum_and_offset(queries: QueryBlock, parts: PointBlocks, axis_name):
    """The log sum, and that of the exponents of `block_logits`, which is a constant to derivatives.

    They need the second, and cannot find it back from the first: far from the points
    `half_squares` takes all its digits.
    """
    # A branch a block would make an accelerator wait for the host.
    top, total = jax.lax.platform_dependent(
        queries, parts, cpu=_stream_from_a_shift, default=_stream_from_the_top
    )
    if axis_name is not None:
        highest = jax.lax.pmax(top, axis_name)
        total = jax.lax.psum(total * jnp.exp(top - highest), axis_name)
        top = highest
    offset = top + jnp.log(total)
    return offset - half_squares(queries, parts), offset


@_sum_and_offset.defjvp
def _sum_and_offset_jvp(axis_name, primals, tangents):
    """The derivative, with w the normalised kernel weights of a query q, p its precision.

    Sums run over the points x, their precision s:

        dL = sum w (dlogw + p s (x - q).(dq - dx) - (s dp + p ds) |q - x|^2 / 2)

    The weights are recomputed block by block, here and in the transpose, never stored.
    """
    queries, parts = primals
    d_queries, d_parts = tangents[0], tangents[1]._replace(labels=None)  # labels have none
    value, offset = _sum_and_offset(queries, parts, axis_name)
    scale = jnp.where(jnp.isfinite(offset), offset, 0)[:, None]

    def weighted_sums(columns, *arguments):
        """Sum of the weights, up to a factor, times the columns that a block of points gives."""

        @jax.checkpoint
        def one(arguments):
            weights = jnp.exp(block_logits(queries, arguments[0]) - scale)
            return product(weights, jnp.concatenate(columns(*arguments), -1))

        sums = reduce_blocks(one, jnp.add, arguments)
        return sums if axis_name is None else jax.lax.psum(sums, axis_name)

    def moments(part):
        ones = jnp.ones_like(part.log_weights)
        s = ones if part.precision is None else part.precision
        squares = jnp.sum(part.points**2, -1)
        return s[:, None] * part.points, (s * squares)[:, None], s[:, None], ones[:, None]

    def changes(part, change):
        squares = jnp.sum(part.points**2, -1, keepdims=True)
        along = jnp.sum(part.points * change.points, -1, keepdims=True)
        log_weights = change.log_weights[:, None]
        if part.precision is None:
            return change.points, along, log_weights
        s, ds = part.precision[:, None], change.precision[:, None]
        return s * change.points + ds * part.points, s * along + 0.5 * ds * squares, log_weights, ds

    q, precision = queries.queries, queries.precision
    squares = jnp.sum(q**2, -1)
    sums = weighted_sums(moments, parts)
    # Large exponents are rounded coarsely, and the scale with them: what makes the weights sum to
    # one is their own sum. It is zero where no point is left, and so is the derivative.
    total = jnp.where(sums[:, -1:] == 0, 1, sums[:, -1:])
    sums = sums / total
    mean, mean_square, mass = sums[:, :-3], sums[:, -3], sums[:, -2]
    distance = mean_square - 2 * jnp.sum(q * mean, -1) + mass * squares
    tangent = precision * jnp.sum((mean - mass[:, None] * q) * d_queries.queries, -1)
    tangent = tangent - 0.5 * distance * d_queries.precision
    d = q.shape[1]
    moved = weighted_sums(changes, parts, d_parts) / total
    along = jnp.sum(q * moved[:, :d], -1) - moved[:, d]
    tangent = tangent + precision * along + moved[:, d + 1]
    if parts.precision is not None:
        tangent = tangent - 0.5 * precision * squares * moved[:, d + 2]
    return (value, offset), (tangent, jnp.zeros_like(offset))
