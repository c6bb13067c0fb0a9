"""The exact law of the coverage that split conformal prediction reaches."""

from fractions import Fraction
from typing import NamedTuple

from estimators._core import checks
from estimators.conformal._quantile import conformal_rank


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
    calibration: int, test: int, coverage: float | Fraction, *, confidence: float = 0.95
) -> CoverageBand:
    """Exact band for the coverage on `test` rows after `calibration` rows.

    With exchangeable rows and distinct scores the number of covered test rows is
    beta-binomial with parameters `(test; k, n + 1 - k)`, `k = ceil((n + 1) coverage)`: the
    band of a correct method, so that a share outside it speaks against exchangeability.
    The band is two-sided with equal tails of at most `(1 - confidence) / 2`.

    Args:
        calibration: number n of calibration scores.
        test: number of test rows.
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
    checks.integer("test", test, at_least=1)
    checks.probability("confidence", confidence)
    rank = conformal_rank(calibration, coverage)
    if rank > calibration:
        return CoverageBand(1.0, 1.0, 1.0)
    law = stats.betabinom(test, rank, calibration + 1 - rank)
    tail = (1 - confidence) / 2
    return CoverageBand(
        float(law.ppf(tail)) / test, rank / (calibration + 1), float(law.ppf(1 - tail)) / test
    )
