"""Highest-density sets: all outcomes whose predicted density is high enough to cover."""

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Real

from estimators._core import Spec, checks
from estimators.conformal._predictive._density_scores import grid_scores, lowest_log_density
from estimators.conformal._predictive._level_sets import DensityIntervals, intervals_above
from estimators.conformal._predictive._promise import CalibratedThreshold
from estimators.conformal._quantile import conformal_quantile


class CalibratedDensitySet(CalibratedThreshold):
    """Sets of high density; see `HighestDensitySet`.

    The threshold is minus a log density in nats for "density", the mass of higher density for
    "mass".

    Attributes:
        score: "density" or "mass".
        on_grid: whether densities were given on a grid.
    """

    score: Literal["density", "mass"] = eqx.field(static=True)
    on_grid: bool = eqx.field(static=True)

    def contains(
        self,
        log_density: Real[ArrayLike, "..."],
        grid: Real[ArrayLike, " G"] | None = None,
        y: Real[ArrayLike, "*batch"] | None = None,
    ) -> Bool[Array, "*batch"]:
        """Whether outcomes are in the set; the arguments are those of `calibrate`.

        They must be of the same form, since one and the same score is what makes new rows and
        calibration rows alike.

        Args:
            log_density: `(*batch,)`, log f(y|x) in nats at the outcomes, or `(*batch, G)` on a
                grid. NaN is refused, and inside jit it is in no set.
            grid: `(G,)`, where calibration had a grid.
            y: `(*batch,)`, outcomes, where calibration had a grid.

        Raises:
            ValueError: if a grid is missing or not used, or shapes do not belong together.
        """
        if (grid is not None) != self.on_grid:
            had = "had" if self.on_grid else "had no"
            raise ValueError(f"grid must be given exactly where calibration had it; it {had} grid")
        return _scores(log_density, grid, y, self.score) <= self.threshold

    def intervals(
        self,
        log_density_on_grid: Real[ArrayLike, "*batch G"],
        grid: Real[ArrayLike, " G"],
        *,
        largest: int = 4,
    ) -> DensityIntervals:
        """The set as a union of intervals, from the log density on a grid.

        Between grid points the log density is a straight line. Outcomes beyond the grid are
        not in the intervals, unless the set is infinite: choose a grid that is wide enough, and
        look at `cut`.

        Args:
            log_density_on_grid: `(*batch, G)`, log f(.|x) in nats; -inf where f is 0.
            grid: `(G,)`, strictly increasing, in the unit of y.
            largest: how many intervals a set may have; where one has more all its ends are NaN
                and its count says how many.
        """
        largest = checks.integer("largest", largest, at_least=1)
        rows, points = _as_grid(log_density_on_grid, grid)
        flat = _flat(rows)
        found = intervals_above(flat, points, self._lowest(flat, points), largest=largest)
        return jax.tree.map(lambda a: a.reshape(*rows.shape[:-1], *a.shape[1:]), found)

    def _lowest(self, rows, grid):
        return lowest_log_density(rows, grid, self.threshold, score=self.score)


