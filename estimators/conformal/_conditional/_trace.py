"""From solution to solution of the regression with a kernel, as the weight of one row grows."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from estimators._core import product
from estimators.conformal._conditional._program import ABOVE, BASIC, BELOW, GONE
from estimators.conformal._conditional._tableau import Conditions, Row
from estimators.conformal._conditional._walk import ARRIVED, BLOCKED, MOVING


class Trace(NamedTuple):
    """Where the path has come to, and the exchanges on the way.

    The tableau there is `tableau - lefts.T @ rights`; `row` is the new row's part of it, `left`
    the way that is left, and `status` as of a `Walk`.
    """

    weights: Float[Array, " entries"]
    residuals: Float[Array, " entries"]
    sides: Int[Array, " entries"]
    row: Row
    left: Float[Array, ""]
    status: Int[Array, ""]
    pivots: Int[Array, ""]
    lefts: Float[Array, "most entries"]
    rights: Float[Array, "most entries"]


def trace(start: Conditions, row: Row, distance, most: int) -> Trace:
    """Follow the solution while the weight of a new row goes from 0 to `distance`.

    Weights of basic rows and residuals of the others move in proportion, until a weight ends
    its range and its row leaves, or a residual reaches zero and its row enters: one exchange in
    the tableau, of which only the columns in question are ever formed.
    """
    tiny = jnp.finfo(start.weights.dtype).eps ** (2 / 3)
    small = 16 * jnp.finfo(start.weights.dtype).eps ** 0.5
    scale = jnp.mean(jnp.abs(start.residuals))
    forward = jnp.sign(distance)

    def unfinished(state):
        return (state.status == MOVING) & (state.pivots < most)

    def to_end(state, rate):
        end = jnp.where(rate > 0, start.upper, start.lower) - state.weights
        return _ratio((state.sides == BASIC) & (jnp.abs(rate) > tiny), end, rate)

    def to_zero(state, rate):
        towards = jnp.where(state.sides == ABOVE, rate < 0, (state.sides == BELOW) & (rate > 0))
        return _ratio(towards & (jnp.abs(rate) > tiny * scale), -state.residuals, rate)

    def stop(state, place, rate):
        return state._replace(status=jnp.full_like(state.status, ARRIVED))

    def exchange(state, place, rate):
        return _exchange(start, state, place)

    def swing(state, place, rate):
        # Without this row the others do not determine the coefficients: these move, the weights
        # standing still, until the residual of another row is zero, and that one enters too.
        sign = jnp.sign(rate[place])
        turn = -sign * _column(start, state, place)
        way = to_zero(state, turn)
        turned = _moved(state, turn, jnp.min(way), forward * jnp.abs(rate[place]))
        turned = turned._replace(residuals=turned.residuals.at[place].set(sign * jnp.min(way)))
        after = _exchange(start, _exchange(start, turned, jnp.argmin(way)), place)
        blocked = state._replace(status=jnp.full_like(state.status, BLOCKED))
        found = jnp.isfinite(jnp.min(way))
        return jax.tree.map(lambda new, old: jnp.where(found, new, old), after, blocked)

    def advance(state):
        rate = -forward * state.row.column
        way = jnp.minimum(to_end(state, rate), to_zero(state, rate))
        step = jnp.minimum(jnp.min(way), state.left)
        place = jnp.argmin(way)
        # Of a basic row the diagonal is the inverse of a variance, in units of the kernel, or 0.
        own = _column(start, state, place)[place] * start.unit
        short = (state.sides[place] == BASIC) & (own <= small)
        ended = (step >= state.left) | jnp.isnan(step)
        state = _moved(state, rate, step, forward * state.row.own)
        state = state._replace(left=state.left - step)
        case = jnp.where(ended, 0, jnp.where(short, 2, 1))
        return jax.lax.switch(case, (stop, exchange, swing), state, place, rate)

    # A swing makes two exchanges, the last one of them after `most` have been made.
    none = jnp.zeros((most + 1, start.weights.shape[0]), start.weights.dtype)
    zero = jnp.zeros((), jnp.int32)
    here = start.weights, start.residuals, start.sides
    begin = Trace(*here, row, jnp.abs(distance), zero, zero, none, none)
    return jax.lax.while_loop(unfinished, advance, begin)


def _ratio(where, distance, rate):
    return jnp.where(where, jnp.maximum(distance / jnp.where(where, rate, 1), 0), jnp.inf)


def _moved(state: Trace, rate, way, slope) -> Trace:
    basic = state.sides == BASIC
    return state._replace(
        weights=state.weights + jnp.where(basic, rate * way, 0),
        residuals=state.residuals + jnp.where(basic, 0, rate * way),
        row=state.row._replace(level=state.row.level + slope * way),
    )


def _column(start: Conditions, state: Trace, place):
    """A column of the tableau where the path has come to."""
    return start.tableau[:, place] - product(state.rights[:, place], state.lefts)


def _exchange(start: Conditions, state: Trace, place) -> Trace:
    """Take an entry into the basis, or out of it: a change of the tableau of rank one."""
    basic, column = state.sides == BASIC, _column(start, state, place)
    leaves, size = basic[place], column[place]
    # The tableau is symmetric within the basis and outside of it, and skew between the two.
    across = jnp.where(basic == leaves, column, -column).at[place].add(1) / size
    along = column.at[place].add(-1)
    at_row = state.row.column[place]
    own = state.row.own - jnp.where(leaves, -at_row, at_row) * at_row / size
    middle = 0.5 * (start.lower[place] + start.upper[place])
    high = state.weights[place] > middle
    side = jnp.where(high, ABOVE, BELOW)
    side = jnp.where(start.lower[place] == start.upper[place], GONE, side)
    end = jnp.where(high, start.upper[place], start.lower[place])
    weight = jnp.where(leaves, end, state.weights[place])
    residual = jnp.where(leaves, state.residuals[place], 0)
    return state._replace(
        weights=state.weights.at[place].set(weight),
        residuals=state.residuals.at[place].set(residual),
        sides=state.sides.at[place].set(jnp.where(leaves, side, BASIC).astype(jnp.int8)),
        row=Row(state.row.column - along * at_row / size, own, state.row.level),
        pivots=state.pivots + 1,
        lefts=state.lefts.at[state.pivots].set(along),
        rights=state.rights.at[state.pivots].set(across),
    )
