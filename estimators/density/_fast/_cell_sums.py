"""The kernel sum of one block of queries over cells, to a relative error.

Cells are put in the order of what they can add at most, by the distance to their boxes:

    | 0 .. near: summed | near .. far: sampled | far .. : bounded, and left out |

A pilot, the first points of every cell, sets the scale, and says where to put the borders so
that the work is least. It is part of the sum and not of the sample, so that choosing by it does
no harm to the sample. One rank (the r-th point of every sampled cell) is one replicate of a
stratified sample: their spread is that of the estimate.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from estimators._core import student_quantile
from estimators._core._log_sum_exp import (
    PointBlocks,
    QueryBlock,
    anywhere,
    block_logits,
    half_squares,
    log_sum_exp,
)
from estimators.density._fast._cells import Cells

RANKS = 8  # ranks that are taken at once, and those of the pilot
GROUP = 64  # cells that are sampled at once
FEWEST_REPLICATES = 16
# Of the relative error, what cells left out may use up where others are sampled.
SHARE_OF_BOUND = 0.1
# No point that is not looked at may shift the estimate by more than this share of the error:
# else a sample could miss all of the few points that matter. Had it missed points that would
# shift the sum by more than the error, they were more than three jumps: it misses as many with
# probability below e^-3.
LARGEST_JUMP = 1 / 3
HIGHEST_LOG = 60.0  # beyond it exponentials relative to a scale count as infinite
FIRST_CELLS = 2
LEAST_GAIN = 0.6  # share of the work above which all points are summed: that is streamlined


class CellSum(NamedTuple):
    """What `cell_sum` finds at each of m queries."""

    log_sum: Float[Array, " m"]
    relative_error: Float[Array, " m"]
    sampled: Bool[Array, " m"]
    work: Float[Array, " m"]


def cell_sum(cells: Cells, relative_error, quantile, queries: Float[Array, "m d"]) -> CellSum:
    """Log of the kernel sum at neighbouring queries.

    Args:
        cells: the points.
        relative_error: of the sum.
        quantile: of the normal law, for the probability asked for.
        queries: the block; what one of them needs is done for all.
    """
    block = QueryBlock(queries, jnp.ones_like(queries[:, 0]), None)
    count, size = cells.log_weights.shape

    pilot = _exponents(block, jax.tree.map(lambda a: a[:, :RANKS].swapaxes(0, 1), cells.blocks))
    of_pilot = _finite(jnp.max(pilot, -1))
    pilot = jnp.exp(pilot - of_pilot[:, None]).reshape(-1, RANKS, count)
    top, total = of_pilot, jnp.sum(pilot, (1, 2))

    of_cell, of_point = (_known(a) for a in cells.log_bounds(queries))
    order = jnp.argsort(-jnp.max(_known(of_cell - (top + jnp.log(total))[:, None]), 0))
    of_cell, of_point = of_cell[:, order], of_point[:, order]
    # The nearest cells at once: without them a condensed sum has no scale.
    first = min(FIRST_CELLS, count)
    nothing_known = Bounds(order, top, of_cell, jnp.full_like(of_point, jnp.inf))
    for k in range(first):
        top, total = _with_cell(block, cells, nothing_known, k, top, total)
    # From here on all is relative to `scale`, a guess at the log of the sum.
    guess = jnp.sum(pilot, (1, 2)) * (size / RANKS) * jnp.exp(of_pilot - top)
    scale = top + jnp.log(jnp.maximum(total, guess))
    bounds = Bounds(
        order,
        scale,
        _from_here_on(_above(of_cell, scale[:, None]), jnp.cumsum),
        _above(of_point, scale[:, None]),
    )
    spread = jnp.std(pilot, 1, ddof=1)[:, order] * jnp.exp(of_pilot - scale)[:, None]
    near, hopeless = _plan(bounds, spread, size, relative_error, quantile)

    def exact():
        points = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), cells.blocks)
        value = log_sum_exp(
            queries, points.points, points.log_weights, point_precision=points.precision
        )
        zero = jnp.zeros_like(value)
        work = 1 + RANKS / size + first / count
        return CellSum(value, jnp.where(jnp.isnan(value), value, zero), zero > 0, zero + work)

    def by_parts():
        return _by_parts(block, cells, bounds, (first, near), top, total, relative_error, quantile)

    return jax.lax.cond(anywhere(hopeless), exact, by_parts)


class Bounds(NamedTuple):
    """Cells in the order of what they can add, with bounds relative to `exp(scale)`.

    Infinite where a bound is too large for its value to matter.
    """

    order: Int[Array, " cells"]
    scale: Float[Array, " m"]
    remainder: Float[Array, "m cells_and_one"]
    of_point: Float[Array, "m cells"]

    def left_out(self, at, top) -> Float[Array, " m"]:
        """Half of the bound on cells from `at` on: to add as much halves the error too."""
        return 0.5 * self.remainder[:, at] * jnp.exp(self.scale - top)


def _by_parts(
    block: QueryBlock, cells: Cells, bounds: Bounds, plan, top, total, relative_error, quantile
) -> CellSum:
    """Sum the near cells, sample those between, bound the rest. `total` has the pilot."""
    count, size = cells.log_weights.shape
    rest = size - RANKS

    def certain(k, top, total):
        return jnp.all((bounds.left_out(k, top) <= relative_error * total) | jnp.isnan(total))

    near, top, total = jax.lax.while_loop(
        lambda s: (s[0] < plan[1]) & ~certain(*s),
        lambda s: (s[0] + 1, *_with_cell(block, cells, bounds, *s)),
        (jnp.asarray(plan[0], jnp.int32), top, total),
    )
    left_out = 0.5 * bounds.remainder * jnp.exp(bounds.scale - top)[:, None]
    small = left_out <= SHARE_OF_BOUND * relative_error * total[:, None]
    far = jnp.argmax(jnp.all(small | jnp.isnan(total)[:, None], 0)).astype(jnp.int32)
    far = jnp.where(certain(near, top, total), near, jnp.maximum(near, far))
    column = jnp.arange(count)[None]
    peak = jnp.max(jnp.where((column >= near) & (column < far), bounds.of_point, 0), -1)

    def judge(taken, top, total, first, second):
        """The estimate and its error, and whether every query's will do."""
        mean = first / taken
        variance = jnp.maximum(second / taken - mean**2, 0) / (taken - 1)
        variance = variance * (rest - taken) / rest  # none is left out, no error
        bound = bounds.left_out(far, top)
        estimate = total + rest * mean + bound
        error = (
            student_quantile(quantile, taken - 1) * rest * jnp.sqrt(variance) + bound
        ) / estimate
        jump = peak * jnp.exp(bounds.scale - top) * rest / taken
        good = (error <= relative_error) & (jump <= LARGEST_JUMP * relative_error * estimate)
        return estimate, error, jnp.all(good | jnp.isnan(estimate))

    def unsure(state):
        taken, *sums = state
        # To look after every step would be to stop where the spread is small by chance.
        look = (taken >= FEWEST_REPLICATES) & ((taken & (taken - 1)) == 0)
        done = look & judge(taken.astype(total.dtype), *sums)[2]
        return (far > near) & (taken < rest) & ~done

    def sample(state):
        taken, top, total, first, second = state
        higher, sums = _replicates(block, cells, bounds.order, near, far, taken, top)
        change = jnp.exp(top - higher)
        first = first * change + jnp.sum(sums, -1)
        second = second * change**2 + jnp.sum(sums**2, -1)
        return taken + RANKS, higher, total * change, first, second

    zero = jnp.zeros_like(total)
    taken, *sums = jax.lax.while_loop(
        unsure, sample, (jnp.zeros((), jnp.int32), top, total, zero, zero)
    )
    estimate, error, _ = judge(jnp.maximum(taken, 2).astype(total.dtype), *sums)
    work = (count * RANKS + near * rest + (far - near) * taken) / (count * size)
    return CellSum(
        sums[0] + jnp.log(estimate),
        error,
        jnp.broadcast_to((far > near) & (taken < rest), error.shape),
        jnp.broadcast_to(work.astype(error.dtype), error.shape),
    )


