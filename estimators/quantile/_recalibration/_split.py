"""A shift of every predicted quantile, from rows that no model has seen."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Real

from estimators._core import Fitted, Spec, checks, order_statistic
from estimators.conformal import conformal_rank
from estimators.conformal._quantile import as_fraction
from estimators.quantile._inputs import as_levels, as_rows
from estimators.quantile._monotone._sort import sort_levels
from estimators.quantile._monotone._sweep import sweep_levels
from estimators.quantile._recalibration._ranks import level_ranks, why_infinite


class CalibratedQuantiles(Fitted):
    """Shifts; see `ConformalQuantiles`.

    Attributes:
        shifts: `(levels,)`, added to each predicted quantile, in the unit of y.
        levels: `(levels,)`.
        calibration: number of calibration rows.
    """

    shifts: Float[Array, " levels"]
    levels: Float[Array, " levels"]
    calibration: int = eqx.field(static=True)

    @property
    def reason(self) -> str | None:
        """Why some quantiles are infinite, or None where none is."""
        return why_infinite(self.levels, self.calibration)

    def quantiles(
        self, predictions: Real[ArrayLike, "*batch levels"]
    ) -> Float[Array, "*batch levels"]:
        """Calibrated quantiles, which do not cross.

        Predictions are sorted, shifted, and swept from the middle level outwards: upper ones
        only rise and lower ones only fall by that, so the guarantee stands.

        Raises:
            ValueError: for a wrong shape, or values that are not finite outside `jax.jit`.
        """
        rows = as_rows(predictions)
        if rows.shape[-1] != self.levels.shape[0]:
            raise ValueError(
                f"predictions must have shape (*batch, {self.levels.shape[0]} levels); "
                f"got shape {rows.shape}"
            )
        rows = sort_levels(checks.finite("predictions", rows))
        shifts = self.shifts.astype(rows.dtype).reshape((1,) * (rows.ndim - 1) + (-1,))
        return sweep_levels(rows + shifts, self.levels)


class ConformalQuantiles(Spec):
    """Conformal recalibration of predicted quantiles, level by level.

    For an upper level, the residuals y - q of calibration rows are ranked, and the one of rank
    ceil((n + 1) level) is added to q; for a lower one that of rank floor((n + 1) level). Each
    pair of levels is then the interval of conformalised quantile regression in its asymmetric
    form (Romano, Patterson and Candes 2019, theorem 2). With `symmetric=True` both ends of
    each pair t, 1 - t move by the same width, that of their theorem 1.

    Args:
        symmetric: see above; it needs levels that are symmetric about 1/2.

    Guarantee: for exchangeable rows, and predictions of models and weights that saw none of
    them, a new y lies at or below the quantile of an upper level with at least that
    probability, and below that of a lower level with at most that; within 1/(n + 1) where
    residuals are distinct and nothing was swept. It is marginal: over calibration and new
    rows, not given x.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import quantile
        >>> y = jnp.arange(19.0)
        >>> predictions = jnp.broadcast_to(jnp.array([-1.0, 0.0, 1.0]), (19, 3))
        >>> spec = quantile.ConformalQuantiles()
        >>> calibrated = spec.calibrate(predictions, y, jnp.array([0.1, 0.5, 0.9]))
        >>> print(calibrated.quantiles(jnp.array([[-1.0, 0.0, 1.0]])))
        [[ 1.  9. 17.]]

    When it fails: it shifts all rows alike, so it repairs the coverage and not the shape:
    where predictions are too wide for some rows and too narrow for others, they stay so.
    """

    symmetric: bool = eqx.field(static=True, default=False, kw_only=True)

    def calibrate(
        self,
        predictions: Real[ArrayLike, "n levels"],
        y: Real[ArrayLike, " n"],
        levels: Real[ArrayLike, " levels"],
    ) -> CalibratedQuantiles:
        """Choose the shifts on rows that neither models nor weights have seen.

        Raises:
            ValueError: for shapes that do not belong together, values that are not finite, or
                `symmetric=True` with a level that has no partner.
        """
        rows, y, known = as_calibration(predictions, y, levels)
        residuals = y[:, None] - sort_levels(rows)
        n = rows.shape[0]
        if self.symmetric:
            shifts = _paired_shifts(residuals, np.asarray(levels))
        else:
            ranks = jnp.asarray(level_ranks(levels, n))
            shifts = jax.vmap(order_statistic, (1, 0))(residuals, ranks)
        shifts = checks.poison(shifts, ~jnp.isnan(shifts).any())
        return CalibratedQuantiles(shifts, known, n)


def as_calibration(predictions, y, levels):
    """Check calibration rows: predictions `(n, levels)`, finite, and their outcomes."""
    rows = as_rows(predictions)
    if rows.ndim != 2:
        raise ValueError(f"predictions must have shape (n, levels); got shape {rows.shape}")
    checks.finite("predictions", rows)
    y = checks.as_vector("y", y, length=rows.shape[0]).astype(rows.dtype)
    return rows, y, as_levels(levels, rows.shape[1]).astype(rows.dtype)


def _paired_shifts(residuals, levels):
    exact = [as_fraction(level) for level in levels]
    if any(a + b != 1 for a, b in zip(exact, exact[::-1], strict=True)):
        raise ValueError(f"levels must be symmetric about 1/2 for symmetric=True; got {levels}")
    lower = np.arange(len(exact) // 2)
    upper = len(exact) - 1 - lower
    widths = jnp.maximum(-residuals[:, lower], residuals[:, upper])
    ranks = [conformal_rank(residuals.shape[0], 1 - 2 * exact[i]) for i in lower]
    widen = jax.vmap(order_statistic, (1, 0))(widths, jnp.asarray(ranks, jnp.int32))
    shifts = jnp.zeros(len(exact), residuals.dtype)
    return shifts.at[lower].set(-widen).at[upper].set(widen)
