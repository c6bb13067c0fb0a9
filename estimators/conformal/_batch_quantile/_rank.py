"""Ranks of the calibration scores that bound an order statistic of the test scores."""

import bisect
import functools
import math
from fractions import Fraction
from typing import Literal

import numpy as np
from jaxtyping import Int

from estimators._core import checks
from estimators.conformal._batch_quantile._law import NEAR, as_counts, batch_rank_law, reaches
from estimators.conformal._quantile import as_fraction

Side = Literal["lower", "upper", "two-sided"]


def batch_rank(
    calibration: int,
    test: int,
    position: int,
    coverage: float | np.floating | Fraction,
    *,
    side: Literal["lower", "upper"] = "upper",
) -> int:
    """Rank of the calibration score that bounds the `position`-th smallest test score.

    With R the rank of T_(z) (see `batch_rank_law`) the upper rank is the smallest q with
    P(R <= q) >= coverage, so that T_(z) <= S_(q). The lower rank is the largest p with
    P(R > p) >= coverage, so that T_(z) >= S_(p); by reflection n + 1 less the upper rank of
    position m + 1 - z. Where floats come near the coverage, whole numbers decide. Each rank
    is computed once and kept.

    Args:
        calibration: number n of calibration scores, from 0.
        test: number m of test scores.
        position: z, from 1 (the smallest test score) to m (the largest).
        coverage: in (0, 1); a decimal means the fraction that was written.
        side: which bound.

    Returns:
        The upper rank, 1 to n + 1; n + 1 says that no calibration score is large enough. Or
        the lower rank, 0 to n; 0 says that none is small enough.

    Raises:
        ValueError: for counts that are not whole, a position outside 1 .. m, a coverage
            outside (0, 1) or another side.

    Example:
        >>> from estimators import conformal
        >>> conformal.batch_rank(200, 100, 90, 0.9)
        188
        >>> conformal.batch_rank(200, 100, 11, 0.9, side="lower")
        13

    Reference: Lee, Tchetgen Tchetgen & Dobriban, arXiv 2409.13990.

    When it fails: for an extreme position and few calibration scores the rank is n + 1 (or
    0), and the bound infinite.
    """
    n, m, z = as_counts(calibration, test, position)
    checks.probability("coverage", coverage)
    checks.one_of("side", side, ("lower", "upper"))
    exact = as_fraction(coverage)
    return _upper(n, m, z, exact) if side == "upper" else n + 1 - _upper(n, m, m + 1 - z, exact)


def end_ranks(n: int, m: int, z: int, coverage: float | Fraction, side: Side) -> tuple[int, int]:
    """Ranks p and q of S_(p) <= T_(z) <= S_(q); 0 and n + 1 where a side is not bounded."""
    each = of_each_end(coverage, side)
    lower = 0 if side == "upper" else batch_rank(n, m, z, each, side="lower")
    upper = n + 1 if side == "lower" else batch_rank(n, m, z, each)
    return lower, upper


def end_tables(
    n: int, m: int, z: int, coverage: float | Fraction, side: Side
) -> tuple[Int[np.ndarray, " counts"], Int[np.ndarray, " counts"]]:
    """`end_ranks` for every number of calibration scores, 0 .. n."""
    each, none = of_each_end(coverage, side), np.arange(1, n + 2)
    lower = 0 * none if side == "upper" else none - _upper_table(n, m, m + 1 - z, each)
    upper = none if side == "lower" else _upper_table(n, m, z, each)
    return lower, upper


def of_each_end(coverage: float | Fraction, side: Side) -> Fraction:
    """The coverage that each end must have; two ends share what may be missed."""
    exact = as_fraction(coverage)
    return (1 + exact) / 2 if side == "two-sided" else exact


def fewest(m: int, z: int, coverage: float | Fraction, side: Side) -> int:
    """The fewest calibration scores for which every end that is asked for is finite."""
    each = of_each_end(coverage, side)
    positions = {"upper": (z,), "lower": (m + 1 - z,), "two-sided": (z, m + 1 - z)}[side]
    # The largest test score needs m c / (1 - c), and no other position more.
    most = math.ceil(m * each / (1 - each))

    def finite(n):
        # T_(z) exceeds every S where the largest m - z + 1 of all n + m scores are test ones.
        return all(
            math.comb(m, m - z + 1) <= (1 - each) * math.comb(n + m, m - z + 1) for z in positions
        )

    return bisect.bisect_left(range(most), True, key=finite)


@functools.lru_cache(maxsize=4096)
def _upper(n: int, m: int, z: int, coverage: Fraction) -> int:
    cumulative = np.cumsum(batch_rank_law(n, m, z))
    rank = int(np.searchsorted(cumulative, float(coverage) - NEAR)) + 1
    while (
        rank <= n
        and cumulative[rank - 1] < float(coverage) + NEAR
        and not reaches(n, m, z, rank, coverage)
    ):
        rank += 1
    return rank


@functools.lru_cache(maxsize=64)
def _upper_table(n: int, m: int, z: int, coverage: Fraction) -> Int[np.ndarray, " counts"]:
    """The upper rank for every number of calibration scores, 0 .. n.

    One score more raises the rank by 0 or 1. P(R = rank) and P(R <= rank) are carried along,
    in O(n) altogether.
    """
    target, rank, atom, cumulative = float(coverage), 1, 1.0, 1.0
    table = np.empty(n + 1, int)
    for count in range(n + 1):
        while cumulative < target - NEAR or (
            cumulative < target + NEAR and not reaches(count, m, z, rank, coverage)
        ):
            atom *= (rank + z - 1) * (count + 1 - rank) / (rank * (count + m + 1 - rank - z))
            rank += 1
            cumulative += atom
        table[count] = rank
        # The next score falls below T_(z) as in Polya's urn, and takes R from rank to rank + 1.
        cumulative -= atom * (rank - 1 + z) / (count + m + 1)
        atom *= (count + 1) / (count + m + 1)
        atom *= (count + m + 2 - rank - z) / (count + 2 - rank)
    table.flags.writeable = False  # it is shared by all that ask for it
    return table
