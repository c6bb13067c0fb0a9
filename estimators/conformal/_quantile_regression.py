"""Conformalised quantile regression: widen predicted quantiles until they cover."""

from fractions import Fraction

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from estimators._core import Fitted, Spec, checks
from estimators.conformal._quantile import as_fraction, conformal_quantile
from estimators.conformal._split import why_infinite


class CalibratedQuantileRegression(Fitted):
    """Calibrated quantile intervals; see `ConformalizedQuantileRegression`.

    Attributes:
        below: what is subtracted from the lower quantile, in units of y; negative narrows.
        above: what is added to the upper quantile.
        coverage: coverage asked for.
        calibration: number of calibration rows.
        symmetric: whether one number widens both ends.
    """

    below: Float[Array, ""]
    above: Float[Array, ""]
    coverage: float = eqx.field(static=True)
    calibration: int = eqx.field(static=True)
    symmetric: bool = eqx.field(static=True)

    @property
    def reason(self) -> str | None:
        """Why the intervals are infinite, or None where they are not."""
        return why_infinite(self.calibration, _of_each_end(self.coverage, self.symmetric))

    def interval(
        self, lower: Real[ArrayLike, "*batch"], upper: Real[ArrayLike, "*batch"]
    ) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
        """Calibrated ends for predicted quantiles `lower` and `upper`, each `(*batch,)`.

        Where calibration narrows the interval past its own width the set is empty; both
        ends are then put at its centre, so that they never cross. A point covers no less
        than the empty set, and the guarantee stands.
        """
        lower, upper = _as_ends(lower, upper)
        low, high = lower - self.below, upper + self.above
        centre = 0.5 * (low + high)
        ordered = low <= high  # false for NaN at either end, which then reaches both
        return jnp.where(ordered, low, centre), jnp.where(ordered, high, centre)


class ConformalizedQuantileRegression(Spec):
    """Conformalised quantile regression (Romano, Patterson & Candes 2019).

    The score is `max(lower - y, y - upper)` and its conformal quantile widens both ends
    (eq. 6 and theorem 1 there); with `symmetric=False` each end has its own score at
    `(1 + coverage) / 2`, which covers on each side (theorem 2).

    Args:
        coverage: probability that the interval must cover, in (0, 1).
        symmetric: see above.

    Guarantee: as `SplitRegression`. The width follows that of the predicted quantiles; the
    coverage does not depend on their being right.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> y = jnp.arange(20.0)
        >>> spec = conformal.ConformalizedQuantileRegression(coverage=0.9)
        >>> lower, upper = spec.calibrate(y + 1.0, y + 2.0, y).interval(y[:1], y[:1] + 1.0)
        >>> print(lower, upper)
        [-1.] [2.]
    """

    coverage: float = eqx.field(static=True, default=0.9)
    symmetric: bool = eqx.field(static=True, default=True, kw_only=True)

    def __check_init__(self):
        checks.probability("coverage", self.coverage)

    def calibrate(
        self, lower: Real[ArrayLike, " n"], upper: Real[ArrayLike, " n"], y: Real[ArrayLike, " n"]
    ) -> CalibratedQuantileRegression:
        """Choose the widening on rows that the quantile models have not seen.

        Raises:
            ValueError: for shapes that differ or values that are not finite.
        """
        y = checks.as_vector("y", y)
        n = y.shape[0]
        below = checks.as_vector("lower", lower, length=n) - y
        above = y - checks.as_vector("upper", upper, length=n)
        coverage = _of_each_end(self.coverage, self.symmetric)
        if self.symmetric:
            widen = conformal_quantile(jnp.maximum(below, above), coverage)
            below, above = widen, widen
        else:
            below = conformal_quantile(below, coverage)
            above = conformal_quantile(above, coverage)
            valid = ~jnp.isnan(below) & ~jnp.isnan(above)
            below, above = checks.poison((below, above), valid)
        return CalibratedQuantileRegression(below, above, self.coverage, n, self.symmetric)


def _of_each_end(coverage: float, symmetric: bool) -> Fraction:
    exact = as_fraction(coverage)
    return exact if symmetric else (1 + exact) / 2


def _as_ends(lower, upper):
    lower = checks.finite("lower", checks.as_float("lower", lower))
    upper = checks.finite("upper", checks.as_float("upper", upper))
    if lower.shape != upper.shape:
        raise ValueError(f"upper must have the shape {lower.shape} of lower; got {upper.shape}")
    return lower, upper
