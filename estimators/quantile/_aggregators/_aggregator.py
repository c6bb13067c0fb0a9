"""The aggregator that chooses for itself how fine and how local its weights are."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Key, Real

from estimators import training
from estimators._core import Fitted, Spec, Stored, checks
from estimators.quantile._aggregators._cross_fit import fit_base
from estimators.quantile._aggregators._global import FittedGlobalWeights, GlobalWeights
from estimators.quantile._aggregators._local import FittedLocalWeights, LocalWeights, as_fitted
from estimators.quantile._aggregators._start import begin
from estimators.quantile._monotone._sort import sort_levels
from estimators.quantile._pools._average import average
from estimators.quantile._scores._compare import mean_score
from estimators.quantile._scores._pinball import weighted_interval_score


class AggregatorInfo(Stored):
    """How the fit went; scores are in the unit of y.

    Attributes:
        candidates: what was mixed.
        scores: `(candidates,)`, mean weighted interval score of each on the training rows,
            predicted by the fold that was trained without them.
        standard_errors: of these means.
        shares: `(candidates,)`, of the mixture.
        wis: mean score of the mixture of the held-out predictions.
        wis_of_average: that of the plain average of the models.
    """

    candidates: tuple[str, ...] = eqx.field(static=True)
    scores: Float[Array, " candidates"]
    standard_errors: Float[Array, " candidates"]
    shares: Float[Array, " candidates"]
    wis: Float[Array, ""]
    wis_of_average: Float[Array, ""]


class FittedAggregator(Fitted):
    """Candidates, and how much of each.

    Attributes:
        candidates: the fitted weights.
        mixture: weights of the candidates.
        levels: `(levels,)`, those of predictions and output.
        info: how the fit went.
    """

    candidates: tuple[FittedLocalWeights, ...]
    mixture: FittedGlobalWeights
    levels: Float[Array, " levels"]
    info: AggregatorInfo

    def combine(
        self,
        predictions: Real[ArrayLike, "*batch models levels"],
        features: Real[ArrayLike, "*batch features"] | None = None,
        *,
        mask: Bool[ArrayLike, "..."] | None = None,
    ) -> Float[Array, "*batch levels"]:
        """Combine over models and sort; see `FittedLocalWeights.combine`."""
        combined = [c.combine(predictions, features, mask=mask) for c in self.candidates]
        stacked = jnp.stack(combined, -2)
        return sort_levels(average(stacked, self.mixture.weights))


class Aggregator(Spec):
    """Mixes weights from coarse to fine and from global to local, on held-out rows.

    No resolution wins on all data. All candidates are trained fold by fold, each from the
    solution of the global ones, and predict the rows of the fold that they did not see; the
    mixture of least weighted interval score on these is kept. So the choice is made on
    rows that no candidate was trained on, and nothing has to be set.

    Args:
        local: local candidates; the base of each is "fine". Global coarse and global fine
            weights are always among the candidates.
        folds: number of folds, if the fit is given none.
        repeats: how many partitions into folds; see `LocalWeights`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from estimators import quantile
        >>> levels = jnp.array([0.25, 0.5, 0.75])
        >>> y = jax.random.normal(jax.random.key(0), (300,))
        >>> good = jnp.broadcast_to(jnp.array([-0.67, 0.0, 0.67]), (300, 3))
        >>> both = jnp.stack([good, good + 3], 1)
        >>> fitted = quantile.Aggregator(local=()).fit(both, y, levels, key=jax.random.key(1))
        >>> bool(fitted.info.wis < 0.5 * fitted.info.wis_of_average)
        True

    When it fails: trained on predictions of models for rows that they were fitted on, it
    trusts whichever model overfits most; predictions must be out of fold. Weights are
    positive and sum to one: an error that all models share stays; a conformal step repairs
    the coverage.
    """

    local: tuple[LocalWeights, ...] = eqx.field(
        static=True,
        default=(
            LocalWeights("fine"),
            LocalWeights("fine", sees="both"),
            LocalWeights("medium", base="fine", sees="both"),
        ),
    )
    folds: int = eqx.field(static=True, default=5, kw_only=True)
    repeats: int = eqx.field(static=True, default=1, kw_only=True)

    def __check_init__(self):
        for spec in self.local:
            if not isinstance(spec, LocalWeights) or spec.base_resolution != "fine":
                raise ValueError(f"local must hold LocalWeights with base='fine'; got {spec}")
        checks.integer("folds", self.folds, at_least=2)
        checks.integer("repeats", self.repeats, at_least=1)

    def fit(
        self,
        predictions: Real[ArrayLike, "n models levels"],
        y: Real[ArrayLike, " n"],
        levels: Real[ArrayLike, " levels"],
        *,
        key: Key[Array, ""],
        features: Real[ArrayLike, "n features"] | None = None,
        mask: Bool[ArrayLike, "..."] | None = None,
        fold: Int[ArrayLike, " n"] | None = None,
        progress: bool | Callable[[training.Report], object] | None = None,
    ) -> FittedAggregator:
        """Learn weights and mixture; not to be called inside `jax.jit`.

        Args, Raises: as `LocalWeights.fit`.
        """
        data, folds, blind, rows, run = begin(
            predictions, y, levels, features, mask, fold, self.folds, self.repeats, key
        )
        keys = jax.random.split(run, 2 + len(self.local))
        names, fitted, held_out = ["global coarse", "global fine"], [], []
        base = None
        for name, key in zip(("coarse", "fine"), keys, strict=False):
            base, predicted, result = fit_base(name, rows, folds, key=key, progress=progress)
            one, predicted = as_fitted(base, blind, data, predicted, result)
            fitted.append(one)
            held_out.append(predicted)
        for spec, key in zip(self.local, keys[2:], strict=True):
            one, predicted = spec.from_base(base, data, folds, key=key, progress=progress)
            names.append(f"local {spec.resolution}, sees {one.inputs.sees}")
            fitted.append(one)
            held_out.append(predicted)
        candidates = jnp.stack(held_out, 1)
        mixture = GlobalWeights("coarse").fit(candidates, data.y, data.levels)
        y = jnp.broadcast_to(data.y[:, None], candidates.shape[:2])
        scores = mean_score(weighted_interval_score(y, candidates, data.levels))
        info = AggregatorInfo(
            tuple(names),
            scores.value,
            scores.standard_error,
            mixture.weights,
            mixture.info.wis,
            fitted[0].info.wis_of_average,
        )
        return FittedAggregator(tuple(fitted), mixture, data.levels, info)
