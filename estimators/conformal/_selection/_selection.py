"""New rows whose unseen outcome is claimed to be large, with a bound on the share of errors."""

from typing import Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Key, Real

from estimators._core import Fitted, Spec, checks
from estimators.conformal._error_guarantee import ErrorGuarantee
from estimators.conformal._guarantee import EXCHANGEABLE
from estimators.conformal._selection._benjamini_hochberg import benjamini_hochberg
from estimators.conformal._selection._p_values import low_p_values
from estimators.conformal._selection._weighted_selection import (
    Pruning,
    pruning_draws,
    weighted_selection,
)
from estimators.conformal._weighted import WeighedScores, as_ratios, weigh


class Selected(NamedTuple):
    """What is selected among new rows.

    Attributes:
        selected: `(m,)`, the rows whose outcome is said to be above its claim.
        p_values: `(m,)`, against the hypothesis that it is not.
    """

    selected: Bool[Array, " m"]
    p_values: Float[Array, " m"]


class ConformalSelection(Spec):
    """New rows whose outcome exceeds a claim, with a bound on the share of false ones (FDR).

    With V(x, y) a score that does not decrease in y, row j is tested against "y_j <= claim_j"
    by the rank of V(x_j, claim_j) among V(x_i, y_i) of calibration rows,

        p_j = (#{i : V_i <= V(x_j, claim_j)} + 1) / (n + 1),

    and the Benjamini-Hochberg procedure selects. Where only x comes from another law in new rows,
    each row counts by its density ratio, and what is selected is pruned.

    Args:
        rate: bound on the expected share of selected rows with y <= claim, in (0, 1).
        score: "clipped", `claim - prediction` where y <= claim and +inf where y is above:
            only rows that speak against a claim count, and it selects more. "monotone",
            `y - prediction`, which needs no claim in calibration.
        pruning: with weights, what is done with the rows of the first step: "deterministic"
            needs no key; "homogeneous", one draw for all rows, and "heterogeneous", one for
            each, keep at least as many.

    Guarantee: FDR <= rate, over calibration and new rows together, whatever the predictions
    are worth; with weights where they are the ratio of the laws' densities. With poor
    predictions little is selected.

    Raises:
        ValueError: for a rate, score or pruning that cannot be.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> y = jnp.arange(40.0) / 10
        >>> selection = conformal.ConformalSelection(rate=0.2).calibrate(y, y, claim=2.0)
        >>> print(selection.select(jnp.array([1.0, 2.2, 3.0]), claim=2.0).selected)
        [False  True  True]

    Reference: Jin & Candes 2023, Selection by prediction with conformal p-values, JMLR 24; with
    weights Jin & Candes, Model-free selective inference under covariate shift via weighted
    conformal p-values, arXiv 2307.09291, algorithm 1.

    When it fails: the share is controlled on average, and it is 0 where nothing is selected; where
    not more than a number of errors may be made, take `BatchSelection`, which bounds the
    probability of more. Weights that are estimated, or a law of y given x that has changed,
    void the bound.
    """

    rate: float = eqx.field(static=True, default=0.1)
    score: Literal["clipped", "monotone"] = eqx.field(static=True, default="clipped", kw_only=True)
    pruning: Pruning = eqx.field(static=True, default="deterministic", kw_only=True)

    def __check_init__(self):
        checks.probability("rate", self.rate)
        checks.one_of("score", self.score, ("clipped", "monotone"))
        checks.one_of("pruning", self.pruning, ("deterministic", "homogeneous", "heterogeneous"))

    def calibrate(
        self,
        predictions: Real[ArrayLike, " n"],
        y: Real[ArrayLike, " n"],
        *,
        claim: Real[ArrayLike, "*rows"] | None = None,
        weights: Real[ArrayLike, " n"] | None = None,
    ) -> "CalibratedSelection":
        """Sort the scores of rows that the model has not seen.

        Args:
            predictions: `(n,)`, large where y is expected to be.
            y: `(n,)`, what was observed.
            claim: what y is claimed to exceed, in its units, `()` or one a row, `(n,)`; as for
                new rows, it may depend on x, not on y. For the clipped score only.
            weights: `(n,)`, not negative: the ratio of the new rows' density to that of these
                rows, up to a factor.

        Raises:
            ValueError: for shapes that differ, values that are not finite, a claim that is
                missing or not used, or weights that are negative. Inside jit such values make
                p-values NaN, and nothing is selected.
        """
        predictions = checks.as_vector("predictions", predictions)
        y = checks.as_vector("y", y, length=predictions.shape[0])
        if (claim is None) != (self.score == "monotone"):
            needed = "must not be" if self.score == "monotone" else "must be"
            raise ValueError(f"claim {needed} given to calibrate with score={self.score!r}")
        if claim is None:
            scores = y - predictions
        else:
            claim = _as_claim(claim, predictions)
            scores = jnp.where(y > claim, jnp.inf, claim - predictions)
            # Neither comparison nor +inf must hide a NaN.
            scores = checks.poison(scores, jnp.isfinite(predictions + y + claim).all())
        weighed = weigh(scores, jnp.ones_like(scores) if weights is None else weights)
        return CalibratedSelection(weighed, self, weights is not None)


