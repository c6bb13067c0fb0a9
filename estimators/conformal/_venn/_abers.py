"""Venn-Abers: two isotonic probabilities for every new score, from one pass over the old ones."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Real

from estimators._core import Fitted, Spec, checks
from estimators.conformal._venn._diagram import inserted
from estimators.conformal._venn._distinct import Distinct, distinct
from estimators.conformal._venn._labels import as_labels
from estimators.conformal._venn._multiprobability import Multiprobability
from estimators.conformal._weighted import as_ratios


class CalibratedVennAbers(Fitted):
    """Two step functions of the score, for each class; see `VennAbers`.

    Attributes:
        scores: `(columns, n)`, distinct calibration scores in order, then +inf; one column for
            two classes, else one a class.
        lower: `(columns, n + 1)`, the fit of a row of label 0 by how many of them are not
            above its score.
        upper: `(columns, n + 1)`, the fit of a row of label 1 by how many are below it.
    """

    scores: Float[Array, "columns n"]
    lower: Float[Array, "columns places"]
    upper: Float[Array, "columns places"]

    def probability(
        self, scores: Real[ArrayLike, "*batch"] | Real[ArrayLike, "*batch classes"]
    ) -> Multiprobability:
        """Both probabilities of new rows, by binary search, and the one that merges them.

        Args:
            scores: `(*batch,)` for two classes, `(*batch, classes)` for more.

        Returns:
            Probabilities of class 1, or of each class, in the shape of the scores.

        Raises:
            ValueError: for another number of columns, or scores that are not finite.
        """
        new = checks.as_float("scores", scores).astype(self.scores.dtype)
        columns = self.scores.shape[0]
        if columns > 1 and new.shape[-1:] != (columns,):
            raise ValueError(f"scores must have shape (*batch, {columns}); got shape {new.shape}")
        checks.finite("scores", new)
        by_class = new.reshape(-1, columns).T
        lower, upper = (bound.T.reshape(new.shape) for bound in _bounds(self, by_class))
        merged = upper / (1 - lower + upper)
        if columns > 1:
            merged = merged / jnp.sum(merged, -1, keepdims=True)
        return Multiprobability(lower, upper, merged)


class VennAbers(Spec):
    """Calibrated probabilities from scores, with how far they can be trusted (Venn-Abers).

    The isotonic regression of the labels on the scores is fitted twice with the new row among
    the rest, once with label 0 and once with label 1. Its own fits are p0 and p1, and

        p = p1 / (1 - p0 + p1)

    stands for both: of all numbers it has the least worst-case excess of log loss. All fits are
    prepared at calibration, in one sort and linear time; a new row is two binary searches.

    Guarantee: for exchangeable rows, two classes and no weights, one of p0 and p1 is calibrated
    without any error: with y the row's label, `E[y given p_y] = p_y`, for any sample size. Which
    one of them is not known. Of more than two classes each has that for its own pair; nothing is
    proven of the merged probabilities, which are divided by their sum.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> scores, labels = jnp.arange(10.0), jnp.array([0, 0, 0, 1, 0, 0, 1, 1, 1, 1])
        >>> found = conformal.VennAbers().calibrate(scores, labels).probability(jnp.array([4.5]))
        >>> print(found.lower, found.upper, found.merged)
        [0.25] [0.5] [0.4]

    Reference: Vovk, Petej & Fedorova 2015, Large-scale probabilistic predictors with and without
    guarantees of validity, sections 4 and 6 (inductive form; merged by log loss).

    When it fails: a score that does not rise with the probability leaves pools that are wide, and
    probabilities that are calibrated and say little. p0 and p1 are far apart where few scores
    are near. Scores of a model that has seen the calibration rows are not exchangeable with new
    ones.
    """

    def calibrate(
        self,
        scores: Real[ArrayLike, " n"] | Real[ArrayLike, "n classes"],
        labels: Int[ArrayLike, " n"] | Bool[ArrayLike, " n"],
        *,
        weights: Real[ArrayLike, " n"] | None = None,
    ) -> CalibratedVennAbers:
        """Prepare both fits on rows that the model has not seen.

        Args:
            scores: `(n,)` where there are two classes, rising with the probability of class 1;
                `(n, classes)`, one a class, each against the rest. In any unit.
            labels: `(n,)`, 0 to `classes - 1`.
            weights: `(n,)`, not negative: a row of weight 2 counts as two. A new row has weight 1.

        Raises:
            ValueError: for shapes that differ, scores that are not finite, labels out of range,
                or negative weights. Inside jit these give NaN.
        """
        scores = checks.as_float("scores", scores)
        if scores.ndim not in (1, 2) or (scores.ndim == 2 and scores.shape[1] < 2):
            raise ValueError(f"scores must have shape (n,) or (n, classes); got {scores.shape}")
        if scores.shape[0] == 0:
            raise ValueError(f"scores must have at least 1 row; got shape {scores.shape}")
        checks.finite("scores", scores)
        n, several = scores.shape[0], scores.ndim == 2
        columns = as_labels("labels", labels, n, scores.shape[1] if several else 2, scores.dtype)
        weights, valid = as_ratios("weights", jnp.ones(n) if weights is None else weights, (n,))
        valid = valid.all() & jnp.isfinite(scores).all() & ~jnp.isnan(columns).any()
        by_class = (scores.T, columns.T) if several else (scores[None], columns[:, 1][None])
        stairs = _calibrate(*by_class, weights.astype(scores.dtype))
        return checks.poison(CalibratedVennAbers(*stairs), valid)


@jax.jit
def _calibrate(scores, labels, weights):
    def one_class(rows):
        scores, labels = rows
        known = distinct(scores, labels, weights)
        return known.scores, *_stairs(known)

    return jax.lax.map(one_class, (scores, labels))


def _stairs(known: Distinct):
    """The fit of one more row at every place among the distinct scores, of either label."""
    n = known.scores.shape[0]
    # A row of label 0 is a row of the highest value, 0, where labels and order are turned round.
    turned = known.count - 1 - jnp.arange(n)
    sums, weights = (
        jnp.where(turned >= 0, column[turned], 0) for column in (known.sums, known.weights)
    )
    number = known.sums.dtype.type
    below = inserted(-sums, weights, jnp.asarray(number(0)))
    upper = inserted(known.sums, known.weights, jnp.asarray(number(1)))
    # From places counted from above to places counted from below.
    places = jnp.maximum(known.count - jnp.arange(n + 1), 0)
    return 0 - below[places], upper  # not the zero that prints a sign


@jax.jit
def _bounds(fitted: CalibratedVennAbers, new):
    def one_class(ordered, lower, upper, values):
        not_above = jnp.searchsorted(ordered, values, side="right")
        below = jnp.searchsorted(ordered, values, side="left")
        missing = jnp.isnan(values)
        found = lower[not_above], upper[below]
        return tuple(jnp.where(missing, jnp.nan, bound) for bound in found)

    return jax.vmap(one_class)(fitted.scores, fitted.lower, fitted.upper, new)
