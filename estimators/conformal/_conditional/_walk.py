"""From corner to corner of the regression, as its right-hand side moves along a line.

`walk` goes one way to its end. `walk_together` goes many ways from one corner, a few steps of a
block of them at a time; in between, those that have arrived make room for others.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from estimators._core import product
from estimators._core._blocks import map_blocks
from estimators.conformal._conditional._program import (
    ABOVE,
    BASIC,
    BELOW,
    GONE,
    Corner,
    Program,
    refined,
    residuals,
)

MOVING, ARRIVED, BLOCKED = range(3)
# Ways that go together, as far as the longest of them within so many steps: with one of 13 steps
# among ways of 6 on average, blocks that walk to their end wait for half of their time.
BLOCK, STEPS = 64, 2


class Walk(NamedTuple):
    """Where the walk has come to.

    `left` is the way that is left; `status` is ARRIVED, or BLOCKED where no corner has the
    right-hand side beyond this one, or MOVING where the pivots ran out.
    """

    corner: Corner
    left: Float[Array, ""]
    status: Int[Array, ""]
    pivots: Int[Array, ""]


def walk(program: Program, corner: Corner, direction, distance, most: int) -> Walk:
    """Follow the optimum while `direction` is added to the right-hand side, up to a distance.

    A parametric simplex method. The shares of the basis move in proportion; where one reaches
    the end of its range, its row leaves, the regression turns about the others until it meets
    another row, and that one enters. Every corner on the way is optimal, and the regression at
    `direction` never falls. A share that reaches its end on arrival stays: of two corners that
    meet there, the first is the limit from before.
    """
    return _go_on(program, _start(corner, distance), direction, most)


def walk_together(program: Program, corner: Corner, directions, distances, most: int) -> Walk:
    """`walk` along each of `(m, d)` directions, up to distances `(m,)`."""

    def unfinished(state):
        return (_is_moving(state[0], most)).any()

    def some_steps(state):
        walks, ways = state
        order = jnp.argsort(~_is_moving(walks, most))  # those that go on, together
        walks, ways = jax.tree.map(lambda leaf: leaf[order], (walks, ways))

        def one(arguments):
            walk, way = arguments
            return _go_on(program, walk, directions[way], jnp.minimum(walk.pivots + STEPS, most))

        return map_blocks(jax.vmap(one), (walks, ways), BLOCK), ways

    starts = jax.vmap(lambda distance: _start(corner, distance))(distances)
    ways = jnp.arange(distances.shape[0])
    walks, ways = jax.lax.while_loop(unfinished, some_steps, (starts, ways))
    back = jnp.argsort(ways)
    return jax.tree.map(lambda leaf: leaf[back], walks)


def _start(corner: Corner, distance) -> Walk:
    zero = jnp.zeros((), jnp.int32)
    return Walk(corner, distance, zero, zero)


def _is_moving(state: Walk, most):
    return (state.status == MOVING) & (state.pivots < most)


def _go_on(program: Program, state: Walk, direction, most) -> Walk:
    """Take steps until the walk ends, or has taken `most` pivots in all."""
    eps = jnp.finfo(program.scores.dtype).eps
    lengths = jnp.linalg.norm(program.design, axis=1)

    def advance(state):
        corner, left = state.corner, state.left
        rate = product(corner.inverse.T, direction)
        sizes = jnp.linalg.norm(corner.inverse, axis=0)
        rate = jnp.where(jnp.abs(rate) <= 64 * eps * sizes * jnp.linalg.norm(direction), 0, rate)
        largest = (corner.basis < program.count).astype(rate.dtype)
        room = jnp.maximum(jnp.where(rate > 0, largest - corner.shares, corner.shares), 0)
        speed = jnp.abs(rate)
        arrived = (speed * left <= room + program.slack).all()
        reach = jnp.where(speed > 0, room / jnp.where(speed > 0, speed, 1), jnp.inf)
        step = jnp.minimum(jnp.min(reach), left)
        shares = corner.shares + jnp.where(arrived, left, step) * rate
        # Of all that end there the fastest leaves: a pivot of good size.
        out = jnp.argmax(jnp.where(reach <= step, speed, -1))
        turn = jnp.sign(rate[out]) * corner.inverse[:, out]
        slope = product(program.design, turn)
        small = jnp.abs(slope) <= 64 * eps * lengths * jnp.linalg.norm(turn)
        above, below = corner.sides == ABOVE, corner.sides == BELOW
        towards = ~small & ((above & (slope > 0)) | (below & (slope < 0)))
        gap = jnp.maximum(residuals(program, corner) / jnp.where(towards, slope, 1), 0)
        gap = jnp.where(towards, gap, jnp.inf)
        into = jnp.argmax(jnp.where(gap <= jnp.min(gap), jnp.abs(slope), -1))
        moved = _pivot(program, corner, shares, out, into, rate[out] > 0)
        blocked = ~arrived & ~towards.any()
        corner = jax.tree.map(
            lambda old, new: jnp.where(arrived | blocked, old, new),
            Corner(corner.basis, corner.inverse, shares, corner.sides),
            moved,
        )
        status = jnp.where(arrived, ARRIVED, jnp.where(blocked, BLOCKED, MOVING))
        pivots = state.pivots + (status == MOVING)
        return Walk(corner, left - step, status.astype(jnp.int32), pivots)

    return jax.lax.while_loop(lambda state: _is_moving(state, most), advance, state)


def _pivot(program: Program, corner: Corner, shares, out, into, was_below) -> Corner:
    """Exchange the `out`-th row of the basis for the row `into`."""
    leaving, entering = corner.basis[out], corner.sides[into]
    row = product(program.design[into], corner.inverse)
    size = row[out]
    change = row.at[out].add(-1) / jnp.where(size == 0, 1, size)
    inverse = corner.inverse - corner.inverse[:, out][:, None] * change[None]
    basis = corner.basis.at[out].set(into.astype(jnp.int32))
    side = jnp.where(leaving >= program.count, GONE, jnp.where(was_below, BELOW, ABOVE))
    sides = corner.sides.at[leaving].set(side).at[into].set(BASIC)
    shares = shares.at[out].set((entering == BELOW).astype(shares.dtype))
    return Corner(basis, refined(program, basis, inverse), shares, sides)