class CalibratedSelection(Fitted):
    """Scores in order; see `ConformalSelection`.

    Attributes:
        scores: the calibration scores, and the weight up to each.
        spec: what was asked for.
        weighted: whether new rows need weights.
    """

    scores: WeighedScores
    spec: ConformalSelection
    weighted: bool = eqx.field(static=True)

    @property
    def guarantee(self) -> ErrorGuarantee:
        """The bound on the share of false selections."""
        error = "the expected share of selected rows whose outcome is not above its claim"
        given = EXCHANGEABLE
        if self.weighted:
            given = "rows that are independent, and weights that are the ratio of their densities"
        return ErrorGuarantee(error, self.spec.rate, "calibration and new rows together", given)

    def select(
        self,
        predictions: Real[ArrayLike, " m"],
        *,
        claim: Real[ArrayLike, "*rows"],
        weights: Real[ArrayLike, " m"] | None = None,
        key: Key[Array, ""] | None = None,
    ) -> Selected:
        """Which of the new rows are selected.

        Args:
            predictions: `(m,)`, of all rows that are judged together.
            claim: what each outcome is claimed to exceed, `()` or `(m,)`.
            weights: `(m,)`, positive, the density ratio at each, where calibration had weights.
            key: breaks ties at random: p-values are then a little smaller, and of a draw. A
                random pruning needs one.

        Raises:
            ValueError: for shapes that differ, values that are not finite, weights that are
                missing or not used, or a key that a random pruning needs. Inside jit such
                values make p-values NaN.
        """
        predictions = checks.as_vector("predictions", predictions)
        values = _as_claim(claim, predictions) - predictions
        values = values.astype(self.scores.scores.dtype)
        if (weights is not None) != self.weighted:
            needed = "was" if self.weighted else "was not"
            raise ValueError(
                f"weights must be given exactly where calibration had them; it {needed}"
            )
        key = None if key is None else checks.as_key(key)
        if weights is None:
            p_values = low_p_values(self.scores, values, jnp.ones((), values.dtype), key)
            found = benjamini_hochberg(p_values, self.spec.rate)
            return Selected(found.rejected, p_values)
        return self._select_weighted(values, weights, key)

    def _select_weighted(self, values, weights, key):
        weights, valid = as_ratios("weights", weights, values.shape)
        checks.positive("weights", weights)
        weights = jnp.where(valid & (weights > 0), weights, jnp.nan)
        own = weights.astype(values.dtype) / self.scores.unit
        of_ties, of_pruning = (None, None) if key is None else jax.random.split(key)
        draws = pruning_draws(self.spec.pruning, of_pruning, values)
        p_values = low_p_values(self.scores, values, own, of_ties)
        rate = jnp.asarray(float(self.spec.rate), values.dtype)
        selected = weighted_selection(self.scores, values, own, p_values, rate, draws)
        return Selected(selected & ~jnp.isnan(p_values).any(), p_values)


def _as_claim(claim, predictions):
    array = checks.finite("claim", checks.as_float("claim", claim))
    if array.shape not in ((), predictions.shape):
        raise ValueError(
            f"claim must have shape () or {predictions.shape}, one a row; got {array.shape}"
        )
    return jnp.broadcast_to(array, predictions.shape)
