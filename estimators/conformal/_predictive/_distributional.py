"""Distributional conformal prediction: calibrate the levels at which quantiles are read."""

import functools
from collections.abc import Sequence
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from estimators._core import Fitted, Spec, checks
from estimators.conformal._guarantee import Guarantee
from estimators.conformal._predictive._centres import as_centres, as_quantiles, middle_levels
from estimators.conformal._predictive._piecewise import level_at, value_at
from estimators.conformal._predictive._promise import CalibratedThreshold
from estimators.conformal._quantile import conformal_quantile


class CalibratedLevels(CalibratedThreshold):
    """Levels to read any model's quantile function at; see `DistributionalConformal`.

    The threshold is half the distance between the two levels.

    Attributes:
        kind: "central" or "shortest".
    """

    kind: Literal["central", "shortest"] = eqx.field(static=True)

    def levels(
        self, centres: Real[ArrayLike, "*batch"] | None = None
    ) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
        """The lower and upper level for each row, within [0, 1].

        A level of 0 or 1 stands for -inf or +inf, also where the model's law has an end.

        Args:
            centres: `(*batch,)`, as in calibration; None for the central interval, whose
                levels are those of every row.
        """
        middle = as_centres(centres, self.kind, None).astype(self.threshold.dtype)
        return jnp.clip(middle - self.threshold, 0, 1), jnp.clip(middle + self.threshold, 0, 1)


class CalibratedDistributional(Fitted):
    """Intervals from predicted quantiles; see `DistributionalConformal`.

    Attributes:
        calibrated: the threshold on levels.
        levels: `(L,)`, of the predicted quantiles.
    """

    calibrated: CalibratedLevels
    levels: Float[Array, " L"]

    @property
    def reason(self) -> str | None:
        """Why the intervals are infinite, or None where they are not."""
        return self.calibrated.reason

    @property
    def guarantee(self) -> Guarantee:
        """What `interval` promises."""
        return self.calibrated.guarantee

    def interval(
        self, quantiles: Real[ArrayLike, "*batch L"]
    ) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
        """Lower and upper ends from quantiles predicted at the levels of calibration.

        Raises:
            ValueError: for a wrong shape, or values that are not finite outside `jax.jit`.
        """
        rows = as_quantiles(quantiles, self.levels.shape[0])
        of_rows, threshold = self.calibrated, self.calibrated.threshold
        middle = middle_levels(rows, self.levels, of_rows.coverage, of_rows.kind)
        ends = jnp.stack([middle - threshold, middle + threshold], -1)
        found = _values(rows.reshape(-1, rows.shape[-1]), self.levels, ends.reshape(-1, 2))
        return found[:, 0].reshape(middle.shape), found[:, 1].reshape(middle.shape)


