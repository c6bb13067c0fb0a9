"""Bounds of one number of a batch: what they are, what they promise, and why they are infinite."""

from fractions import Fraction
from typing import Literal

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from estimators._core import Fitted
from estimators.conformal._batch_score._rank_sum import rank_sum_quantile
from estimators.conformal._guarantee import Guarantee
from estimators.conformal._quantile import as_fraction, calibration_size

Side = Literal["upper", "lower", "two-sided"]
SIDES = ("upper", "lower", "two-sided")


class CalibratedBatchScore(Fitted):
    """Bounds of one number of a batch of test scores.

    Attributes:
        lower: lower bound, in units of the batch score. With `side="upper"` it is what the
            bound of single scores implies.
        upper: upper bound, likewise.
        coverage: coverage asked for.
        calibration: number of calibration scores.
        test: number of test scores.
        side: "upper", "lower" or "two-sided".
        procedure: "rank sum", "ordering" or "partition".
        reached: the least probability that the bounds cover.
    """

    lower: Float[Array, ""]
    upper: Float[Array, ""]
    coverage: float = eqx.field(static=True)
    calibration: int = eqx.field(static=True)
    test: int = eqx.field(static=True)
    side: Side = eqx.field(static=True)
    procedure: Literal["rank sum", "ordering", "partition"] = eqx.field(static=True)
    reached: float = eqx.field(static=True)

    @property
    def reason(self) -> str | None:
        """Why a bound that was asked for is infinite, or None where it is not."""
        above = self.side != "lower" and jnp.isposinf(self.upper).any()
        below = self.side != "upper" and jnp.isneginf(self.lower).any()
        if not (above or below):
            return None
        n, m, each = self.calibration, self.test, side_coverage(self.coverage, self.side)
        if self.procedure == "partition":
            return (
                f"coverage {float(each):g} needs at least {calibration_size(each)} batches "
                f"of {m}; {n} scores make {n // m}"
            )
        if self.procedure == "ordering":
            return (
                f"a test score lies beyond all {n} calibration scores with probability "
                f"{m / (n + m):.3g}; coverage {float(each):g} leaves {float(1 - each):.3g}"
            )
        return (
            f"{m} ranks that add up to {rank_sum_quantile(n, m, each)} let a test score lie "
            f"beyond all {n} calibration scores; give a bound of the scores, or an ordering"
        )

    @property
    def guarantee(self) -> Guarantee:
        """What the bounds promise."""
        exact, drawn = self.procedure == "partition", self.procedure == "ordering"
        return Guarantee(
            coverage=self.coverage,
            at_least=self.reached,
            at_most=self.reached if exact else None,
            kind="exact" if exact else "at least",
            over="calibration and test scores" + (" and the draws of ranks" if drawn else ""),
            given="exchangeable scores" + (", none of them in the ordering" if drawn else ""),
        )


def side_coverage(coverage: float, side: Side) -> Fraction:
    """The coverage of each bound: two of them share what is left over."""
    exact = as_fraction(coverage)
    return (1 + exact) / 2 if side == "two-sided" else exact


def of_both_sides(probability: float, side: Side) -> float:
    """The probability that all bounds cover, where each does with `probability`."""
    return 2 * probability - 1 if side == "two-sided" else probability
