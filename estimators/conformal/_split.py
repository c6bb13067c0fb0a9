"""Split conformal regression: one number, added on both sides of any prediction."""

from fractions import Fraction

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from estimators._core import Fitted, Spec, checks
from estimators.conformal._quantile import (
    as_fraction,
    calibration_size,
    conformal_quantile,
    conformal_rank,
)


class CalibratedRegression(Fitted):
    """Intervals around predictions; see `SplitRegression`.

    Attributes:
        threshold: half-width, in units of `y`, or of `scale` where one was given.
        coverage: coverage asked for.
        calibration: number of calibration rows.
        scaled: whether `interval` needs a scale.
    """

    threshold: Float[Array, ""]
    coverage: float = eqx.field(static=True)
    calibration: int = eqx.field(static=True)
    scaled: bool = eqx.field(static=True)

    @property
    def reason(self) -> str | None:
        """Why the intervals are infinite, or None where they are not."""
        return why_infinite(self.calibration, self.coverage)

    def interval(
        self,
        predictions: Real[ArrayLike, "*batch"],
        scale: Real[ArrayLike, "*batch"] | None = None,
    ) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
        """Lower and upper ends around `predictions`, each `(*batch,)`.

        Raises:
            ValueError: if `scale` is given here but was not in calibration, or the reverse,
                or has another shape.
        """
        predictions = checks.finite("predictions", checks.as_float("predictions", predictions))
        if (scale is not None) != self.scaled:
            needed = "was" if self.scaled else "was not"
            raise ValueError(f"scale must be given exactly where calibration had it; it {needed}")
        if scale is None:
            width = jnp.broadcast_to(self.threshold, predictions.shape)
        else:
            width = self.threshold * _as_scale(scale, predictions.shape)
        return predictions - width, predictions + width


class SplitRegression(Spec):
    """Split conformal prediction intervals for regression.

    The score is `|y - prediction|`, or `|y - prediction| / scale`; the interval adds its
    conformal quantile on both sides (Papadopoulos et al. 2002; Lei et al. 2018).

    Args:
        coverage: probability that the interval must cover, in (0, 1).

    Guarantee: for exchangeable rows, and predictions (and scales) of a model that saw none
    of them, a new y is covered with probability at least `coverage`, over calibration and
    test rows together. It is marginal: not conditional on x, and not on this calibration
    set; `conformal.coverage_band` has the spread.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> y = jnp.arange(20.0)
        >>> calibrated = conformal.SplitRegression(coverage=0.9).calibrate(y - 0.5, y)
        >>> lower, upper = calibrated.interval(jnp.array([3.0]))
        >>> print(lower, upper)
        [2.5] [3.5]
    """

    coverage: float = eqx.field(static=True, default=0.9)

    def __check_init__(self):
        checks.probability("coverage", self.coverage)

    def calibrate(
        self,
        predictions: Real[ArrayLike, " n"],
        y: Real[ArrayLike, " n"],
        scale: Real[ArrayLike, " n"] | None = None,
    ) -> CalibratedRegression:
        """Choose the half-width on rows that the model has not seen.

        Args:
            predictions: `(n,)`, the model's predictions.
            y: `(n,)`, what was observed.
            scale: `(n,)`, positive: a guess of the error's size at each row. The intervals
                are then proportional to it (normalised scores).

        Raises:
            ValueError: for shapes that differ, values that are not finite, a scale that is
                not positive.
        """
        predictions = checks.as_vector("predictions", predictions)
        n = predictions.shape[0]
        residuals = jnp.abs(checks.as_vector("y", y, length=n) - predictions)
        if scale is not None:
            residuals = residuals / _as_scale(scale, (n,))
        threshold = conformal_quantile(residuals, self.coverage)
        return CalibratedRegression(threshold, self.coverage, n, scale is not None)


def why_infinite(n: int, coverage: float | Fraction) -> str | None:
    """The reason for an infinite conformal set, or None where it is finite."""
    if conformal_rank(n, coverage) <= n:
        return None
    return (
        f"coverage {float(as_fraction(coverage)):g} needs at least {calibration_size(coverage)} "
        f"calibration rows; there were {n}"
    )


def _as_scale(scale, shape):
    array = checks.as_float("scale", scale)
    if array.shape != shape:
        raise ValueError(f"scale must have shape {shape}, as the predictions; got {array.shape}")
    return checks.positive("scale", array)
