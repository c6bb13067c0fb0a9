"""Where a label stands in its row: how many are more probable, and how much they hold together.

Probabilities are added as whole numbers. Every order of summation then gives the same sum, and a
score is the same to the last bit, for one label, for all labels, and where a set is cut off.
Equally probable labels stand together.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from estimators.conformal._classification._probabilities import is_law


class Standing(NamedTuple):
    """Where labels stand; every entry has one number a label.

    Attributes:
        above: the probability of the more probable labels.
        reached: that and the probability of those that are as probable; exactly 1 at the last.
        ahead: how many are more probable.
        place: how many are at least as probable, itself with them: its rank, from 1.
        largest: the largest probability of the row.
    """

    above: Float[Array, "*labels"]
    reached: Float[Array, "*labels"]
    ahead: Float[Array, "*labels"]
    place: Float[Array, "*labels"]
    largest: Float[Array, "*labels"]


class Rows(NamedTuple):
    """Rows of probabilities, and what stands for each in order and in sums.

    Attributes:
        probabilities: `(n, K)`; NaN in rows that are none.
        order: whole numbers in the same order.
        mass: whole multiples of a unit.
        missing: `(n,)`, what all of it lacks of one. It counts with the most probable label, so
            that no rounding tells the last labels of two rows apart.
        one: `(n,)`, 1, or NaN in rows that are none.
    """

    probabilities: Float[Array, "n K"]
    order: Int[Array, "n K"]
    mass: Int[Array, "n K"]
    missing: Int[Array, " n"]
    one: Float[Array, " n"]


def as_rows(probabilities: Float[Array, "n K"]) -> Rows:
    """Rows to count and to add up."""
    known = is_law(probabilities)
    rows = jnp.abs(jnp.where(known[:, None], probabilities, 0))  # no -0, whose order is another
    whole = jnp.int64 if rows.dtype == jnp.float64 else jnp.int32
    mass = jnp.round(jax.lax.stop_gradient(rows) / _unit(rows.dtype)).astype(whole)
    missing = jnp.asarray(1 / _unit(rows.dtype), whole) - jnp.sum(mass, -1)
    one = jnp.where(known, jnp.ones((), rows.dtype), jnp.nan)
    return Rows(rows * one[:, None], order_of(rows), mass, missing, one)


def order_of(probabilities: Float[Array, "..."]) -> Int[Array, "..."]:
    """The bits of a float that is not negative, which are in its order."""
    whole = jnp.int64 if probabilities.dtype == jnp.float64 else jnp.int32
    return jax.lax.bitcast_convert_type(jax.lax.stop_gradient(probabilities), whole)


def standing(rows: Rows, at: Int[Array, " n"]) -> Standing:
    """Where a label of the order `at` stands in each row, whether there is one or not."""
    over, upto = rows.order > at[:, None], rows.order >= at[:, None]
    return Standing(
        _mass(rows, over),
        _mass(rows, upto),
        _count(rows, over),
        _count(rows, upto),
        jnp.max(rows.probabilities, -1),
    )


def standing_of_all(rows: Rows) -> Standing:
    """Where all labels stand, by one sort of each row."""
    ordered = as_rows(jnp.sort(rows.probabilities, -1))
    sums = _add_up(ordered.probabilities, ordered.mass, ordered.missing)
    sums = jnp.pad(sums, ((0, 0), (0, 1)))

    def place(side):
        return jax.vmap(lambda row, values: jnp.searchsorted(row, values, side=side))(
            ordered.order, rows.order
        )

    first, end, one = place("left"), place("right"), rows.one[:, None]
    classes = rows.order.shape[1]
    return Standing(
        jnp.take_along_axis(sums, end, -1) * one,
        jnp.take_along_axis(sums, first, -1) * one,
        (classes - end) * one,
        (classes - first) * one,
        jnp.broadcast_to(ordered.probabilities[:, -1:], rows.order.shape),
    )


def _unit(dtype) -> float:
    # A row's sum, a little above one at most, fits; and no digit of one near one is lost.
    return 2.0**-60 if dtype == jnp.float64 else 2.0**-30


def _count(rows, chosen):
    return jnp.sum(chosen, -1, dtype=jnp.int32) * rows.one


def _mass(rows, chosen):
    return _add(rows.probabilities, rows.mass, rows.missing, chosen) * rows.one


@jax.custom_jvp
def _add(probabilities, mass, missing, chosen):
    total = jnp.sum(jnp.where(chosen, mass, 0), -1)
    total = total + jnp.where(total > 0, missing, 0)  # with any label the most probable one is in
    return total.astype(probabilities.dtype) * _unit(probabilities.dtype)


@_add.defjvp
def _add_jvp(primals, tangents):
    # Whole numbers have no derivative; the sum that they stand for has.
    return _add(*primals), jnp.sum(jnp.where(primals[3], tangents[0], 0), -1)


@jax.custom_jvp
def _add_up(ordered, mass, missing):
    total = jnp.cumsum(mass[:, ::-1], -1)[:, ::-1] + missing[:, None]
    return total.astype(ordered.dtype) * _unit(ordered.dtype)


@_add_up.defjvp
def _add_up_jvp(primals, tangents):
    return _add_up(*primals), jnp.cumsum(tangents[0][:, ::-1], -1)[:, ::-1]
