"""Full conformal nearest-neighbours regression."""

import dataclasses

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from estimators._core import Spec, checks
from estimators.conformal._full._fitted import FullConformal
from estimators.conformal._full._neighbours import (
    Neighbourhood,
    among_themselves,
    nearest,
    squared_distances,
)
from estimators.conformal._full._sets import Reaches, reaches
from estimators.conformal._guarantee import Guarantee


class FittedFullConformalNearestNeighbours(FullConformal):
    """Training rows and their neighbours; see `FullConformalNearestNeighbours`.

    Attributes:
        features: `(n, d)`.
        y: `(n,)`.
        neighbourhood: of each row, among the other training rows.
        neighbours: how many neighbours a prediction is the mean of.
    """

    features: Float[Array, "n d"]
    y: Float[Array, " n"]
    neighbourhood: Neighbourhood
    neighbours: int = eqx.field(static=True)

    def reaches(self, features: Float[Array, "b d"]) -> Reaches:
        """See `FullConformal`. The test row pushes out the last neighbour of a row it is near."""
        away = squared_distances(features.astype(self.features.dtype), self.features)
        centre = nearest(away, self.y, self.neighbours).total / self.neighbours
        own = self.neighbourhood
        joins = away < own.radius[None]
        moved = (own.total - own.last)[None] + centre[:, None]
        constant = self.y[None] - jnp.where(joins, moved, own.total[None]) / self.neighbours
        slope = jnp.where(joins, -1 / self.neighbours, jnp.zeros_like(away))
        return reaches(jnp.where(jnp.isfinite(away), constant, jnp.nan), slope, centre)

    @property
    def guarantee(self) -> Guarantee:
        """See `FullConformal`."""
        found = super().guarantee
        if self.neighbours > 1:
            return found
        # Two rows that are each other's nearest have the same score.
        return dataclasses.replace(found, at_most=None, kind="at least")

    def _given(self):
        return "exchangeable rows and distances that are distinct"


class FullConformalNearestNeighbours(Spec):
    """Full conformal prediction with the mean of the k nearest neighbours.

        score_i = |y_i - mean of y over the k rows nearest to x_i among the n others|

    where the others hold the test row, with the response y that is asked about, and leave out
    row i itself. The set is {y : p-value(y) > 1 - coverage}. Neighbours do not depend on y, so
    residuals are affine in it, of slope 1 for the test row and 0 or -1/k for the others: the
    set is one closed interval around the prediction, and `interval` is all of it. O(n^2) once,
    O(n) a test row, in blocks.

    Distances are Euclidean, in the units of the features: nothing is standardised, since
    scales learned from the training rows alone would break the exchangeability. Of rows at
    the same distance the earlier one counts as nearer, and the test row as last of all.

    Args:
        neighbours: how many, at least 1.
        coverage: probability that the interval must cover, in (0, 1).

    Guarantee: for exchangeable rows with distinct distances a new y is covered with
    probability at least `coverage`, over training and test rows together; below
    `coverage + 1/(n + 1)` where scores are distinct, as they are for a continuous y and two
    neighbours or more. With one neighbour two rows that are each other's nearest tie, and the
    interval covers more.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> x = jnp.arange(20.0)[:, None] ** 2
        >>> spec = conformal.FullConformalNearestNeighbours(2, coverage=0.8)
        >>> lower, upper = spec.fit(x, jnp.arange(20.0)).interval(jnp.array([[101.0]]))
        >>> print(lower.round(2), upper.round(2))
        [8.] [10.33]

    Reference: Papadopoulos, Vovk & Gammerman 2011, Regression conformal prediction with
    nearest neighbours, section 4 (their score without a scale).

    When it fails: every interval is about as wide as the others, so where the noise varies it
    is too wide in quiet places and too narrow in loud ones. Features in units of different
    size let the largest decide; bring them to one unit by a rule that does not look at the
    rows. Many equal distances (whole-number features) break the symmetry that the guarantee
    rests on.
    """

    neighbours: int = eqx.field(static=True, default=5)
    coverage: float = eqx.field(static=True, default=0.9)

    def __check_init__(self):
        checks.integer("neighbours", self.neighbours, at_least=1)
        checks.probability("coverage", self.coverage)

    def fit(
        self, features: Real[ArrayLike, "n d"], y: Real[ArrayLike, " n"]
    ) -> FittedFullConformalNearestNeighbours:
        """Find the neighbours of the training rows among themselves.

        Args:
            features: `(n, d)`, more rows than `neighbours`.
            y: `(n,)`.

        Raises:
            ValueError: for shapes that do not belong together, values that are not finite, or
                too few rows.
        """
        features = checks.as_points("features", features, at_least=self.neighbours + 1)
        n, d = features.shape
        y = checks.as_vector("y", y, length=n)
        dtype = jnp.result_type(features, y)
        features, y = features.astype(dtype), y.astype(dtype)
        found = among_themselves(features, y, self.neighbours)
        return FittedFullConformalNearestNeighbours(
            self.coverage, n, d, features, y, found, self.neighbours
        )
