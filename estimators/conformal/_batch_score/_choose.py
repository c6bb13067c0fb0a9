"""Which bound of a batch mean to use, from the sizes and the coverage alone."""

from fractions import Fraction
from typing import Literal

from estimators._core import checks
from estimators.conformal._quantile import calibration_size


def choose_batch_mean(
    calibration: int, test: int, coverage: float | Fraction
) -> Literal["partition", "ordering"]:
    """The bound of a batch mean that is the tighter on average, without a look at scores.

    "partition" wherever `PartitionMean` is finite, `floor(n / m) >= coverage / (1 - coverage)`;
    else "ordering", `BatchMean` with reference scores. A choice that looked at the scores, such
    as the smaller of two bounds, would lose the guarantee.

    It rests on simulations: bounds of the mean at coverage .9, averages of 200 to 500 (the
    oracle is the quantile of the batch mean; lognormal is like exponential):

        n     m   scores       oracle  rank sum  ordering  partition
        40    10  uniform        .618      .705      .719   infinite
        40    10  Beta(2, 5)     .352      .650      .457   infinite
        95    10  uniform        .618      .673      .693       .635
        95    10  Beta(2, 5)     .351      .637      .421       .364
        95    10  exponential   1.421  infinite     2.264      1.508
        300   10  uniform        .618      .649      .663       .624
        300   10  exponential   1.422  infinite     1.873      1.453

    At no size was partition wider on average where it was finite, down to the fewest batches.
    The sum of ranks is at best 4 % tighter than an ordering, for uniform scores, and up to
    two thirds wider for others: it is for want of a reference sample.

    Args:
        calibration: number n of calibration scores.
        test: number m of test scores.
        coverage: of one bound, in (0, 1): for two-sided ones (1 + coverage) / 2.

    Returns:
        "partition" or "ordering".

    Raises:
        ValueError: for numbers below 1, or a coverage outside (0, 1).

    Example:
        >>> from estimators import conformal
        >>> conformal.choose_batch_mean(1000, 20, 0.9), conformal.choose_batch_mean(40, 10, 0.9)
        ('partition', 'ordering')

    When it fails: where the spread of a bound matters more than its average. With the fewest
    batches that are enough, that of partition is about twice as large as that of an ordering
    for uniform scores. Where it says "ordering" and scores have no bound, mostly both are
    infinite.
    """
    checks.integer("calibration", calibration, at_least=1)
    checks.integer("test", test, at_least=1)
    checks.probability("coverage", coverage)
    return "partition" if calibration // test >= calibration_size(coverage) else "ordering"
