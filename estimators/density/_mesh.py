"""A kernel density over a mesh: sums over its points, leave-one-out.

Every device sums over the points that lie on it. A density is then two all-reduces of one number
a query, and nothing is gathered; leave-one-out, where queries are split too, passes the points
around a ring.
"""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from estimators._core._collect import log_total
from estimators.density._labels import log_of_rest, weight_of_others
from estimators.sharding import around


def kernel_sum(sum_of_part: Callable, fitted, queries: Float[Array, "m d"]) -> Float[Array, " m"]:
    """The sum at queries that every device has, over the points of all."""
    layout = fitted.placement.layout

    def local(points, others):
        return log_total(sum_of_part(with_points(points, others[0]), others[1]), layout.axis)

    return layout.run(local, points_of(fitted), (without_points(fitted), queries), layout.whole)


def leave_one_out(sum_of_part: Callable, fitted) -> Float[Array, " N"]:
    """The sum at each row over the others, up to the log volume; split like the rows."""
    layout = fitted.placement.layout

    def local(mine, bare):
        queries, _, own_labels = mine

        def against(visitors):
            _, log_weights, labels = visitors
            part = with_points(visitors, bare)
            value = sum_of_part(part, queries, query_labels=own_labels, point_labels=labels)
            return value, weight_of_others(own_labels, labels, log_weights)

        def merge(one, other):
            return jnp.logaddexp(one[0], other[0]), one[1] + other[1]

        value, rest = around(against, merge, mine, layout)
        return value - log_of_rest(rest)

    return layout.run(local, points_of(fitted), without_points(fitted), layout.split)


def points_of(fitted):
    """What each device has its part of."""
    return fitted.points, fitted.log_weights, fitted.labels


def without_points(fitted):
    """What every device has: all but the points and their weights."""
    return eqx.tree_at(lambda f: (*points_of(f), f.placement), fitted, (None,) * 4, is_leaf=is_none)


def with_points(points, bare):
    """A fitted density again."""
    return eqx.tree_at(points_of, bare, points, is_leaf=is_none)


def is_none(x) -> bool:
    """For leaves that are to be filled in."""
    return x is None
