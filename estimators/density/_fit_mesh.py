"""Fit a kernel density to rows that are split over a mesh."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from estimators._core import Choice, checks
from estimators.density._fit import fit_part
from estimators.density._mesh import is_none, points_of, with_points, without_points
from estimators.sharding import Rows, values_like

RULES = ("scott", "silverman", "biroli-mezard", "loo")


def fit(spec, rows: Rows, weights):
    """Fit a specification to rows that are split over a mesh."""
    _refuse(spec)
    of_rows = None
    if weights is not None:
        of_rows = values_like("weights", weights, "points", rows)
        of_rows = checks.as_weights("weights", of_rows, of_rows.shape[0], rows.dtype)
    return _fit(spec, rows, of_rows)


def _refuse(spec) -> None:
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
def _fit(spec, rows: Rows, weights: Float[Array, " N"] | None):
    placement, layout = rows.placement, rows.layout

    def local(mine, spec):
        points, weights, number = mine
        weights = jnp.where(number >= 0, 1 if weights is None else weights, 0)
        fitted = fit_part(spec, points, weights.astype(points.dtype), placement.part(number))
        return points_of(fitted), without_points(fitted)

    mine = rows.values, weights, placement.number
    points, bare = layout.run(local, mine, spec, (layout.split, layout.whole))
    fitted = with_points(points, bare)
    return eqx.tree_at(lambda f: f.placement, fitted, placement, is_leaf=is_none)
