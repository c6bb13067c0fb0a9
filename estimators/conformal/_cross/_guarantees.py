"""What is proven of sets from held-out predictions."""

from fractions import Fraction
from typing import Literal

from estimators.conformal._guarantee import Guarantee
from estimators.conformal._quantile import as_fraction, conformal_rank

OVER = "all rows and the new one together"
SYMMETRIC_FIT = "a fit that does not depend on the order of its rows"


def cross_guarantee(
    coverage: float,
    method: Literal["plus", "minmax", "base"],
    n: int,
    folds: int,
    *,
    equal: bool,
    ends: int,
) -> Guarantee:
    """The least coverage of jackknife and cross-validation sets.

    plus: 1 - 2a - e with a = 1 - coverage and e = 2 (1 - 1/K) / (n/K + 1), or, in equal folds,
    the smaller of that and (1 - K/n) / (K + 1), which is 0 where one row is left out (theorems
    1 and 4 of Barber et al. 2021). With an end of its own on each side at a/2, each side fails
    with probability a + e at most.

    minmax: it holds the set of plus, and so that bound. In equal folds of n/K rows, k / (n +
    n/K) as well, with k the conformal rank: among K + 1 folds of exchangeable rows, n + n/K - k
    rows at most have a smallest residual above the held-out residuals of k rows of other folds.
    With one row a fold it is k / (n + 1), at least `coverage` (theorem 3 there); with more it
    can be less, and is reached by some models.

    base: nothing, for some models; with one that a few rows change little, `coverage` as n
    grows.

    Args:
        coverage: coverage asked for.
        method: see above.
        n: number of rows.
        folds: number K of folds.
        equal: whether folds have n/K rows each.
        ends: 1 where one score serves both ends, 2 where each end has its own.
    """
    alone = folds == n
    rows = "exchangeable rows" if alone else "independent rows of one law"
    given = f"{rows} and {SYMMETRIC_FIT}"
    if method == "base":
        stable = f"{given} and changes little without those of a fold"
        return Guarantee(coverage, None, None, "asymptotic", OVER, stable)
    exact = as_fraction(coverage)
    excess = Fraction(2 * (folds - 1), n + folds)
    if equal:
        excess = min(excess, Fraction(n - folds, n * (folds + 1)))
    least = 1 - 2 * (1 - exact) - ends * excess
    if method == "minmax" and equal:
        rank = conformal_rank(n, exact if ends == 1 else (1 + exact) / 2)
        least = max(least, 1 - ends * (1 - Fraction(min(rank, n) * folds, n * (folds + 1))))
    return Guarantee(coverage, float(max(least, 0)), None, "at least", OVER, given)


def bootstrap_guarantee(coverage: float) -> Guarantee:
    """The least coverage of the jackknife+ after the bootstrap: 1 - 2 (1 - coverage).

    It is proven for a random number of models (theorem 1 of Kim, Xu & Barber 2020).
    """
    given = (
        f"exchangeable rows, {SYMMETRIC_FIT}, and samples of n rows with replacement, their "
        "number drawn from a binomial law with probability (1 - 1/(n + 1))^n; a fixed number "
        "comes close"
    )
    least = float(max(1 - 2 * (1 - as_fraction(coverage)), 0))
    return Guarantee(coverage, least, None, "at least", OVER, given)
