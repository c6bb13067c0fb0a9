"""A kernel density over a mesh: fit, sums over its points, leave-one-out.

Every device sums over the points that lie on it. A density is then two all-reduces of one number
a query, and nothing is gathered; leave-one-out, where queries are split too, passes the points
around a ring.
"""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from estimators._core import Choice, checks
from estimators._core._collect import log_total
from estimators.density._labels import log_of_rest, weight_of_labels
from estimators.sharding import Rows, around, values_like

RULES = ("scott", "silverman", "biroli-mezard", "loo")


def kernel_sum(sum_of_part: Callable, fitted, queries: Float[Array, "m d"]) -> Float[Array, " m"]:
    """The sum at queries that every device has, over the points of all."""
    layout = fitted.placement.layout

    def local(points, others):
        return log_total(sum_of_part(_with(points, others[0]), others[1]), layout.axis)

    return layout.run(local, _points(fitted), (_without(fitted), queries), layout.whole)


def leave_one_out(sum_of_part: Callable, fitted, labels) -> Float[Array, " N"]:
    """The sum at each row over the others, up to the log volume; split like the rows."""
    layout = fitted.placement.layout

    def local(mine, bare):
        (queries, _), own_labels = mine

        def against(visitors):
            points, labels = visitors
            part = _with(points, bare)
            value = sum_of_part(part, queries, query_labels=own_labels, point_labels=labels)
            return value, weight_of_labels(own_labels, labels, points[1])

        def merge(one, other):
            return jnp.logaddexp(one[0], other[0]), one[1] + other[1]

        value, own = around(against, merge, mine, layout)
        return value - log_of_rest(own)

    return layout.run(local, (_points(fitted), labels), _without(fitted), layout.split)


def fit(spec, rows: Rows, weights):
    """Fit a specification to rows that are split over a mesh."""
    from estimators.density._fit import fit_part  # it needs the fitted class, which needs this

    refuse(spec)
    of_rows = None
    if weights is not None:
        of_rows = values_like("weights", weights, "points", rows)
        of_rows = checks.as_weights("weights", of_rows, of_rows.shape[0], rows.dtype)
    return _fit(fit_part, spec, rows, of_rows)


def refuse(spec) -> None:
    """Say which specifications a mesh has no program for."""
    rule = spec.bandwidth.name if isinstance(spec.bandwidth, Choice) else None
    options = (spec.covariance.startswith("learned"), spec.widths != "equal")
    if rule == "auto" or rule == "sheather-jones" or any(options) or spec.centres == "shrunken":
        raise ValueError(
            "points that are split over a mesh must have a bandwidth that is a number, a matrix "
            f"or one of {', '.join(map(repr, RULES))}, centres that are the rows and equal widths; "
            f"got bandwidth={spec.bandwidth!r}, covariance={spec.covariance!r}, "
            f"centres={spec.centres!r}, widths={spec.widths!r}. Fit that on a sample of the rows, "
            "and pass its bandwidth"
        )


@eqx.filter_jit
def _fit(fit_part: Callable, spec, rows: Rows, weights: Float[Array, " N"] | None):
    placement, layout = rows.placement, rows.layout

    def local(mine, spec):
        points, weights, number = mine
        weights = jnp.where(number >= 0, 1 if weights is None else weights, 0)
        fitted = fit_part(spec, points, weights.astype(points.dtype), placement.part(number))
        return _points(fitted), _without(fitted)

    mine = rows.values, weights, placement.number
    points, bare = layout.run(local, mine, spec, (layout.split, layout.whole))
    fitted = _with(points, bare)
    return eqx.tree_at(lambda f: f.placement, fitted, placement, is_leaf=_is_none)


def _points(fitted):
    return fitted.points, fitted.log_weights


def _without(fitted):
    """What every device has: all but the points and their weights."""
    where = lambda f: (f.points, f.log_weights, f.placement)  # noqa: E731
    return eqx.tree_at(where, fitted, (None, None, None), is_leaf=_is_none)


def _with(points, bare):
    return eqx.tree_at(_points, bare, points, is_leaf=_is_none)


def _is_none(x) -> bool:
    return x is None
