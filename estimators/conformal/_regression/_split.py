"""Split conformal regression: an interval about any prediction."""

import equinox as eqx
from jaxtyping import Array, ArrayLike, Float, Int, Key, Real

from estimators._core import checks
from estimators.conformal._regression._calibrate import Calibrated, RegressionSpec
from estimators.conformal._regression._ends import Ends, as_scale
from estimators.conformal._thresholds import Where


class CalibratedRegression(Calibrated):
    """Intervals around predictions; see `SplitRegression`.

    Attributes:
        scaled: whether `interval` needs a scale.
    """

    scaled: bool = eqx.field(static=True)

    def interval(
        self,
        predictions: Real[ArrayLike, "*batch"],
        scale: Real[ArrayLike, "*batch"] | None = None,
        *,
        groups: Int[ArrayLike, "*batch"] | None = None,
        weights: Real[ArrayLike, "*batch"] | None = None,
        points: Real[ArrayLike, "*batch d"] | None = None,
        key: Key[Array, ""] | None = None,
    ) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
        """Lower and upper ends around `predictions`, each `(*batch,)`.

        Args:
            predictions: of the model, for new rows.
            scale: the guess of the error's size, where calibration had one.
            groups: the group of each row, where calibration had groups.
            weights: the density ratio at each row, where calibration had weights.
            points: where each row lies, where calibration had points.
            key: draws, where calibration had points.

        Raises:
            ValueError: if something is missing that calibration had, or is not used, or has
                another shape; for a group that calibration did not have (inside `jax.jit` its
                interval is infinite).
        """
        predictions = checks.finite("predictions", checks.as_float("predictions", predictions))
        if (scale is not None) != self.scaled:
            needed = "was" if self.scaled else "was not"
            raise ValueError(f"scale must be given exactly where calibration had it; it {needed}")
        ends = _around(predictions, scale)
        return self._interval(ends, Where(groups, weights, points, key))


class SplitRegression(RegressionSpec):
    """Split conformal prediction intervals for regression.

    The score is `|y - prediction|`, or `|y - prediction| / scale`; the interval adds its
    conformal quantile on both sides (Papadopoulos et al. 2002; Lei et al. 2018). With
    `symmetric=False` each side has its own, at `(1 + coverage) / 2`, and covers on its own.

    Args:
        coverage: probability that the interval must cover, in (0, 1).
        symmetric: see above.

    Guarantee: for exchangeable rows, and predictions (and scales) of a model that saw none
    of them, a new y is covered with probability at least `coverage`, over calibration and
    test rows together. It is marginal: not conditional on x, and not on this calibration
    set; `conformal.coverage_band` has the spread. `calibrated.guarantee` has it in numbers.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> y = jnp.arange(20.0)
        >>> calibrated = conformal.SplitRegression(coverage=0.9).calibrate(y - 0.5, y)
        >>> lower, upper = calibrated.interval(jnp.array([3.0]))
        >>> print(lower, upper)
        [2.5] [3.5]

    When it fails: rows in order of time or in clusters are not exchangeable. A model that has
    seen the calibration rows has residuals that are too small there.
    """

    def calibrate(
        self,
        predictions: Real[ArrayLike, " n"],
        y: Real[ArrayLike, " n"],
        scale: Real[ArrayLike, " n"] | None = None,
        *,
        groups: Int[ArrayLike, " n"] | None = None,
        count: int | None = None,
        weights: Real[ArrayLike, " n"] | None = None,
        points: Real[ArrayLike, "n d"] | None = None,
        bandwidth: float | Real[ArrayLike, "..."] | None = None,
    ) -> CalibratedRegression:
        """Choose the width on rows that the model has not seen.

        Args:
            predictions: `(n,)`, the model's predictions.
            y: `(n,)`, what was observed.
            scale: `(n,)`, positive: a guess of the error's size at each row. The intervals
                are then proportional to it (normalised scores).
            groups: `(n,)`, whole numbers from 0: every group gets its own threshold, and is
                covered by itself (Mondrian; Vovk et al. 2005).
            count: number of groups; needed inside `jax.jit`.
            weights: `(n,)`, not negative: the ratio of the new rows' density to that of these
                rows, up to a factor, as from `DensityRatio` (Tibshirani et al. 2019). With
                groups, within each.
            points: `(n, d)`, where each row lies: calibration rows count by their distance
                (randomly-localised conformal prediction; Hore & Barber 2024), so that
                coverage holds about each place, nearly, and on average, exactly.
            bandwidth: standard deviation of the kernel, in units of `points`, for all columns
                or one for each. The smaller, the more local, and the wider the interval.

        Raises:
            ValueError: for shapes that differ, values that are not finite, a scale or a
                bandwidth that is not positive, weights that are negative.
        """
        predictions = checks.as_vector("predictions", predictions)
        y = checks.as_vector("y", y, length=predictions.shape[0])
        ends = _around(predictions, scale)
        found = self._calibrate(ends, y, groups, count, weights, points, bandwidth)
        return CalibratedRegression(found, self.coverage, self.symmetric, scale is not None)


def _around(predictions, scale) -> Ends:
    if scale is not None:
        scale = as_scale("scale", scale, predictions.shape)
    return Ends(predictions, predictions, scale, scale)
