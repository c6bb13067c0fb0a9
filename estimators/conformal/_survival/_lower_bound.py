"""A lower bound for a censored time: weighted conformal prediction up to a cutoff."""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Real

from estimators._core import Fitted, Spec, checks
from estimators.conformal._guarantee import Guarantee
from estimators.conformal._quantile import why_infinite
from estimators.conformal._survival._inputs import as_censored, as_probabilities
from estimators.conformal._survival._nested import as_predictions, bounds, scores
from estimators.conformal._weighted import WeighedScores, weigh


class CalibratedSurvivalLowerBound(Fitted):
    """Lower bounds for survival times; see `SurvivalLowerBound`.

    Attributes:
        weighed: scores in order, and the weight up to each.
        cutoff: the largest bound.
        levels: `(L,)`, of the predicted quantiles; None for predicted times.
        kept: number of calibration rows that were censored at the cutoff or later, or never.
        least: the smallest probability of a calibration row.
        coverage: coverage asked for.
        weighted: whether rows have probabilities.
    """

    weighed: WeighedScores
    cutoff: Float[Array, ""]
    levels: Float[Array, " L"] | None
    kept: Int[Array, ""]
    least: Float[Array, ""]
    coverage: float = eqx.field(static=True)
    weighted: bool = eqx.field(static=True)

    def lower_bound(
        self,
        predictions: Real[ArrayLike, "..."],
        probabilities: Real[ArrayLike, "*batch"] | None = None,
    ) -> Float[Array, "*batch"]:
        """The time that each new row survives with the coverage, `(*batch,)`, 0 to the cutoff.

        Args:
            predictions: `(*batch,)`, predicted times, or `(*batch, L)`, predicted quantiles, as
                calibration had.
            probabilities: `(*batch,)`, P(C >= cutoff | x), where calibration had it.

        Raises:
            ValueError: for a wrong shape, probabilities outside (0, 1] or missing or not needed.
                Inside jit a bad probability gives NaN in its row.
        """
        dtype = self.weighed.scores.dtype
        rows = as_predictions(predictions, self.levels).astype(dtype)
        shape = rows.shape if self.levels is None else rows.shape[:-1]
        if (probabilities is not None) != self.weighted:
            needed = "was" if self.weighted else "was not"
            raise ValueError(
                f"probabilities must be given exactly where calibration had them; it {needed}"
            )
        chance = jnp.ones(shape, dtype)
        if probabilities is not None:
            chance = as_probabilities(probabilities, shape).astype(dtype)
        thresholds = self.weighed.thresholds(1 / chance, None, self.coverage)
        each = rows.reshape(-1, *rows.shape[len(shape) :])
        return bounds(each, self.levels, thresholds.reshape(-1), self.cutoff).reshape(shape)

    @property
    def reason(self) -> str | None:
        """Why bounds are 0, or for which rows; None where rows like these have another."""
        kept = int(np.min(self.kept))
        if not self.weighted:
            return why_infinite(kept, self.coverage)
        total = np.min(np.asarray(self.weighed.reached)[..., -1] * np.asarray(self.weighed.unit))
        needed = float(self.coverage / ((1 - self.coverage) * total)) if total > 0 else np.inf
        least = float(np.min(self.least))
        if least >= needed:
            return None
        return (
            f"a row gets the bound 0 where P(C >= cutoff | x) is below {needed:.3g}; in "
            f"calibration the smallest was {least:.3g}, and {kept} rows were kept"
        )

    @property
    def guarantee(self) -> Guarantee:
        """What the bounds promise."""
        given = (
            "rows that are independent, censoring that is independent of the event's time given "
            "the features, P(C >= cutoff | x) that is known, and predictions of a model that has "
            "seen none of the rows; estimated probabilities cost at most half the mean absolute "
            "error of the normalised weights, and in the limit nothing where the predicted "
            "quantiles are right"
            if self.weighted
            else "rows that are independent, censoring that is independent of features and of the "
            "event's time, and predictions of a model that has seen none of the rows"
        )
        return Guarantee(
            self.coverage, self.coverage, None, "at least", "calibration and new rows", given
        )


