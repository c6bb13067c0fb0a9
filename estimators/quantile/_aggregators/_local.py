"""Weights that depend on the row, from a network of its features."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Key, Real

from estimators import training
from estimators._core import Fitted, Spec, checks
from estimators.quantile._aggregators._cross_fit import (
    Schedule,
    cross_fit,
    fit_base,
    mean_over_gates,
)
from estimators.quantile._aggregators._data import Data, as_rows, mean_score
from estimators.quantile._aggregators._gate import RESOLUTIONS, Dropout, Gate
from estimators.quantile._aggregators._info import WeightsInfo, weights_info
from estimators.quantile._aggregators._inputs_of_gate import SEES, Inputs
from estimators.quantile._aggregators._start import Folds, begin
from estimators.quantile._inputs import as_models
from estimators.quantile._monotone._sort import sort_levels
from estimators.quantile._pools._average import average
from estimators.quantile._pools._mask import as_mask, unless_absent

BASES = ("coarse", "medium", "fine")


class FittedLocalWeights(Fitted):
    """One gate a fold, of each partition; their weights are averaged.

    Attributes:
        gates: stacked along a leading axis.
        inputs: what the gates see, and in which units.
        levels: `(levels,)`, those of predictions and output.
        info: how the fit went.
    """

    gates: Gate
    inputs: Inputs
    levels: Float[Array, " levels"]
    info: WeightsInfo

    def combine(
        self,
        predictions: Real[ArrayLike, "*batch models levels"],
        features: Real[ArrayLike, "*batch features"] | None = None,
        *,
        mask: Bool[ArrayLike, "..."] | None = None,
    ) -> Float[Array, "*batch levels"]:
        """Weighted averages over models, sorted.

        Args:
            predictions: quantiles of the models of the fit, in their order, at `levels`, and
                in the unit of the fit.
            features: of the same rows, as in the fit; None where the fit had none.
            mask: True where a prediction is there, as for `average`.

        Returns:
            Non-decreasing along the last axis.

        Raises:
            ValueError: for a wrong shape, values that are not finite outside `jax.jit`, or a
                mask that leaves nothing; inside it NaN gives NaN.
        """
        rows = self._rows(predictions, features, mask)
        combined = mean_over_gates(self.gates, rows)
        combined = self.inputs.centre + self.inputs.scale * combined
        combined = combined.reshape(*jnp.shape(predictions)[:-2], -1)
        return unless_absent(combined, ~jnp.isnan(combined)) if mask is not None else combined

    def weights(
        self,
        predictions: Real[ArrayLike, "*batch models levels"],
        features: Real[ArrayLike, "*batch features"] | None = None,
    ) -> Float[Array, "..."]:
        """The weights of each row: what to look at, to see whom is trusted where.

        Returns:
            `(*batch, models)`, `(*batch, models, levels)` or `(*batch, models, levels, levels)`,
            whichever is the finer of base and network; summing to one over models, and over
            source levels, the last axis but one of the largest shape.
        """
        rows = self._rows(predictions, features, None)
        each = eqx.filter_vmap(lambda gate: gate.weights(rows.inputs))(self.gates)
        return jnp.mean(each, 0).reshape(*jnp.shape(predictions)[:-2], *each.shape[2:])

    def _rows(self, predictions, features, mask):
        models, levels = self.gates.base.shape[1], self.levels.shape[0]
        predictions = as_models(predictions, models, levels)
        present = as_mask(mask, predictions)
        features = self.inputs.check_features(features, predictions.shape[:-2])
        flat = predictions.reshape(-1, models, levels)
        if present is not None:
            present = present.reshape(flat.shape)
            flat = jnp.where(present, flat, 0)
        checks.finite("predictions", flat)
        if features is not None:
            features = features.reshape(flat.shape[0], -1).astype(flat.dtype)
        nothing = jnp.zeros(flat.shape[0], flat.dtype)
        return as_rows(self.inputs, Data(flat, nothing, self.levels, features, present))


class LocalWeights(Spec):
    """Weights that depend on the row: a mixture of experts (eqs. 16 to 18, "local").

    The logits are global ones plus those of a network of the row's inputs; see `Gate` for the
    formula. First the global ones are learned, then both together from there. A gate is
    trained for each fold, on the other folds; all stop at the step that is best for the rows
    held out, and new rows are combined by the mean of their weights.

    Args:
        resolution: "coarse", "medium" or "fine" as in `GlobalWeights`, or "product": a weight
            of model and level times a weight of model and source level.
        base: resolution of the global logits; None for that of the network ("fine" for
            "product"). A fine base with a coarser network is often the best of both.
        sees: inputs of the network: "features", a summary of the "predictions" themselves
            (where the models lie, and how wide), or "both".
        folds: number of folds, if the fit is given none.
        repeats: how many partitions into folds (all the same one, where the fit is given
            it), each with a gate a fold: more gates to average, in as many times the time.
        width: hidden units of a layer.
        depth: hidden layers.
        dropout: share of hidden units left out in a step.
        model_dropout: share of models left out in a step; for use with masks.
        crossing: weight of `crossing_penalty`.
        steps: number of steps; as many again at most for the global logits.
        batch_size: rows of a step, for each gate.
        learning_rate: the largest rate of Adam.
        patience: stop after this many evaluations, 200 steps apart, without a new least score.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from estimators import quantile
        >>> levels = jnp.array([0.25, 0.5, 0.75])
        >>> x = jax.random.normal(jax.random.key(0), (400, 1))
        >>> y = x[:, 0] + 0.1 * jax.random.normal(jax.random.key(1), (400,))
        >>> near = y[:, None] + jnp.array([-0.07, 0.0, 0.07])[None]
        >>> one, two = near + 3 * (x > 0), near - 3 * (x < 0)   # each is right for a sign of x
        >>> spec = quantile.LocalWeights("coarse", steps=200)
        >>> both, key = jnp.stack([one, two], 1), jax.random.key(2)
        >>> fitted = spec.fit(both, y, levels, features=x, key=key)
        >>> bool(fitted.info.wis < 0.3 * fitted.info.wis_of_average)
        True

    When it fails: on fewer than about 1000 rows, or where no feature tells which model is
    right, it learns noise: `info.wis` is then no less than that of `GlobalWeights`.
    `Aggregator` decides.
    """

    resolution: str = eqx.field(static=True, default="fine")
    base: str | None = eqx.field(static=True, default=None, kw_only=True)
    sees: str = eqx.field(static=True, default="features", kw_only=True)
    folds: int = eqx.field(static=True, default=5, kw_only=True)
    repeats: int = eqx.field(static=True, default=1, kw_only=True)
    width: int = eqx.field(static=True, default=64, kw_only=True)
    depth: int = eqx.field(static=True, default=2, kw_only=True)
    dropout: float = eqx.field(static=True, default=0.1, kw_only=True)
    model_dropout: float = eqx.field(static=True, default=0.0, kw_only=True)
    crossing: float = eqx.field(static=True, default=1.0, kw_only=True)
    steps: int = eqx.field(static=True, default=2000, kw_only=True)
    batch_size: int = eqx.field(static=True, default=64, kw_only=True)
    learning_rate: float = eqx.field(static=True, default=3e-3, kw_only=True)
    patience: int = eqx.field(static=True, default=5, kw_only=True)

    def __check_init__(self):
        checks.one_of("resolution", self.resolution, RESOLUTIONS)
        checks.one_of("sees", self.sees, SEES)
        if self.base is not None:
            checks.one_of("base", self.base, BASES)
        base = self.base_resolution
        if self.resolution in BASES and BASES.index(self.resolution) > BASES.index(base):
            raise ValueError(
                f"base must be at least as fine as resolution={self.resolution!r}; "
                f"got {self.base!r}"
            )
        if self.resolution == "product" and base != "fine":
            raise ValueError(f"base must be 'fine' for resolution='product'; got {self.base!r}")
        checks.integer("folds", self.folds, at_least=2)
        for name in ("repeats", "width", "steps", "batch_size", "patience"):
            checks.integer(name, getattr(self, name), at_least=1)
        checks.integer("depth", self.depth, at_least=1)
        for name in ("dropout", "model_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1); got {getattr(self, name)}")
        checks.positive("learning_rate", self.learning_rate)

    @property
    def base_resolution(self) -> str:
        """The resolution of the global logits."""
        return self.base or ("fine" if self.resolution == "product" else self.resolution)

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
    ) -> FittedLocalWeights:
        """Learn the weights; not to be called inside `jax.jit`.

        Args:
            predictions: out-of-fold quantile predictions of each model, in the unit of `y`.
            y: outcomes.
            levels: quantile levels, strictly increasing inside (0, 1).
            key: draws folds, initial weights and batches.
            features: what the network may see of each row. Without them it sees the summary
                of the predictions, whatever `sees` says.
            mask: True where a prediction is there, as for `average`.
            fold: a whole number for each row; rows of a number are held out together. Give
                it where rows belong together (time, groups); else it is random.
            progress: see `estimators.training.minimise`. Ctrl-C keeps the best so far.

        Raises:
            ValueError: for shapes that do not belong together, values that are not finite,
                levels that do not increase inside (0, 1), or fewer than two rows a fold.
        """
        start = begin(predictions, y, levels, features, mask, fold, self.folds, self.repeats, key)
        first = jax.random.fold_in(start.key, 0)
        base, *_ = fit_base(
            self.base_resolution, start.rows, start.folds, key=first, progress=progress
        )
        return self.from_base(base, start.data, start.folds, key=start.key, progress=progress)[0]

    def from_base(self, base, data: Data, folds: Folds, *, key, progress=None):
        """The fit from global gates, and its held-out predictions in the unit of y."""
        sees = self.sees if data.features is not None else "predictions"
        inputs = Inputs.of(data.predictions, data.y, data.features, data.mask, sees)
        rows = as_rows(inputs, data)
        start, run = jax.random.split(key)

        def make(key, base):
            shape = (rows.levels.shape[0], rows.inputs.shape[1])
            return Gate.random(key, base, *shape, self.resolution, self.width, self.depth)

        gates = eqx.filter_vmap(make)(jax.random.split(start, len(folds.counts)), base.base)
        some = self.dropout > 0 or self.model_dropout > 0
        schedule = Schedule(
            self.steps,
            self.batch_size,
            self.learning_rate,
            self.patience,
            self.crossing,
            Dropout(self.dropout, self.model_dropout) if some else None,
        )
        gates, held_out, result = cross_fit(
            gates, rows, folds, schedule, key=run, progress=progress
        )
        return as_fitted(gates, inputs, data, held_out, result)


def as_fitted(gates: Gate, inputs: Inputs, data: Data, held_out, result: training.Result):
    """What a fit returns, and its held-out predictions in the unit of y."""
    held_out = inputs.centre + inputs.scale * held_out
    plain = sort_levels(average(data.predictions, mask=data.mask))
    scores = mean_score(data, held_out), mean_score(data, plain)
    info = weights_info(result, inputs.scale, *scores)
    return FittedLocalWeights(gates, inputs, data.levels, info), held_out
