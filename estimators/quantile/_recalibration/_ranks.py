"""Ranks of residuals that make every level valid, in exact arithmetic."""

import numpy as np

from estimators._core import checks
from estimators.conformal import calibration_size
from estimators.conformal._quantile import as_fraction, level_rank


def level_ranks(levels, rows: int) -> np.ndarray:
    """For each level, which of `rows` residuals to add; see `level_rank`."""
    if not checks.is_concrete(levels):
        raise ValueError("levels must be known numbers, for exact ranks; they are traced")
    return np.array([level_rank(rows, as_fraction(level)) for level in np.asarray(levels)])


def why_infinite(levels, rows: int) -> str | None:
    """The reason for infinite quantiles, or None where all are finite."""
    ranks = level_ranks(levels, rows)
    if (ranks > 0).all() and (ranks <= rows).all():
        return None
    levels = np.asarray(levels)
    extreme = levels[np.argmax(np.abs(levels - 0.5))]
    needed = calibration_size(max(as_fraction(extreme), 1 - as_fraction(extreme)))
    return f"level {extreme:g} needs at least {needed} calibration rows; there were {rows}"
