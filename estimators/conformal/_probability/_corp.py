"""Reliability without bins, and a score split into what it is made of."""

import equinox as eqx
import jax.numpy as jnp
from jax.scipy.special import xlogy
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Real

from estimators._core import Stored, checks
from estimators.conformal._probability._inputs import as_confidences
from estimators.conformal._venn._diagram import isotonic
from estimators.conformal._venn._distinct import distinct

SCORES = {
    "brier": lambda p, y: jnp.mean((p - y) ** 2),
    "log": lambda p, y: -jnp.mean(xlogy(y, p) + xlogy(1 - y, 1 - p)),
}


class CorpReliability(Stored):
    """A reliability curve and the parts of a score; see `corp_reliability`.

    Attributes:
        predicted: `(n,)`, the probability of each row.
        recalibrated: `(n,)`, the isotonic fit at each.
        mean_score: mean score of the rows; less is better.
        miscalibration: what recalibration would take off it.
        discrimination: by how much the recalibrated ones beat the mean outcome.
        uncertainty: the score of the mean outcome.
        score: "brier" or "log".
    """

    predicted: Float[Array, " n"]
    recalibrated: Float[Array, " n"]
    mean_score: Float[Array, ""]
    miscalibration: Float[Array, ""]
    discrimination: Float[Array, ""]
    uncertainty: Float[Array, ""]
    score: str = eqx.field(static=True)

    def plot(self, ax=None):
        """Draw the curve with matplotlib, on `ax` or on new axes, and return the axes."""
        from estimators.conformal._probability._plot import plot_curve

        return plot_curve(self, ax)


def corp_reliability(
    probabilities: Real[ArrayLike, " n"] | Real[ArrayLike, "n classes"],
    labels: Int[ArrayLike, " n"] | Bool[ArrayLike, " n"],
    *,
    score: str = "brier",
) -> CorpReliability:
    """A reliability curve by isotonic regression, and the score split by it (CORP).

        mean score = miscalibration - discrimination + uncertainty

    The curve is the isotonic regression of outcomes on probabilities; there are no bins to
    choose. No part is negative. Miscalibration is 0 where the curve is the diagonal,
    discrimination where it is flat.

    Args:
        probabilities: `(n,)` of class 1, or `(n, classes)`, of which the top label is shown.
        labels: `(n,)`, 0 to `classes - 1`.
        score: "brier", the squared error; "log", the log loss in nats.

    Raises:
        ValueError: for probabilities outside [0, 1] or rows that do not sum to one, labels out of
            range, or another score. Inside jit bad values give NaN.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> p, labels = jnp.array([0.2, 0.2, 0.9, 0.9]), jnp.array([0, 1, 1, 1])
        >>> curve = conformal.corp_reliability(p, labels)
        >>> print(curve.recalibrated, f"{curve.miscalibration:.3f} {curve.discrimination:.3f}")
        [0.5 0.5 1.  1. ] 0.050 0.062

    Reference: Dimitriadis, Gneiting & Jordan 2021, Stable reliability diagrams for probabilistic
    classifiers, PNAS 118(8).

    When it fails: a curve that may not fall hides a fall. Of a calibrated forecast the curve
    strays from the diagonal all the same, and miscalibration is a little above 0;
    `calibration_test` says whether that is chance. One row with probability 0 or 1 that is
    wrong makes the log score infinite.
    """
    checks.one_of("score", score, tuple(SCORES))
    confidence, outcome = as_confidences(probabilities, labels)
    return _corp(confidence, outcome, score)


@eqx.filter_jit
def _corp(confidence, outcome, score: str) -> CorpReliability:
    known = distinct(confidence, outcome, jnp.ones_like(confidence))
    fits = isotonic(known.sums, known.weights)
    recalibrated = fits[jnp.searchsorted(known.scores, confidence)]
    mean = SCORES[score]
    forecasts = confidence, recalibrated, jnp.full_like(outcome, jnp.mean(outcome))
    ours, best, constant = (mean(forecast, outcome) for forecast in forecasts)
    parts = (ours, jnp.maximum(ours - best, 0), jnp.maximum(constant - best, 0), constant)
    found = CorpReliability(confidence, recalibrated, *parts, score)
    return checks.poison(found, ~jnp.isnan(confidence + outcome).any())
