"""The exact law of the sum of the ranks that test scores take among calibration scores."""

import bisect
import functools
import math
from fractions import Fraction

import numpy as np
from jaxtyping import Float

from estimators._core import checks
from estimators.conformal._quantile import as_fraction

# Up to here counts are whole numbers of any size, in at most about a second.
MOST_INTEGER_STEPS = 4_000_000
# Beyond it the characteristic function is below 1e-13 from here on.
FREQUENCIES = 1 << 14


def rank_sum_law(calibration: int, test: int) -> Float[np.ndarray, " u"]:
    """Law of the sum of R_j - 1: how many calibration scores lie below each test score.

    For exchangeable, distinct scores the sum is the Mann-Whitney U statistic, and
    `P(U = u) = [n + m choose m]_u / C(n + m, m)`, u = 0..n m, with the coefficients of the
    Gaussian binomial. They are counted in whole numbers where n m^2, m the smaller of the two,
    is at most 4e6 (4e7 where the counts fit 63 bits); above that the characteristic function is
    inverted, to about 1e-13 in the cumulated law.

    Args:
        calibration: number n of calibration scores.
        test: number m of test scores.

    Returns:
        `(n m + 1,)`, float64, on the host and not writable.

    Raises:
        ValueError: for numbers below 1.

    Example:
        >>> from estimators import conformal
        >>> print(conformal.rank_sum_law(3, 2) * 10)
        [1. 1. 2. 2. 2. 1. 1.]

    Reference: Mann & Whitney 1947; for its place here Lee, Tchetgen Tchetgen & Dobriban
    (arXiv 2409.13990).

    When it fails: ties among the scores. U is then stochastically smaller, if a tie counts as
    "not below", and upper bounds stay valid.
    """
    checks.integer("calibration", calibration, at_least=1)
    checks.integer("test", test, at_least=1)
    return _law(max(calibration, test), min(calibration, test))


def rank_sum_quantile(calibration: int, test: int, coverage: float | Fraction) -> int:
    """The smallest q with `P(R_1 + ... + R_m <= q) >= coverage`.

    It is decided in whole numbers, as `rank_sum_law`; for larger samples in float64, where a
    probability within 1e-12 of the coverage counts as reached.

    Args:
        calibration: number n of calibration scores.
        test: number m of test scores.
        coverage: in (0, 1).

    Returns:
        q, from m to m (n + 1): ranks count from 1.

    Raises:
        ValueError: for numbers below 1, or a coverage outside (0, 1).

    Example:
        >>> from estimators import conformal
        >>> conformal.rank_sum_quantile(1000, 20, 0.9), conformal.rank_sum_quantile(99, 1, 0.9)
        (11698, 90)

    Reference: as `rank_sum_law`. Ranks that are drawn one by one from 1..n + 1 have another
    law, with a variance that is smaller by (n + 2) / (n + m + 1); its quantile is too small.

    When it fails: as `rank_sum_law`.
    """
    checks.integer("calibration", calibration, at_least=1)
    checks.integer("test", test, at_least=1)
    checks.probability("coverage", coverage)
    n, m = max(calibration, test), min(calibration, test)
    exact = as_fraction(coverage)
    if _is_countable(n, m):
        needed = math.ceil(exact * math.comb(n + m, m))
        return test + bisect.bisect_left(_cumulated_counts(n, m), needed)
    needed = float(exact) - 1e-12
    return test + bisect.bisect_left(range(n * m + 1), needed, key=lambda u: _below(n, m, u))


def rank_sum_probability(calibration: int, test: int, total: int) -> float:
    """`P(R_1 + ... + R_m <= total)`, for m <= total <= m (n + 1)."""
    n, m, u = max(calibration, test), min(calibration, test), total - test
    if _is_countable(n, m):
        return int(_cumulated_counts(n, m)[u]) / math.comb(n + m, m)
    return float(_below(n, m, u))


def _is_countable(n, m):
    most = 10 * MOST_INTEGER_STEPS if math.comb(n + m, m) < 2**62 else MOST_INTEGER_STEPS
    return n * m * m <= most


@functools.lru_cache(maxsize=32)
def _cumulated_counts(n, m):
    """Cumulated coefficients of prod_i (1 - x^(n + i)) / (1 - x^i), in whole numbers.

    In floating point this recursion is unstable where n and m are close and large: at
    n = m = 100 the law is off by 1e-5.
    """
    kind = np.int64 if math.comb(n + m, m) < 2**62 else object
    counts = np.ones(1, kind)
    for i in range(1, m + 1):
        size = n * i + 1
        # A multiple of i, so that the strided sums are the columns of a table.
        wider = np.zeros(-(-size // i) * i, kind)
        wider[: counts.size] = counts
        wider[n + i : size] -= counts[: max(size - n - i, 0)]
        counts = np.cumsum(wider.reshape(-1, i), axis=0).ravel()[:size]
    return np.cumsum(counts)


@functools.lru_cache(maxsize=8)
def _law(n, m):
    if _is_countable(n, m):
        counts = np.diff(_cumulated_counts(n, m), prepend=0)
        law = (counts / math.comb(n + m, m)).astype(np.float64)
    else:
        values = np.concatenate([np.ones(1), _characteristic(n, m)])
        angle = np.arange(values.size) * (np.pi * n * m / (n * m + 1))
        law = np.fft.irfft(values * np.exp(-1j * angle), n * m + 1)
    law.flags.writeable = False
    return law


def _half_angles(n, m):
    return np.pi * np.arange(1, min(FREQUENCIES, n * m // 2) + 1) / (n * m + 1)


@functools.lru_cache(maxsize=8)
def _characteristic(n, m):
    """E cos(2 pi k (U - n m / 2) / (n m + 1)), k = 1, 2, ..: a product of sine ratios."""
    half_angle = _half_angles(n, m)
    values = np.ones(half_angle.size)
    for i in range(1, m + 1):
        values *= i * np.sin((n + i) * half_angle) / ((n + i) * np.sin(i * half_angle))
    return values


def _below(n, m, u):
    """P(U <= u), from the Fourier series of the law summed over 0..u."""
    half_angle = _half_angles(n, m)
    waves = np.sin(2 * half_angle * (u - n * m / 2 + 0.5)) / np.sin(half_angle)
    return (u + 1 + waves @ _characteristic(n, m)) / (n * m + 1)
