"""Outliers among new rows, by their ranks among rows that are known to be none."""

from typing import Literal, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Key, Real

from estimators._core import Fitted, Spec, checks
from estimators.conformal._error_guarantee import ErrorGuarantee
from estimators.conformal._quantile import as_scores
from estimators.conformal._selection._benjamini_hochberg import benjamini_hochberg, lenient
from estimators.conformal._selection._conditional import conditional_levels
from estimators.conformal._selection._p_values import low_p_values
from estimators.conformal._weighted import WeighedScores, weigh


class Outliers(NamedTuple):
    """What is found among new rows.

    Attributes:
        rejected: `(m,)`, which are called outliers.
        p_values: `(m,)`, against the hypothesis that a row is none.
        adjusted: `(m,)`, the least rate at which each would be called one.
    """

    rejected: Bool[Array, " m"]
    p_values: Float[Array, " m"]
    adjusted: Float[Array, " m"]


class OutlierDetection(Spec):
    """Outliers among new rows, with a bound on the share of false ones (FDR).

    Calibration rows are known to be no outliers; a score of any model that has not seen them is
    large where a row is strange. New rows get conformal p-values, and `benjamini_hochberg`
    rejects.

    Args:
        rate: bound on the expected share of rejected rows that are no outliers, in (0, 1).
        method: "bh" or "by", as in `benjamini_hochberg`.
        storey: Storey's lambda, as there; None does not estimate the share of inliers. With n
            calibration rows take one with `(n + 1) storey` a whole number.
        conditional: None bounds the FDR on average over calibration sets. "simes" or "dkwm"
            adjusts p-values so that, with probability `confidence` over the calibration
            rows, the FDR given them is bounded. "simes" is by far the tighter for small
            p-values, and "dkwm" for large ones; both need many calibration rows.
        confidence: see `conditional`; in [0.5, 1).

    Guarantee: FDR <= rate times the share of new rows that are no outliers (with `storey`
    FDR <= rate), for calibration rows and inliers that are exchangeable and independent of the
    outliers; with `conditional` they must be independent draws of one law.

    Raises:
        ValueError: for an option that cannot be.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> detection = conformal.OutlierDetection(rate=0.1).calibrate(jnp.arange(99.0))
        >>> print(detection.detect(jnp.array([3.0, 120.0, 50.0, 130.0])).rejected)
        [False  True False  True]

    Reference: Bates, Candes, Lei, Romano & Sesia 2023, Testing for outliers with conformal
    p-values, Annals of Statistics 51(1); Marandon, Lei, Mary & Roquain 2024, Adaptive novelty
    detection with false discovery rate guarantee, for Storey's estimate.

    When it fails: outliers among the calibration rows cost power. Without a key no p-value is
    below 1/(n + 1), so one outlier among m rows needs about m / rate calibration rows. A
    strange row that the score does not see is not found. To select rows by an outcome that is
    still to come, see `ConformalSelection`; to bound the number of errors, `BatchSelection`.
    """

    rate: float = eqx.field(static=True, default=0.1)
    method: Literal["bh", "by"] = eqx.field(static=True, default="bh", kw_only=True)
    storey: float | None = eqx.field(static=True, default=None, kw_only=True)
    conditional: Literal["simes", "dkwm"] | None = eqx.field(
        static=True, default=None, kw_only=True
    )
    confidence: float = eqx.field(static=True, default=0.9, kw_only=True)

    def __check_init__(self):
        checks.probability("rate", self.rate)
        checks.one_of("method", self.method, ("bh", "by"))
        if self.storey is not None:
            checks.probability("storey", self.storey)
        if self.conditional is not None:
            checks.one_of("conditional", self.conditional, ("simes", "dkwm"))
        if checks.probability("confidence", self.confidence) < 0.5:
            raise ValueError(f"confidence must be at least 0.5; got {self.confidence}")

    def calibrate(self, scores: Real[ArrayLike, " n"]) -> "CalibratedOutlierDetection":
        """Sort the scores of rows that are no outliers, and that the model has not seen.

        Args:
            scores: `(n,)`, large where a row is strange; infinite ones are allowed.

        Raises:
            ValueError: for a shape other than `(n,)`, no score, or NaN. Inside jit NaN makes
                all p-values NaN.
        """
        scores = as_scores("scores", scores)
        n = scores.shape[0]
        if n == 0:
            raise ValueError("scores must have at least 1 entry; got shape (0,)")
        if self.conditional is None:
            levels = np.arange(1, n + 2) / (n + 1)
        else:
            levels = conditional_levels(n, self.confidence, self.conditional)
        weighed = weigh(-scores, jnp.ones_like(scores))
        return CalibratedOutlierDetection(weighed, jnp.asarray(levels, scores.dtype), self)


class CalibratedOutlierDetection(Fitted):
    """Scores in order; see `OutlierDetection`.

    Attributes:
        scores: the calibration scores, negated, and their counts.
        levels: `(n + 1,)`, the p-value of each rank.
        spec: what was asked for.
    """

    scores: WeighedScores
    levels: Float[Array, " ranks"]
    spec: OutlierDetection

    @property
    def reason(self) -> str | None:
        """Why nothing can be rejected without a key, or None where something can."""
        least = float(np.asarray(self.levels).flat[0])
        rate = lenient(jnp.asarray(float(self.spec.rate), self.levels.dtype))
        if least <= rate or self.spec.storey is not None:
            return None
        return (
            f"with {self.levels.shape[-1] - 1} calibration rows no p-value is below {least:.4g}, "
            f"which is above the rate {float(self.spec.rate):g}"
        )

    @property
    def guarantee(self) -> ErrorGuarantee:
        """The bound on the share of false discoveries."""
        spec = self.spec
        if spec.conditional is None:
            over = "calibration and new rows together"
            given = "calibration rows and new inliers that are exchangeable"
        else:
            over = (
                "new rows, given calibration rows that are good with probability "
                f"{float(spec.confidence):g}"
            )
            given = "calibration rows and new inliers that are independent draws of one law"
        error = "the expected share of rejected rows that are no outliers"
        return ErrorGuarantee(error, spec.rate, over, given)

    def detect(
        self, new_scores: Real[ArrayLike, " m"], *, key: Key[Array, ""] | None = None
    ) -> Outliers:
        """Which of the new rows are outliers.

        Args:
            new_scores: `(m,)`, of all rows that are judged together.
            key: breaks ties at random; p-values of inliers are then exactly uniform, and may be
                below 1/(n + 1). Not with `conditional`, whose bounds are for ranks.

        Raises:
            ValueError: for a shape other than `(m,)`, NaN, or a key where there must be none.
                Inside jit NaN gives NaN, and nothing is rejected.
        """
        new = as_scores("new_scores", new_scores).astype(self.levels.dtype)
        if key is not None:
            key = checks.as_key(key)
            if self.spec.conditional is not None:
                raise ValueError("key must not be given with conditional p-values; got one")
        p_values = low_p_values(self.scores, -new, jnp.ones((), new.dtype), key)
        if key is None:
            # A p-value is a rank over n + 1, which its rounding does not move to another.
            rank = jnp.round(p_values * self.levels.shape[0]).astype(jnp.int32)
            broken = jnp.isnan(p_values)
            p_values = jnp.where(broken, jnp.nan, self.levels[jnp.where(broken, 0, rank - 1)])
        found = benjamini_hochberg(
            p_values, self.spec.rate, method=self.spec.method, storey=self.spec.storey
        )
        return Outliers(found.rejected, p_values, found.adjusted)
