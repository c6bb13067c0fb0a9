"""The exact law of the coverage that split conformal prediction reaches, and how many rows it asks.

Coverage is promised on average over calibration sets. That of one set, for distinct scores, has
the law Beta(k, n + 1 - k), with k the conformal rank; the share of m new rows that it covers is
beta-binomial.
"""

import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from estimators._core import checks
from estimators.conformal._quantile import as_fraction, conformal_rank, rank_table


class CoverageBand(NamedTuple):
    """Where the share of covered test rows lies, with the probability asked for.

    Attributes:
        lower: lower end, a share of the test rows.
        expected: the mean, `k / (n + 1)`.
        upper: upper end.
    """

    lower: float
    expected: float
    upper: float


def coverage_band(
    calibration: int,
    test: int | None,
    coverage: float | Fraction,
    *,
    confidence: float = 0.95,
) -> CoverageBand:
    """Exact band for the coverage on `test` rows after `calibration` rows.

    With exchangeable rows and distinct scores the number of covered test rows is
    beta-binomial with parameters `(test; k, n + 1 - k)`, `k = ceil((n + 1) coverage)`: the
    band of a correct method, so that a share outside it speaks against exchangeability.
    The band is two-sided with equal tails of at most `(1 - confidence) / 2`.

    Args:
        calibration: number n of calibration scores.
        test: number of test rows; None for more than can be counted: the band of the coverage
            itself, which is Beta(k, n + 1 - k).
        coverage: coverage asked for, in (0, 1).
        confidence: probability of the band, in (0, 1).

    Returns:
        A `CoverageBand`. Where k = n + 1 (the infinite set) all three are 1.

    Example:
        >>> from estimators import conformal
        >>> band = conformal.coverage_band(200, 200, 0.9)
        >>> print(f"{band.lower:.3f} {band.expected:.3f} {band.upper:.3f}")
        0.835 0.900 0.955

    Reference: Vovk 2012, Conditional validity of inductive conformal predictors; Marques F.
    2025 for the beta-binomial form.
    """
    from scipy import stats

    checks.integer("calibration", calibration, at_least=1)
    checks.probability("confidence", confidence)
    rank = conformal_rank(calibration, coverage)
    if rank > calibration:
        return CoverageBand(1.0, 1.0, 1.0)
    tail, parameters = (1 - confidence) / 2, (rank, calibration + 1 - rank)
    if test is None:
        lower, upper = stats.beta.ppf([tail, 1 - tail], *parameters)
    else:
        checks.integer("test", test, at_least=1)
        lower, upper = stats.betabinom.ppf([tail, 1 - tail], test, *parameters) / test
    return CoverageBand(float(lower), rank / (calibration + 1), float(upper))


def calibration_size_within(
    coverage: float | Fraction, within: float, *, confidence: float = 0.95
) -> int:
    """The fewest calibration rows that hold one set's coverage near the one asked.

    With that many rows, and with any larger number, the coverage given the calibration set
    lies at or above `coverage - within` and at or below `coverage + within`, each with
    probability at least `(1 + confidence) / 2`.

    Args:
        coverage: coverage to be asked for, in (0, 1).
        within: how far from it is allowed, in (0, 1).
        confidence: with which probability, in (0, 1).

    Raises:
        ValueError: for numbers outside (0, 1).

    Example:
        >>> from estimators import conformal
        >>> [conformal.calibration_size_within(0.9, within) for within in (0.05, 0.02, 0.01)]
        [160, 930, 3600]

    When it fails: it is about exchangeable rows with distinct scores. How many rows the model
    needs is another question.
    """
    from scipy import stats

    checks.probability("coverage", coverage)
    checks.probability("within", within)
    checks.probability("confidence", confidence)
    exact, tail = as_fraction(coverage), (1 - confidence) / 2

    def holds(sizes):
        ranks = rank_table(int(sizes[-1]), exact)[sizes]
        parameters = ranks, np.maximum(sizes + 1 - ranks, 1)
        low = stats.beta.cdf(float(coverage) - within, *parameters)
        high = stats.beta.sf(float(coverage) + within, *parameters)
        return (low <= tail) & (high <= tail) & (ranks <= sizes)

    # The rank is rounded up, so that a size may hold and the next one not: the tails turn on
    # (n + 1) coverage being whole. Far above the normal law's answer all hold.
    normal = stats.norm.ppf(1 - tail) ** 2 * float(exact * (1 - exact)) / within**2
    sizes = np.arange(1, math.ceil(4 * normal + 8 / within + 8 / float(1 - exact)))
    return int(sizes[~holds(sizes)].max(initial=0)) + 1


def pac_coverage(
    calibration: int, coverage: float | Fraction, *, confidence: float = 0.95
) -> float:
    """The coverage to ask for, so that this calibration set reaches one, with confidence.

    The least k / (n + 1) for which Beta(k, n + 1 - k) lies above `coverage` with probability
    `confidence`: probably approximately correct, instead of correct on average.

    Args:
        calibration: number n of calibration rows.
        coverage: the coverage that the set must have, in (0, 1).
        confidence: with which probability over calibration sets, in (0, 1).

    Returns:
        A number to be given as `coverage` to any split method of one threshold.

    Raises:
        ValueError: for numbers out of range, or where no rank of so few rows is enough.

    Example:
        >>> from estimators import conformal
        >>> asked = conformal.pac_coverage(200, 0.9)
        >>> print(f"{asked:.4f}", conformal.conformal_rank(200, asked))
        0.9353 188

    Reference: Vovk 2012, proposition 2b; Park, Bastani, Matni & Lee 2020.

    When it fails: as all of this, for rows that are not exchangeable. With an asymmetric
    interval it holds for each end.
    """
    from scipy import stats

    checks.integer("calibration", calibration, at_least=1)
    checks.probability("coverage", coverage)
    checks.probability("confidence", confidence)
    ranks = np.arange(1, calibration + 1)
    reached = stats.beta.sf(float(coverage), ranks, calibration + 1 - ranks)
    if reached[-1] < confidence:
        needed = math.ceil(math.log1p(-confidence) / math.log(float(coverage)))
        raise ValueError(
            f"calibration must be at least {needed} for coverage {float(coverage):g} with "
            f"confidence {confidence:g}; got {calibration}"
        )
    return int(ranks[np.argmax(reached >= confidence)]) / (calibration + 1)
