"""Training of the networks that predict quantiles: the options, and the loop."""

import abc
import functools
from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import optax
from jaxtyping import Array, ArrayLike, Float, Key, Real

from estimators import training
from estimators._core import Scaling, Spec, checks
from estimators.quantile._models._data import as_training_rows
from estimators.quantile._models._fitted_network import FittedNetwork, Head
from estimators.quantile._models._trunk import random_trunk

CHUNK = 100  # steps between two looks at the validation data


class NetworkSpec(Spec):
    """The options that all networks share; see `QuantileNetwork`."""

    width: int = eqx.field(static=True, default=64)
    depth: int = eqx.field(static=True, default=2)
    steps: int = eqx.field(static=True, default=2000)
    batch_size: int = eqx.field(static=True, default=64)
    learning_rate: float = eqx.field(static=True, default=2e-3)
    weight_decay: float = eqx.field(static=True, default=0.1)
    patience: int = eqx.field(static=True, default=5)

    def __check_init__(self):
        for name in ("width", "depth", "steps", "batch_size", "patience"):
            checks.integer(name, getattr(self, name), at_least=1)
        checks.positive("learning_rate", self.learning_rate)
        checks.positive("weight_decay", self.weight_decay, zero=True)

    @abc.abstractmethod
    def _head(self, dtype) -> Head:
        """The head of this model."""

    def fit(
        self,
        features: Real[ArrayLike, "n d"],
        y: Real[ArrayLike, " n"],
        levels: Real[ArrayLike, " levels"] | Sequence[float],
        *,
        key: Key[Array, ""],
        validation: tuple[Real[ArrayLike, "m d"], Real[ArrayLike, " m"]] | None = None,
        progress: bool | Callable[[training.Report], object] | None = None,
    ) -> FittedNetwork:
        """Train the network; not to be called inside `jax.jit`.

        Args:
            features: one row a sample. They are standardised inside; a constant column is
                ignored.
            y: outcomes, standardised inside as well.
            levels: quantile levels, strictly increasing inside (0, 1).
            key: for the first weights and the batches.
            validation: features and outcomes on which to stop early, and to choose the step.
            progress: see `estimators.training.minimise`. Ctrl-C keeps the weights so far.

        Raises:
            ValueError: for shapes that do not belong together, values that are not finite, or
                levels that do not increase inside (0, 1).
        """
        features, y = as_training_rows(features, y)
        dtype, columns = y.dtype, features.shape[1]
        levels = checks.as_levels("levels", levels).astype(dtype)
        units, head = Scaling.of(features, y), self._head(dtype)

        def as_data(features, y):
            rows = units.features(features.astype(dtype)), units.outcomes(y.astype(dtype))
            return {"rows": rows, "levels": levels, "head": head}

        held_out = None
        if validation is not None:
            held_out = as_data(*as_training_rows(*validation, "validation ", columns))
        of_weights, of_training = jax.random.split(checks.as_key(key))
        inputs, outputs = head.sizes(columns, levels.shape[0])
        sizes = (inputs, *(self.width,) * self.depth, outputs)
        result = training.minimise(
            _Loss(self.batch_size),
            random_trunk(sizes, head.activation, dtype, of_weights),
            as_data(features, y),
            key=of_training,
            steps=self.steps,
            optimiser=_optimiser(self.learning_rate, self.steps, self.weight_decay),
            validation=held_out,
            validation_loss=_validation_loss,
            patience=None if validation is None else self.patience,
            chunk=CHUNK,
            progress=progress,
        )
        return FittedNetwork(result.parameters, head, units, levels, result.info)


class _Loss(eqx.Module):
    """The loss of one batch."""

    batch_size: int = eqx.field(static=True)

    def __call__(self, network, data, key) -> Float[Array, ""]:
        of_batch, of_loss = jax.random.split(key)
        rows, y = training.batch(data["rows"], of_batch, self.batch_size)
        return data["head"].loss(network, rows, y, data["levels"], of_loss)


def _validation_loss(network, data, key):
    return data["head"].validation_loss(network, *data["rows"], data["levels"], key)


@functools.lru_cache
def _optimiser(rate: float, steps: int, decay: float) -> optax.GradientTransformation:
    # One object for one setting: training compiles once for each optimiser object. Steps are
    # clipped because squared units (ReQU) can have steep gradients before they settle.
    adam = optax.adamw(optax.cosine_decay_schedule(rate, steps), weight_decay=decay)
    return optax.chain(optax.clip_by_global_norm(1.0), adam)
