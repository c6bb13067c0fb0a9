"""Intervals around predicted quantiles, from scores of rows that their models left out."""

import equinox as eqx
from jaxtyping import Array, ArrayLike, Float, Integer, Real

from estimators._core import Fitted, Spec, checks
from estimators.conformal._cross._guarantees import cross_guarantee
from estimators.conformal._cross._held_out import HeldOut, as_by_fold, held_out
from estimators.conformal._guarantee import Guarantee
from estimators.conformal._quantile import conformal_rank, why_infinite
from estimators.conformal._regression._ends import Ends, outside


class CalibratedCrossConformalQuantileRegression(Fitted):
    """Intervals around predicted quantiles; see `CrossConformalQuantileRegression`.

    Attributes:
        held_out: scores of all rows by fold.
        coverage: coverage asked for.
    """

    held_out: HeldOut
    coverage: float = eqx.field(static=True)

    @property
    def reason(self) -> str | None:
        """Why the intervals are infinite, or None where they are not."""
        return why_infinite(self.held_out.fold.shape[0], self.coverage)

    @property
    def guarantee(self) -> Guarantee:
        """What is proven of the coverage; that of `CrossConformal` with method "plus"."""
        n, folds, equal = self.held_out.fold.shape[0], self.held_out.folds, self.held_out.equal
        return cross_guarantee(self.coverage, "plus", n, folds, equal=equal, ends=1)

    def interval(
        self, lower: Real[ArrayLike, "*batch folds"], upper: Real[ArrayLike, "*batch folds"]
    ) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
        """Lower and upper ends for new rows, each `(*batch,)`.

        Where scores narrow the interval past its own width the set is empty; both ends are then
        put at its centre, so that they never cross. A point covers no less.

        Args:
            lower: `(*batch, K)`, lower quantiles; column k is by the model that was fitted
                without fold k.
            upper: `(*batch, K)`, upper quantiles.

        Raises:
            ValueError: for another number of columns, shapes that differ, or values that are
                not finite.
        """
        lower = as_by_fold("lower", lower, self.held_out.folds)
        upper = as_by_fold("upper", upper, self.held_out.folds)
        if lower.shape != upper.shape:
            raise ValueError(f"upper must have the shape {lower.shape} of lower; got {upper.shape}")
        rank = conformal_rank(self.held_out.fold.shape[0], self.coverage)
        return self.held_out.interval(lower, upper, rank)


class CrossConformalQuantileRegression(Spec):
    """CV+ for predicted quantiles: conformalised quantile regression that sets no rows aside.

    With k(i) the fold of row i and l_k, u_k the quantile models that were fitted without fold
    k, the score is E_i = max(l_k(i)(x_i) - y_i, y_i - u_k(i)(x_i)). With q the order statistic
    of rank ceil((n + 1) coverage) over i, the interval is

        [-q{E_i - l_k(i)(x)}, q{u_k(i)(x) + E_i}]

    Args:
        coverage: probability that the interval should cover, in (0, 1).

    Guarantee: in numbers, `calibrated.guarantee`: that of CV+, near 1 - 2 (1 - coverage)
    whatever the models are, and in practice near `coverage`. A new y outside the interval has
    a score above that of as many rows as one outside CV+ has a residual; the proof is the same.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> y, fold = jnp.arange(20.0), jnp.arange(20) % 2
        >>> spec = conformal.CrossConformalQuantileRegression(0.9)
        >>> calibrated = spec.calibrate(y + 1.0, y + 2.0, y, fold)
        >>> lower, upper = calibrated.interval(jnp.array([[3.0, 4.0]]), jnp.array([[5.0, 6.0]]))
        >>> print(lower, upper)
        [2.] [7.]

    Reference: Romano, Patterson & Candes 2019, Conformalized quantile regression, eq. 6, for
    the score; Barber, Candes, Ramdas & Tibshirani 2021, Predictive inference with the
    jackknife+, theorem 4.

    When it fails: as `CrossConformal`. Its ends have one score; an outcome that the quantiles
    miss on one side only widens both.
    """

    coverage: float = eqx.field(static=True, default=0.9)

    def __check_init__(self):
        checks.probability("coverage", self.coverage)

    def calibrate(
        self,
        lower: Real[ArrayLike, " n"],
        upper: Real[ArrayLike, " n"],
        y: Real[ArrayLike, " n"],
        fold: Integer[ArrayLike, " n"],
    ) -> CalibratedCrossConformalQuantileRegression:
        """Keep the scores of held-out quantiles.

        Args:
            lower: `(n,)`, lower quantile by the model fitted without the row's fold.
            upper: `(n,)`, upper quantile.
            y: `(n,)`, what was observed.
            fold: `(n,)`, the fold of each row, 0 to K - 1; known numbers also inside jit.

        Raises:
            ValueError: for shapes that differ, values that are not finite, or fold numbers that
                leave one out.
        """
        y = checks.as_vector("y", y)
        ends = Ends(
            checks.as_vector("lower", lower, length=y.shape[0]),
            checks.as_vector("upper", upper, length=y.shape[0]),
        )
        scores = outside(ends, y, symmetric=True)
        return CalibratedCrossConformalQuantileRegression(held_out(scores.T, fold), self.coverage)