def _exponents(block: QueryBlock, part: PointBlocks) -> Float[Array, "m rows"]:
    part = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), part)
    return block_logits(block, part) - half_squares(block, part)[:, None]


def _with_cell(block, cells, bounds, k, top, total):
    """Add the k-th cell to `(top, total)`, the sum `exp(top) total`, without its pilot points."""
    part = jax.tree.map(lambda a: a[bounds.order[k], RANKS:], cells.blocks)
    # Where no exponential can overflow, one pass does instead of two.
    high = ~(bounds.of_point[:, k] * jnp.exp(bounds.scale - top) < jnp.exp(HIGHEST_LOG))

    def one_pass():
        logits = block_logits(block, part) - (half_squares(block, part) + top)[:, None]
        return top, total + jnp.sum(jnp.exp(logits), -1)

    def two_passes():
        logits = _exponents(block, jax.tree.map(lambda a: a[None], part))
        higher = jnp.maximum(top, _finite(jnp.max(logits, -1)))
        more = jnp.sum(jnp.exp(logits - higher[:, None]), -1)
        return higher, total * jnp.exp(top - higher) + more

    return jax.lax.cond(anywhere(high), two_passes, one_pass)


def _replicates(block, cells, order, near, far, taken, top):
    """Sums over the cells near .. far of their next ranks, one sum each: `(top, (m, RANKS))`."""
    count, size = cells.log_weights.shape
    group = min(GROUP, count)
    ranks = jax.tree.map(
        lambda a: a.reshape(count, size // RANKS, RANKS, *a.shape[2:]), cells.blocks
    )

    def add_a_group(state):
        k, top, sums = state
        position = k + jnp.arange(group)
        chosen = order[jnp.minimum(position, count - 1)]
        part = jax.tree.map(lambda a: a[chosen, 1 + taken // RANKS].swapaxes(0, 1), ranks)
        log_weights = jnp.where((position < far)[None], part.log_weights, -jnp.inf)
        logits = _exponents(block, part._replace(log_weights=log_weights))
        higher = jnp.maximum(top, _finite(jnp.max(logits, -1)))
        values = jnp.exp(logits - higher[:, None]).reshape(-1, RANKS, group)
        return k + group, higher, sums * jnp.exp(top - higher)[:, None] + jnp.sum(values, -1)

    sums = jnp.zeros((top.shape[0], RANKS), top.dtype)
    return jax.lax.while_loop(lambda s: s[0] < far, add_a_group, (near, top, sums))[1:]


def _plan(bounds: Bounds, spread, size, relative_error, quantile):
    """How many cells to sum before sampling the others, for the least work; whether none helps.

    Only a plan: what it hopes for is checked as the sum goes on.
    """
    rest = size - RANKS
    count = spread.shape[1]
    allowed = jnp.maximum(relative_error, jnp.finfo(spread.dtype).eps)
    cells = jnp.arange(count + 1)
    far = jnp.argmax(jnp.all(0.5 * bounds.remainder <= SHARE_OF_BOUND * allowed, 0))
    pruned = jnp.argmax(jnp.all(0.5 * bounds.remainder <= allowed, 0))
    used = (cells[:-1] < far)[None]
    variance = _from_here_on(jnp.where(used, (quantile * rest * spread) ** 2, 0), jnp.cumsum)
    jump = _from_here_on(jnp.where(used, bounds.of_point, 0), jax.lax.cummax)
    replicates = jnp.maximum(
        variance / (allowed**2 + variance / rest), rest * jump / (LARGEST_JUMP * allowed)
    )
    # The looks are at doubled numbers: half as many again on average.
    replicates = jnp.clip(1.5 * jnp.max(replicates, 0), FEWEST_REPLICATES, rest)
    work = jnp.where(cells <= far, cells * rest + (far - cells) * replicates, jnp.inf)
    best = jnp.argmin(work)
    least = jnp.minimum(pruned * rest, work[best])
    near = jnp.where(pruned * rest <= work[best], count, best).astype(jnp.int32)
    return near, least > LEAST_GAIN * count * rest


def _from_here_on(values, cumulate):
    """Reduce from each column to the last, with a last column of zeros: `(m, cells + 1)`."""
    from_here = jnp.flip(cumulate(jnp.flip(values, 1), axis=1), 1)
    return jnp.pad(from_here, ((0, 0), (0, 1)))


def _above(log_value, scale):
    """Exponential of a log relative to a scale; infinite, "not known", where it is too large."""
    relative = log_value - scale
    return jnp.where(relative > HIGHEST_LOG, jnp.inf, jnp.exp(jnp.minimum(relative, HIGHEST_LOG)))


def _known(bound):
    """Bounds at a query that is NaN must not disorder those of the others."""
    return jnp.where(jnp.isnan(bound), -jnp.inf, bound)


def _finite(top):
    return jnp.where(jnp.isfinite(top), top, jnp.finfo(top.dtype).min)