class DistributionalConformal(Spec):
    """Conformal intervals between two quantiles of a model, at levels that are calibrated.

    With F(y|x) any model's distribution function and c(x) a level in the middle, the score is

        |F(y|x) - c(x)|

    and the interval goes from the quantile at c(x) - t to that at c(x) + t, t the conformal
    quantile of the scores (Chernozhukov, Wuthrich & Zhu 2021). It follows the predicted shape:
    its ends need not be as far from the prediction on both sides, or as far in every row.

    Predicted quantiles are sorted where they cross and joined by straight lines. Beyond the
    outermost levels the first and the last line go on. F then leaves [0, 1] there, which a
    score may: all outcomes keep different scores, and all intervals are finite as long as the
    outermost two quantiles differ.

    Args:
        coverage: probability that the interval must cover, in (0, 1).
        kind: "central" has c = 1/2, an interval with equal predicted tails. "shortest" has
            c(x) = b(x) + coverage/2, with b(x) the lower level of the shortest interval between
            two levels that are `coverage` apart and inside those given (the optimal form of
            the paper): shorter where the predicted law is skewed.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> levels = jnp.array([0.25, 0.5, 0.75])
        >>> quantiles = jnp.broadcast_to(jnp.array([0.0, 1.0, 3.0]), (9, 3))
        >>> y = jnp.array([0.2, 0.5, 0.9, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0])
        >>> calibrated = conformal.DistributionalConformal(0.8).calibrate(quantiles, levels, y)
        >>> lower, upper = calibrated.interval(quantiles[:1])
        >>> print(lower, upper)
        [0.] [3.]

    Reference: Chernozhukov, Wuthrich & Zhu 2021, Distributional conformal prediction, PNAS
    118(48), in its split form, with the scores of its basic and of its optimal method.

    When it fails: the coverage holds whatever the model, the shape is the model's: where its
    quantiles are wrong for some rows, those rows are covered too seldom or too often. Few
    levels make "shortest" coarse.
    """

    coverage: float = eqx.field(static=True, default=0.9)
    kind: Literal["central", "shortest"] = eqx.field(static=True, default="central", kw_only=True)

    def __check_init__(self):
        checks.probability("coverage", self.coverage)
        checks.one_of("kind", self.kind, ("central", "shortest"))

    def calibrate(
        self,
        quantiles: Real[ArrayLike, "n L"],
        levels: Sequence[float] | Real[ArrayLike, " L"],
        y: Real[ArrayLike, " n"],
    ) -> CalibratedDistributional:
        """Choose the levels on rows that the model has not seen.

        Args:
            quantiles: `(n, L)`, predicted at each of the levels, in the unit of y.
            levels: `(L,)`, at least two, strictly increasing inside (0, 1).
            y: `(n,)`, what was observed.

        Raises:
            ValueError: for shapes that do not belong together, values that are not finite, or
                levels that lie closer than `coverage` for "shortest". Inside jit the
                threshold is then NaN.
        """
        known = checks.as_levels("levels", levels)
        rows = as_quantiles(quantiles, known.shape[0])
        if rows.ndim != 2:
            raise ValueError(f"quantiles must have shape (n, L); got shape {rows.shape}")
        known = known.astype(rows.dtype)
        y = checks.as_vector("y", y, length=rows.shape[0])
        middle = middle_levels(rows, known, self.coverage, self.kind)
        return CalibratedDistributional(self._calibrated(_scores(rows, known, y, middle)), known)

    def calibrate_distribution(
        self,
        distribution_at_y: Real[ArrayLike, " n"],
        centres: Real[ArrayLike, " n"] | None = None,
    ) -> CalibratedLevels:
        """The same from values of any model's distribution function at the outcomes.

        Args:
            distribution_at_y: `(n,)`, F(y|x) of rows that the model has not seen, in [0, 1].
            centres: `(n,)`, for "shortest": the middle level c(x) of each row, by a rule that
                does not look at y. `centres` of this class has one.

        Raises:
            ValueError: for values outside [0, 1], or centres that are missing or not needed.
        """
        values = checks.as_vector("distribution_at_y", distribution_at_y)
        values = checks.as_unit("distribution_at_y", values)
        middle = as_centres(centres, self.kind, values.shape)
        return self._calibrated(jnp.abs(values - middle))

    def centres(
        self, quantiles: Real[ArrayLike, "*batch L"], levels: Real[ArrayLike, " L"]
    ) -> Float[Array, "*batch"]:
        """The middle level of each row, from quantiles predicted at `levels`."""
        known = checks.as_levels("levels", levels)
        rows = as_quantiles(quantiles, known.shape[0])
        return middle_levels(rows, known.astype(rows.dtype), self.coverage, self.kind)

    def _calibrated(self, scores):
        threshold = conformal_quantile(scores, self.coverage)
        return CalibratedLevels(threshold, self.coverage, scores.shape[0], self.kind)


@jax.jit
def _scores(rows, levels, y, middle):
    lowest, highest = (
        jax.vmap(functools.partial(level_at, side=side), (0, None, 0))(rows, levels, y)
        for side in ("left", "right")
    )
    # At a jump of the function an outcome has the level nearest to the middle.
    return jnp.maximum(jnp.maximum(lowest - middle, middle - highest), 0)


@jax.jit
def _values(rows, levels, ends):
    return jax.vmap(jax.vmap(value_at, (None, None, 0)), (0, None, 0))(rows, levels, ends)
