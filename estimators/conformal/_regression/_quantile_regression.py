"""Conformalised quantile regression: widen predicted quantiles until they cover."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Key, Real

from estimators._core import checks
from estimators.conformal._regression._calibrate import Calibrated, RegressionSpec
from estimators.conformal._regression._ends import Ends
from estimators.conformal._thresholds import Where

SCALINGS = ("none", "width", "sides")


class CalibratedQuantileRegression(Calibrated):
    """Calibrated quantile intervals; see `ConformalizedQuantileRegression`.

    Attributes:
        scaling: as in the specification.
        offset: as in the specification.
    """

    scaling: str = eqx.field(static=True)
    offset: Float[Array, ""]

    def interval(
        self,
        lower: Real[ArrayLike, "*batch"],
        upper: Real[ArrayLike, "*batch"],
        middle: Real[ArrayLike, "*batch"] | None = None,
        *,
        groups: Int[ArrayLike, "*batch"] | None = None,
        weights: Real[ArrayLike, "*batch"] | None = None,
        points: Real[ArrayLike, "*batch d"] | None = None,
        key: Key[Array, ""] | None = None,
    ) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
        """Calibrated ends for predicted quantiles `lower` and `upper`, each `(*batch,)`.

        Where calibration narrows the interval past its own width the set is empty; both
        ends are then put at its centre, so that they never cross. A point covers no less
        than the empty set, and the guarantee stands.

        Args: see `CalibratedRegression.interval`; `middle` with scaling "sides".
        """
        ends = _as_ends(lower, upper, middle, self.scaling, self.offset)
        return self._interval(ends, Where(groups, weights, points, key))


class ConformalizedQuantileRegression(RegressionSpec):
    """Conformalised quantile regression (Romano, Patterson & Candes 2019).

    The score is `max(lower - y, y - upper)` and its conformal quantile widens both ends
    (eq. 6 and theorem 1 there); with `symmetric=False` each end has its own score at
    `(1 + coverage) / 2`, which covers on each side (theorem 2).

    Args:
        coverage: probability that the interval must cover, in (0, 1).
        symmetric: see above.
        scaling: what both ends are widened in proportion to: "none", all rows alike; "width",
            the predicted width (CQR-r, Sesia & Candes 2020); "sides", each end by its distance
            from a predicted `middle` (CQR-m, Kivaranovic, Johnson & Leeb 2020).
        offset: added to those widths, positive, in the unit of y, so that none is zero.

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

    When it fails: as `SplitRegression`. Where predicted quantiles are far too wide for some rows
    and too narrow for others, one widening repairs the mean over rows and neither of them.
    """

    columns = 2

    scaling: str = eqx.field(static=True, default="none", kw_only=True)
    offset: float | Float[ArrayLike, ""] = eqx.field(default=1e-6, kw_only=True)

    def __check_init__(self):
        checks.one_of("scaling", self.scaling, SCALINGS)
        checks.positive("offset", self.offset)

    def calibrate(
        self,
        lower: Real[ArrayLike, " n"],
        upper: Real[ArrayLike, " n"],
        y: Real[ArrayLike, " n"],
        middle: Real[ArrayLike, " n"] | None = None,
        *,
        groups: Int[ArrayLike, " n"] | None = None,
        count: int | None = None,
        weights: Real[ArrayLike, " n"] | None = None,
        points: Real[ArrayLike, "n d"] | None = None,
        bandwidth: float | Real[ArrayLike, "..."] | None = None,
    ) -> CalibratedQuantileRegression:
        """Choose the widening on rows that the quantile models have not seen.

        Args:
            lower: `(n,)`, predicted lower quantiles.
            upper: `(n,)`, predicted upper quantiles.
            y: `(n,)`, what was observed.
            middle: `(n,)`, predicted medians, for scaling "sides" alone.
            groups: this and the rest as for `SplitRegression.calibrate`.
            count: see there.
            weights: see there.
            points: see there.
            bandwidth: see there.

        Raises:
            ValueError: for shapes that differ or values that are not finite, and as there.
        """
        y = checks.as_vector("y", y)
        offset = jnp.asarray(self.offset, y.dtype)
        lower = checks.as_vector("lower", lower, length=y.shape[0])
        ends = _as_ends(lower, upper, middle, self.scaling, offset)
        found = self._calibrate(ends, y, groups, count, weights, points, bandwidth)
        return CalibratedQuantileRegression(
            found, self.coverage, self.symmetric, self.scaling, offset
        )


def _as_ends(lower, upper, middle, scaling: str, offset) -> Ends:
    lower = checks.finite("lower", checks.as_float("lower", lower))

    def beside(name, value):
        array = checks.finite(name, checks.as_float(name, value))
        if array.shape != lower.shape:
            raise ValueError(
                f"{name} must have the shape {lower.shape} of lower; got {array.shape}"
            )
        return array

    upper = beside("upper", upper)
    if (middle is not None) != (scaling == "sides"):
        raise ValueError("middle must be given with scaling='sides', and only then")
    if scaling == "none":
        return Ends(lower, upper)
    if scaling == "width":
        width = jnp.maximum(upper - lower, 0) + offset
        return Ends(lower, upper, width, width)
    middle = beside("middle", middle)
    below, above = jnp.maximum(middle - lower, 0), jnp.maximum(upper - middle, 0)
    return Ends(lower, upper, below + offset, above + offset)
