"""What a set of consecutive ranks promises, for scores of exchangeable rows."""

import equinox as eqx
from jaxtyping import Array, Float

from estimators._core import Fitted
from estimators.conformal._guarantee import Guarantee
from estimators.conformal._quantile import conformal_rank, why_infinite


def rank_guarantee(coverage: float, ranks: int, calibration: int) -> Guarantee:
    """The promise of a set that holds `ranks` of the n + 1 ranks that a new score can have."""
    share = ranks / (calibration + 1)
    return Guarantee(
        coverage=coverage,
        at_least=share,
        at_most=share,
        kind="exact",
        over="calibration rows and the new row together",
        given="exchangeable rows and a model that saw none of them",
    )


class CalibratedThreshold(Fitted):
    """A conformal quantile, and what it promises.

    Attributes:
        threshold: the largest score in the set.
        coverage: coverage asked for.
        calibration: number of calibration rows.
    """

    threshold: Float[Array, ""]
    coverage: float = eqx.field(static=True)
    calibration: int = eqx.field(static=True)

    @property
    def reason(self) -> str | None:
        """Why the sets are infinite, or None where they are not."""
        return why_infinite(self.calibration, self.coverage)

    @property
    def guarantee(self) -> Guarantee:
        """What the sets promise."""
        rank = conformal_rank(self.calibration, self.coverage)
        return rank_guarantee(self.coverage, rank, self.calibration)
