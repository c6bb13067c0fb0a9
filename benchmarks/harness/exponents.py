"""How time and memory grow: exponents by least squares in logarithms, and their table."""

from typing import NamedTuple

import numpy as np

# Below, pages and the allocator's habits are most of what the kernel counts.
LEAST_MEMORY = 1 << 20


class Exponent(NamedTuple):
    """The slope of a straight line in logarithms.

    Attributes:
        value: b in `measured = a size^b`.
        standard_error: of b, from the residuals.
        level: a.
    """

    value: float
    standard_error: float
    level: float


def exponent(sizes, measured) -> Exponent | None:
    """Fit `measured = a size^b`; None for fewer than three sizes.

    Args:
        sizes: positive.
        measured: positive, one for each size.
    """
    if len(sizes) < 3:
        return None
    x, y = np.log(np.asarray(sizes, float)), np.log(np.asarray(measured, float))
    centred = x - x.mean()
    slope = centred @ y / (centred @ centred)
    residuals = y - y.mean() - slope * centred
    variance = residuals @ residuals / (len(x) - 2)
    error = np.sqrt(variance / (centred @ centred))
    return Exponent(float(slope), float(error), float(np.exp(y.mean() - slope * x.mean())))


def of_time(curve: dict) -> Exponent | None:
    """The exponent of the median seconds."""
    points = measured_points(curve)
    return exponent([p["value"] for p in points], [p["median"] for p in points])


def of_memory(curve: dict) -> Exponent | None:
    """The exponent of the peak memory, over the sizes that need a megabyte or more."""
    points = [p for p in measured_points(curve) if (p.get("memory") or 0) >= LEAST_MEMORY]
    return exponent([p["value"] for p in points], [p["memory"] for p in points])


def measured_points(curve: dict) -> list[dict]:
    """The sizes at which nothing failed."""
    return [point for point in curve["points"] if "median" in point]
