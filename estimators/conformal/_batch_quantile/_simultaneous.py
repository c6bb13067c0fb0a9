"""One threshold that covers many test rows at once."""

import equinox as eqx
from jaxtyping import ArrayLike, Bool, Real

from estimators._core import Spec, checks
from estimators.conformal._batch_quantile._quantile import (
    BatchQuantile,
    UpperBound,
    as_position,
    worded,
)
from estimators.conformal._guarantee import Guarantee


class SimultaneousCoverage(Spec):
    """A threshold below which at least a share of the test scores lie, all at once.

    At least `share * m` of m test scores lie at or below S_(q) exactly where
    T_(z) <= S_(q), z = ceil(share m): the threshold is the upper bound of `BatchQuantile` at
    that level. With `share=1` it covers every test row, at a rank that never exceeds
    Bonferroni's, ceil((n + 1) (1 - (1 - coverage) / m)).

    Args:
        test: number m of test rows.
        share: share of them that the sets must cover together, in (0, 1].
        coverage: probability with which they must, in (0, 1).

    Guarantee: over calibration and test rows together the probability is exact for distinct
    scores, and at least that with ties. Split conformal sets promise the coverage of each row
    only: that a share of them is covered at once may be far less probable.

    Raises:
        ValueError: for a count, share or coverage that cannot be.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> spec = conformal.SimultaneousCoverage(test=100, share=0.9, coverage=0.95)
        >>> print(spec.calibrate(jnp.arange(1.0, 501.0)).threshold)
        472.0

    Reference: Lee, Tchetgen Tchetgen & Dobriban, arXiv 2409.13990.

    When it fails: to cover every one of m rows takes about m coverage / (1 - coverage)
    calibration rows; with fewer the threshold is infinite, and `reason` says so.
    """

    test: int = eqx.field(static=True, kw_only=True)
    share: float = eqx.field(static=True, default=1.0, kw_only=True)
    coverage: float = eqx.field(static=True, default=0.9, kw_only=True)

    def __check_init__(self):
        checks.probability("coverage", self.coverage)
        as_position("share", self.share, self.test)

    def calibrate(
        self, scores: Real[ArrayLike, " n"], *, kept: Bool[ArrayLike, " n"] | None = None
    ) -> "CalibratedSimultaneousCoverage":
        """Choose the threshold; the arguments are those of `BatchQuantile.calibrate`.

        Args:
            scores: `(n,)`, such as absolute residuals of rows that the model has not seen.
            kept: `(n,)`, which of them to use; None uses all.

        Raises:
            ValueError: for a shape other than `(n,)` or NaN. Inside jit NaN gives NaN.
        """
        spec = BatchQuantile(test=self.test, level=self.share, coverage=self.coverage)
        return CalibratedSimultaneousCoverage(spec.calibrate(scores, kept=kept))


class CalibratedSimultaneousCoverage(UpperBound):
    """A threshold for all test scores of a batch; see `SimultaneousCoverage`.

    The test rows whose score is at or below it are covered.
    """

    @property
    def guarantee(self) -> Guarantee:
        """The probability that the share of test rows is covered."""
        spec = self.quantile.spec
        event = f"at least {spec.ordinal} of {spec.test} test scores are within the threshold"
        return worded(self.quantile.guarantee, event)
