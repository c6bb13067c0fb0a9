"""Test rows whose outcome is claimed to be large, with a bound on how many claims are false."""

import dataclasses

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Real

from estimators._core import Spec, checks
from estimators.conformal._batch_quantile._quantile import (
    BatchQuantile,
    UpperBound,
    worded,
)
from estimators.conformal._guarantee import Guarantee


class BatchSelection(Spec):
    """Select test rows with y above a claim, with few false selections (k-FWER control).

    The score of a row is its prediction where y <= claim, and -inf where y > claim. With
    z = m - eta and S_(q) the upper bound of `BatchQuantile` on T_(z), row j is selected where
    its prediction exceeds S_(q), strictly. A false selection is then a test score above
    S_(q), and more than eta of those there are only where T_(z) > S_(q).

    Args:
        test: number m of test rows.
        false: number eta of false selections that are put up with, 0 to m - 1.
        coverage: probability that there are no more than that, in (0, 1).

    Guarantee: P(false selections > eta) <= 1 - coverage, over calibration and test rows
    together, whatever the predictions are worth; with poor ones little is selected.

    Raises:
        ValueError: for a count or coverage that cannot be.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> y = jnp.arange(40.0) / 10
        >>> spec = conformal.BatchSelection(test=3, false=0, coverage=0.9)
        >>> selection = spec.calibrate(y, y, claim=2.0)
        >>> print(selection.threshold, selection.select(jnp.array([1.0, 2.0, 3.0])))
        2.0 [False False  True]

    Reference: Lee, Tchetgen Tchetgen & Dobriban, arXiv 2409.13990; Lehmann & Romano 2005 for
    the k-FWER.

    When it fails: where false selections are a share of many, control of their proportion
    (FDR) selects more.
    """

    test: int = eqx.field(static=True, kw_only=True)
    false: int = eqx.field(static=True, default=0, kw_only=True)
    coverage: float = eqx.field(static=True, default=0.9, kw_only=True)

    def __check_init__(self):
        checks.probability("coverage", self.coverage)
        checks.integer("test", self.test, at_least=1)
        if checks.integer("false", self.false, at_least=0) >= self.test:
            raise ValueError(f"false must be less than test, {self.test}; got {self.false}")

    def calibrate(
        self,
        predictions: Real[ArrayLike, " n"],
        y: Real[ArrayLike, " n"],
        *,
        claim: Real[ArrayLike, ""],
        kept: Bool[ArrayLike, " n"] | None = None,
    ) -> "CalibratedBatchSelection":
        """Choose the threshold on rows that the model has not seen.

        Args:
            predictions: `(n,)`, any score that is large where y is expected to be.
            y: `(n,)`, what was observed.
            claim: what y is claimed to exceed, in its units.
            kept: `(n,)`, which rows to use, as in `BatchQuantile.calibrate`; None uses all.

        Raises:
            ValueError: for shapes that differ or values that are not finite. Inside jit NaN
                selects nothing.
        """
        predictions = checks.as_vector("predictions", predictions)
        y = checks.as_vector("y", y, length=predictions.shape[0])
        claim = checks.finite("claim", checks.as_number("claim", claim))
        scores = jnp.where(y > claim, -jnp.inf, predictions)
        # Neither comparison nor -inf must hide a NaN.
        scores = checks.poison(scores, ~jnp.isnan(predictions + y + claim).any())
        spec = BatchQuantile(
            test=self.test, position=self.test - self.false, coverage=self.coverage
        )
        return CalibratedBatchSelection(spec.calibrate(scores, kept=kept))


class CalibratedBatchSelection(UpperBound):
    """A threshold on predictions; see `BatchSelection`.

    Predictions above it are selected; it is -inf where no calibration row speaks against it.
    """

    @property
    def guarantee(self) -> Guarantee:
        """The probability that there are no more false selections than `false`."""
        spec = self.quantile.spec
        event = f"at most {spec.test - spec.ordinal} of {spec.test} rows are selected falsely"
        # Scores tie at -inf, so that the probability may be above that of distinct ones.
        loose = dataclasses.replace(self.quantile.guarantee, kind="at least", at_most=None)
        return worded(loose, event)

    def select(self, predictions: Real[ArrayLike, " m"]) -> Bool[Array, " m"]:
        """Which of the test rows are selected.

        Args:
            predictions: `(m,)`, of the whole batch that the guarantee is about.

        Raises:
            ValueError: for another number of rows, or values that are not finite.
        """
        predictions = checks.as_vector("predictions", predictions, length=self.quantile.spec.test)
        return predictions > self.threshold
