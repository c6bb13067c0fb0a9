"""Global weights, learned on out-of-fold predictions."""

import functools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Float, Real

from estimators import training
from estimators._core import Fitted, Spec, checks
from estimators.quantile._aggregators._info import WeightsInfo, weights_info
from estimators.quantile._inputs import as_levels, as_models, as_training
from estimators.quantile._monotone._sort import sort_levels
from estimators.quantile._pools._average import average
from estimators.quantile._scores._pinball import weighted_interval_score

RESOLUTIONS = ("coarse", "medium", "fine")


class FittedGlobalWeights(Fitted):
    """Learned weights.

    Attributes:
        weights: positive. `(models,)` for coarse and `(models, levels)` for medium, summing
            to one over models; `(models, levels, levels)` for fine, where entry [j, v, k] is
            the weight of model j's quantile at level v in the output at level k, summing to
            one over models and source levels.
        levels: `(levels,)`, those of predictions and output.
        info: how the fit went.
    """

    weights: Float[Array, "models ..."]
    levels: Float[Array, " levels"]
    info: WeightsInfo

    def combine(
        self, predictions: Real[ArrayLike, "*batch models levels"]
    ) -> Float[Array, "*batch levels"]:
        """Weighted average over models, sorted.

        Args:
            predictions: quantiles of the models of the fit, in their order, at `levels`, and
                in the unit of the fit.

        Returns:
            Non-decreasing along the last axis.

        Raises:
            ValueError: for a wrong shape, or values that are not finite outside `jax.jit`;
                inside it NaN gives NaN.
        """
        predictions = as_models(predictions, self.weights.shape[0], self.levels.shape[0])
        return sort_levels(average(checks.finite("predictions", predictions), self.weights))


class GlobalWeights(Spec):
    """Weights for models, learned by minimising the weighted interval score.

    They are a softmax of free parameters, which start at zero, and are trained by Adam on all
    rows at once with a rate that decays to zero (eqs. 16 to 18 of arXiv 2103.00083, "global").
    Nothing is random.

    Args:
        weights: "coarse", one weight a model; "medium", one a model and level; "fine", one a
            model, source level and output level. Finer fits better and needs more rows.
        steps: number of training steps.
        learning_rate: the first rate of Adam.
        patience: with validation data, stop after this many evaluations, 25 steps apart, in a
            row without a new least score.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from estimators import quantile
        >>> levels = jnp.array([0.25, 0.5, 0.75])
        >>> y = jax.random.normal(jax.random.key(0), (500,))
        >>> good = jnp.broadcast_to(jnp.array([-0.67, 0.0, 0.67]), (500, 3))
        >>> fitted = quantile.GlobalWeights("coarse").fit(jnp.stack([good, good + 3], 1), y, levels)
        >>> bool(fitted.weights[0] > 0.95), bool(fitted.info.wis < fitted.info.wis_of_average)
        (True, True)

    When it fails: trained on predictions of models for rows that they were fitted on, it
    trusts whichever model overfits most; predictions must be out of fold. With few rows
    (1000, say) "fine" can overfit, where validation data help. The weights do not depend on
    the input, so they cannot tell where a model is good.
    """

    weights: str = eqx.field(static=True, default="medium")
    steps: int = eqx.field(static=True, default=1000)
    learning_rate: float = eqx.field(static=True, default=0.1)
    patience: int = eqx.field(static=True, default=4)

    def __check_init__(self):
        checks.one_of("weights", self.weights, RESOLUTIONS)
        checks.integer("steps", self.steps, at_least=1)
        checks.integer("patience", self.patience, at_least=1)
        checks.positive("learning_rate", self.learning_rate)

    def fit(
        self,
        predictions: Real[ArrayLike, "n models levels"],
        y: Real[ArrayLike, " n"],
        levels: Real[ArrayLike, " levels"],
        *,
        validation: tuple[Real[ArrayLike, "m models levels"], Real[ArrayLike, " m"]] | None = None,
        progress: bool | Callable[[training.Report], object] | None = None,
    ) -> FittedGlobalWeights:
        """Learn the weights; not to be called inside `jax.jit`.

        Args:
            predictions: out-of-fold quantile predictions of each model, in the unit of `y`.
            y: outcomes.
            levels: quantile levels, strictly increasing inside (0, 1).
            validation: predictions and outcomes on which to stop early, and to choose.
            progress: see `estimators.training.minimise`. Ctrl-C keeps the weights so far.

        Raises:
            ValueError: for shapes that do not belong together, values that are not finite, or
                levels that do not increase inside (0, 1).
        """
        predictions, y = as_training(predictions, y)
        levels = as_levels(levels, predictions.shape[-1])
        dtype = jnp.result_type(predictions, y)
        predictions, y, levels = (a.astype(dtype) for a in (predictions, y, levels))
        # A weighted average moves and scales with its arguments, so weights do not depend on
        # the unit of y; training in units of its spread, Adam's epsilon does not either.
        centre, scale = jnp.mean(y), jnp.std(y)
        scale = jnp.where(scale > 0, scale, 1)

        def standardise(predictions, y):
            return (predictions - centre) / scale, (y - centre) / scale, levels

        _, models, count = predictions.shape
        held_out = None
        if validation is not None:
            held_out = as_training(*validation, prefix="validation ")
            as_models(held_out[0], models, count, prefix="validation ")
            held_out = standardise(*(array.astype(dtype) for array in held_out))
        result = training.minimise(
            _mean_score,
            _initial_logits(self.weights, models, count, dtype),
            standardise(predictions, y),
            key=jax.random.key(0),  # required by the loop; the loss is not random
            steps=self.steps,
            optimiser=_optimiser(self.learning_rate, self.steps),
            validation=held_out,
            patience=None if validation is None else self.patience,
            chunk=25,
            progress=progress,
        )
        weights = _as_weights(result.parameters)

        def score(weights):
            combined = sort_levels(average(predictions, weights))
            return jnp.mean(weighted_interval_score(y, combined, levels))

        info = weights_info(result, scale, score(weights), score(None))
        return FittedGlobalWeights(weights, levels, info)


def _mean_score(logits, data, key):
    predictions, y, levels = data
    combined = average(predictions, _as_weights(logits))
    return jnp.mean(weighted_interval_score(y, combined, levels))


def _as_weights(logits):
    return jax.nn.softmax(logits, axis=(0, 1) if logits.ndim == 3 else 0)


def _initial_logits(resolution, models, levels, dtype):
    shapes = ((models,), (models, levels), (models, levels, levels))
    return jnp.zeros(shapes[RESOLUTIONS.index(resolution)], dtype)


@functools.lru_cache
def _optimiser(rate: float, steps: int) -> optax.GradientTransformation:
    # One object for one setting: training compiles once for each optimiser object.
    return optax.adam(optax.cosine_decay_schedule(rate, steps))