class HighestDensitySet(Spec):
    """Conformal sets `{y : f(y|x) is high}` from any conditional density.

    With score "density" the score is `-log f(y|x)`, and all rows have one lowest density (Lei,
    Robins & Wasserman 2013; Izbicki, Shimizu & Stern 2022, CD-split without its partition). With
    "mass" it is the probability, under f(.|x), of a density above f(y|x), and each row has a
    lowest density of its own: where f is right, the sets are the smallest ones that cover
    given x (the HPD-split of Izbicki, Shimizu & Stern 2022).

    Args:
        coverage: probability that the set must cover, in (0, 1).
        score: see above.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> def log_density(y):
        ...     return jnp.logaddexp(-0.5 * (y - 5) ** 2, -0.5 * (y + 5) ** 2)
        >>> y = jnp.array([-6.0, -5.5, -5.0, -4.5, -4.0, 4.0, 4.5, 5.0, 5.5, 6.0])
        >>> calibrated = conformal.HighestDensitySet(0.8).calibrate(log_density(y))
        >>> grid = jnp.linspace(-9.0, 9.0, 181)
        >>> found = calibrated.intervals(log_density(grid), grid)
        >>> print(found.count, found.lower.round(2), found.upper.round(2))
        2 [-6.  4. nan nan] [-4.  6. nan nan]

    Reference: Lei, Robins & Wasserman 2013, Distribution-free prediction sets; Izbicki, Shimizu &
    Stern 2022, CD-split and HPD-split: efficient conformal regions in high dimensions.

    When it fails: with "density", rows of low density everywhere (a wide law) have small or
    empty sets, and the others cover more than was asked. With "mass", where the density has a
    plateau many outcomes have one score, and sets cover more.
    """

    coverage: float = eqx.field(static=True, default=0.9)
    score: Literal["density", "mass"] = eqx.field(static=True, default="density", kw_only=True)

    def __check_init__(self):
        checks.probability("coverage", self.coverage)
        checks.one_of("score", self.score, ("density", "mass"))

    def calibrate(
        self,
        log_density: Real[ArrayLike, "n *G"],
        grid: Real[ArrayLike, " G"] | None = None,
        y: Real[ArrayLike, " n"] | None = None,
    ) -> CalibratedDensitySet:
        """Choose the threshold on rows that the model has not seen.

        Args:
            log_density: `(n,)`, log f(y|x) in nats at the outcomes; or `(n, G)`, log f(.|x) on
                a grid, needed for "mass". It may be -inf.
            grid: `(G,)`, strictly increasing, in the unit of y.
            y: `(n,)`, outcomes. One outside the grid has the score +inf: it is in no finite
                set.

        Raises:
            ValueError: for shapes that do not belong together, NaN, or a grid that is missing
                for "mass". Inside jit NaN makes the threshold NaN.
        """
        if jnp.ndim(log_density) != (1 if grid is None else 2):
            shape = "(n,)" if grid is None else "(n, G)"
            raise ValueError(
                f"log_density must have shape {shape}; got shape {jnp.shape(log_density)}"
            )
        if grid is None and self.score == "mass":
            raise ValueError("grid and y must be given for score='mass'")
        scores = _scores(log_density, grid, y, self.score)
        threshold = conformal_quantile(scores, self.coverage)
        n, on_grid = scores.shape[0], grid is not None
        return CalibratedDensitySet(threshold, self.coverage, n, self.score, on_grid)


def _scores(log_density, grid, y, score: str) -> Float[Array, "*batch"]:
    """The scores of outcomes, from densities at them or on a grid."""
    if (grid is None) != (y is None):
        raise ValueError("grid and y must be given together; got one of them")
    if grid is None:
        return -_as_log_density("log_density", log_density)
    rows, points = _as_grid(log_density, grid)
    y = checks.finite("y", checks.as_float("y", y))
    if y.shape != rows.shape[:-1]:
        raise ValueError(f"y must have shape {rows.shape[:-1]}, as log_density; got {y.shape}")
    # The wider of the two: outcomes rounded to the density's precision would be others.
    dtype = jnp.result_type(rows, y)
    found = grid_scores(
        _flat(rows).astype(dtype), points.astype(dtype), y.astype(dtype).reshape(-1), score=score
    )
    return found.reshape(y.shape)


def _as_log_density(name: str, log_density) -> Float[Array, "..."]:
    """Check log densities: -inf is the logarithm of 0; +inf and NaN become NaN."""
    array = checks.as_float(name, log_density)
    if checks.is_concrete(array) and not checks.holds(lambda a: (a < jnp.inf).all(), array):
        count = int((~(np.asarray(array) < np.inf)).sum())
        raise ValueError(f"{name} must be finite or -inf; {count} of {array.size} entries are not")
    return jnp.where(array < jnp.inf, array, jnp.nan)


def _as_grid(log_density, grid) -> tuple[Float[Array, "*batch G"], Float[Array, " G"]]:
    points = checks.as_vector("grid", grid, at_least=2)
    rows = _as_log_density("log_density on the grid", log_density)
    dtype = jnp.result_type(rows, points)
    rows, points = rows.astype(dtype), points.astype(dtype)
    if rows.ndim == 0 or rows.shape[-1] != points.shape[0]:
        raise ValueError(
            f"log_density on the grid must have shape (*batch, {points.shape[0]}), the last axis "
            f"as the grid; got shape {rows.shape}"
        )
    if checks.is_concrete(points) and not checks.holds(_increasing, points):
        known = np.asarray(points)
        place = int(np.argmin(np.diff(known) > 0))
        raise ValueError(
            f"grid must increase strictly; grid[{place}] is {known[place]} and "
            f"grid[{place + 1}] is {known[place + 1]}"
        )
    if checks.is_concrete(rows) and not checks.holds(lambda known: _has_mass(known).all(), rows):
        raise ValueError("log_density on the grid must be above -inf somewhere in each row")
    rows = jnp.where(_has_mass(rows), rows, jnp.nan)
    return rows, checks.poison(points, _increasing(points))


def _has_mass(rows):
    return (rows > -jnp.inf).any(-1, keepdims=True)


def _increasing(points):
    return jnp.all(jnp.diff(points) > 0)


def _flat(rows):
    return rows.reshape(-1, rows.shape[-1])
