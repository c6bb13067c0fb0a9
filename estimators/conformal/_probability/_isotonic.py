"""Isotonic calibration: the best curve that does not fall."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Real

from estimators._core import Fitted, Spec, checks
from estimators.conformal._venn._diagram import isotonic
from estimators.conformal._venn._distinct import distinct
from estimators.conformal._venn._labels import as_labels


class CalibratedIsotonic(Fitted):
    """Corners of a curve; see `IsotonicScaling`.

    Attributes:
        scores: `(n,)`, distinct calibration scores in order; the largest again to fill up.
        fits: `(n,)`, the fit at each.
    """

    scores: Float[Array, " n"]
    fits: Float[Array, " n"]

    def probability(self, scores: Real[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
        """Probabilities of class 1; beyond the scores of calibration those at its ends."""
        scores = checks.finite("scores", checks.as_float("scores", scores))
        scores = scores.astype(self.scores.dtype)
        return jnp.where(jnp.isnan(scores), jnp.nan, jnp.interp(scores, self.scores, self.fits))


class IsotonicScaling(Spec):
    """Probabilities as the isotonic regression of the labels on a score.

    Of all functions that do not fall it has the least squared error on the calibration rows, and
    the least log loss. Between two scores it is linear. O(n log n), exact, with tied scores as one.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> scores, labels = jnp.arange(6.0), jnp.array([0, 1, 0, 0, 1, 1])
        >>> calibrated = conformal.IsotonicScaling().calibrate(scores, labels)
        >>> print(calibrated.probability(jnp.array([0.0, 2.0, 9.0])))
        [0.         0.33333334 1.        ]

    Reference: Zadrozny & Elkan 2002, Transforming classifier scores into accurate multiclass
    probability estimates, section 3.

    When it fails: probabilities of exactly 0 and 1 come out where few rows are, and are too sure;
    their log loss on new rows can be infinite. `VennAbers` says how sure one may be there.
    """

    def calibrate(
        self,
        scores: Real[ArrayLike, " n"],
        labels: Int[ArrayLike, " n"] | Bool[ArrayLike, " n"],
    ) -> CalibratedIsotonic:
        """Fit the curve on rows that the model has not seen.

        Args:
            scores: `(n,)`, rising with the probability of class 1, in any unit.
            labels: `(n,)`, 0 or 1.

        Raises:
            ValueError: for shapes that differ, scores that are not finite, labels other than 0
                and 1 or all alike. Inside jit these give NaN, but for labels that are alike.
        """
        scores = checks.as_vector("scores", scores)
        outcomes = as_labels("labels", labels, scores.shape[0], 2, scores.dtype, distinct=2)[:, 1]
        valid = jnp.isfinite(scores).all() & ~jnp.isnan(outcomes).any()
        return checks.poison(_calibrate(scores, outcomes), valid)


@jax.jit
def _calibrate(scores, outcomes) -> CalibratedIsotonic:
    known = distinct(scores, outcomes, jnp.ones_like(scores))
    last = jnp.minimum(jnp.arange(scores.shape[0]), known.count - 1)
    return CalibratedIsotonic(known.scores[last], isotonic(known.sums, known.weights)[last])
