"""The law of the rank that an order statistic of the test scores has among calibration scores."""

import math
from fractions import Fraction

import numpy as np
from jaxtyping import Float

from estimators._core import checks

# Float sums are right to about 1e-12; nearer to the coverage than this, integers decide.
NEAR = 1e-9


def batch_rank_law(calibration: int, test: int, position: int) -> Float[np.ndarray, " ranks"]:
    """Probabilities of the rank of a test order statistic among the calibration scores.

    With n calibration scores S and m test scores T, exchangeable and distinct, the rank
    `R = 1 + #{i : S_i < T_(z)}` of the z-th smallest test score has

        P(R = k) = C(k + z - 2, z - 1) C(n + m - k - z + 1, m - z) / C(n + m, m),

    k = 1 .. n + 1: R - 1 is beta-binomial with parameters `(n; z, m + 1 - z)`. With ties R is
    stochastically smaller, and its twin that counts `S_i <= T_(z)` larger.

    Args:
        calibration: number n of calibration scores, from 0.
        test: number m of test scores.
        position: z, from 1 (the smallest test score) to m (the largest).

    Returns:
        `(n + 1,)` in float64, on the host whatever the precision of jax: entry k - 1 is
        P(R = k).

    Raises:
        ValueError: for counts that are not whole, or a position outside 1 .. m.

    Example:
        >>> from estimators import conformal
        >>> print(conformal.batch_rank_law(4, 1, 1))
        [0.2 0.2 0.2 0.2 0.2]

    Reference: Lee, Tchetgen Tchetgen & Dobriban, arXiv 2409.13990; Gazin, Blanchard &
    Roquain 2024 for the joint law, a Polya urn.

    When it fails: it is the law over calibration and test scores together. Given one
    calibration set the ranks of its test scores follow another.
    """
    n, m, z = as_counts(calibration, test, position)
    rank = np.arange(1.0, n + 1)
    # P(R = k + 1) / P(R = k) falls through 1 once. From the largest term outwards products
    # only shrink: nothing overflows, and no logarithm of a factorial loses digits.
    ratio = (rank + z - 1) * (n + 1 - rank) / (rank * (n + m + 1 - rank - z))
    mode = np.count_nonzero(ratio >= 1)
    below = np.cumprod(1 / ratio[:mode][::-1])[::-1]
    law = np.concatenate([below, [1.0], np.cumprod(ratio[mode:])])
    return law / law.sum()


def reaches(n: int, m: int, z: int, rank: int, coverage: Fraction) -> bool:
    """Whether P(R <= rank) >= coverage, in whole numbers.

    R <= k where at least z test scores lie below S_(k), and C(n + m, m) P(exactly j do) is
    C(j + k - 1, j) C(m - j + n - k, m - j).
    """
    if rank > n:
        return True
    term = total = math.comb(m + rank - 1, m)
    for j in range(m, z, -1):
        term = term * j * (m - j + 1 + n - rank) // ((j + rank - 1) * (m - j + 1))
        total += term
    return total * coverage.denominator >= coverage.numerator * math.comb(n + m, m)


def as_counts(calibration, test, position) -> tuple[int, int, int]:
    """Check the three counts n, m and z."""
    n = checks.integer("calibration", calibration, at_least=0)
    m = checks.integer("test", test, at_least=1)
    z = checks.integer("position", position, at_least=1)
    if z > m:
        raise ValueError(f"position must be at most the number of test scores, {m}; got {z}")
    return n, m, z
