"""A conformal quantile that sets are made of, and what it promises."""

import equinox as eqx
from jaxtyping import Array, Float

from estimators._core import Fitted
from estimators.conformal._guarantee import Guarantee, rank_guarantee
from estimators.conformal._quantile import conformal_rank, why_infinite


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