class SurvivalLowerBound(Spec):
    """A lower bound for the time of an event, from times that may be censored.

    The censoring time C must be known in every calibration row, as at the end of a study. Rows
    with C >= cutoff show T up to the cutoff, T the time of the event. They are not like new rows,
    for which C plays no part: their features are those of rows seen for long. Weights

        w(x) = 1 / P(C >= cutoff | x)

    undo that, and weighted conformal prediction does the rest: the score is

        min(prediction, cutoff) - T    where T < cutoff,    -inf where it is not,

    or with predicted quantiles minus the predicted distribution function at T; the bound is the
    prediction less the row's threshold, or the quantile at minus it, between 0 and the cutoff.

    Args:
        coverage: probability that T must lie at or above the bound, in (0, 1).
        cutoff: the largest bound, positive, in the unit of the times; chosen without the
            calibration rows, as `choose_cutoff` does with others. +inf keeps the rows that
            cannot be censored, with C = +inf.

    Raises:
        ValueError: for a coverage outside (0, 1), or a cutoff that is not positive.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> event, censoring = jnp.arange(1.0, 21.0), jnp.array([12.0, 25.0] * 10)
        >>> spec = conformal.SurvivalLowerBound(coverage=0.8, cutoff=15.0)
        >>> calibrated = spec.calibrate(event, jnp.minimum(event, censoring), censoring)
        >>> print(calibrated.lower_bound(jnp.array([4.0, 9.0, 40.0])))
        [ 4.  9. 15.]

    Reference: Candes, Lei & Ren 2023, Conformalized survival analysis, JRSS B 85(1); weighted
    conformal prediction after Tibshirani et al. 2019. That a time beyond the cutoff is never
    missed is used here in the score; it can only raise the bounds.

    When it fails: where the censoring is known to come early for some features, their weights
    explode: `reason` says when rows get the bound 0. A high cutoff keeps few rows, a low one
    bounds everything; where a tenth of quantiles lies above it `AdaptiveSurvivalLowerBound` is
    sharper. It needs C for rows whose event came first: where that is hidden, see
    `impute_censoring_times`.
    """

    coverage: float = eqx.field(static=True, default=0.9)
    cutoff: float | Float[ArrayLike, ""] = eqx.field(kw_only=True)

    def __check_init__(self):
        checks.probability("coverage", self.coverage)
        concrete = checks.is_concrete(self.cutoff)
        if concrete and not checks.holds(lambda c: jnp.asarray(c) > 0, self.cutoff):
            raise ValueError(f"cutoff must be positive; got {self.cutoff}")

    def calibrate(
        self,
        predictions: Real[ArrayLike, "n ..."],
        times: Real[ArrayLike, " n"],
        censoring_times: Real[ArrayLike, " n"],
        *,
        levels: Sequence[float] | Real[ArrayLike, " L"] | None = None,
        probabilities: Real[ArrayLike, " n"] | None = None,
    ) -> CalibratedSurvivalLowerBound:
        """Choose the threshold on rows that the model has not seen.

        Args:
            predictions: `(n,)`, any prediction of the time, best of its quantile at
                `1 - coverage`; with `levels` `(n, L)`, quantiles at each of them.
            times: `(n,)`, min(T, C), not negative.
            censoring_times: `(n,)`, C, at or above `times`; +inf for a row never censored.
            levels: `(L,)`, at least two, strictly increasing inside (0, 1).
            probabilities: `(n,)`, in (0, 1], P(C >= cutoff | x) of each row, kept or not. None is
                for a censoring that does not depend on x, and needs no estimate.

        Raises:
            ValueError: for shapes that do not belong together, times that are negative,
                censoring times below them, probabilities outside (0, 1], or no row with C at
                the cutoff or above. Inside jit bad values give NaN, and where no row is left
                bounds are 0.
        """
        times, censoring = as_censored(times, censoring_times)
        levels = None if levels is None else checks.as_levels("levels", levels)
        rows = as_predictions(predictions, levels)
        if rows.shape[:1] != times.shape or rows.ndim != 1 + (levels is not None):
            wanted = "(n,)" if levels is None else "(n, L)"
            raise ValueError(
                f"predictions must have shape {wanted} with n = {times.shape[0]}, as times; got "
                f"{rows.shape}"
            )
        dtype = jnp.result_type(rows, times)
        cutoff = jnp.asarray(self.cutoff, dtype)
        cutoff = jnp.where(cutoff > 0, cutoff, jnp.nan)
        kept = censoring >= cutoff
        if checks.is_concrete(kept) and not checks.holds(jnp.any, kept):
            raise ValueError(
                f"cutoff must not lie above all censoring times; it is {cutoff}, and the largest "
                f"of {censoring.shape[0]} is {censoring.max()}"
            )
        chance = jnp.ones(times.shape, dtype)
        if probabilities is not None:
            chance = as_probabilities(probabilities, times.shape).astype(dtype)
        weights = jnp.where(kept | jnp.isnan(chance), 1 / chance, 0)
        if levels is not None:
            levels = levels.astype(dtype)
        weighed = weigh(scores(rows.astype(dtype), levels, times.astype(dtype), cutoff), weights)
        number = jnp.sum(kept, dtype=jnp.int32)
        return CalibratedSurvivalLowerBound(
            weighed,
            cutoff,
            levels,
            number,
            jnp.min(chance),
            self.coverage,
            probabilities is not None,
        )
