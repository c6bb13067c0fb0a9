"""A trained network, and the head that turns what it says into quantiles."""

import abc

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key, Real

from estimators import training
from estimators._core import Fitted, Scaling, Stored, checks
from estimators.quantile._models._trunk import Trunk
from estimators.quantile._monotone._sort import sort_levels
from estimators.quantile._scores._pinball import weighted_interval_score


class Head(Stored):
    """What makes a trunk a model. Rows and outcomes are in standardised units here."""

    # Without an annotation, which would make it a field of what is saved.
    activation = "silu"

    @abc.abstractmethod
    def sizes(self, columns: int, levels: int) -> tuple[int, int]:
        """Number of inputs and of outputs of the trunk."""

    @abc.abstractmethod
    def quantiles(
        self, network: Trunk, rows: Float[Array, "m d"], levels: Float[Array, " levels"]
    ) -> Float[Array, "m levels"]:
        """Predicted quantiles; they may cross."""

    @abc.abstractmethod
    def loss(
        self,
        network: Trunk,
        rows: Float[Array, "m d"],
        y: Float[Array, " m"],
        levels: Float[Array, " levels"],
        key: Key[Array, ""],
    ) -> Float[Array, ""]:
        """What training minimises: a mean over rows."""

    def validation_loss(
        self,
        network: Trunk,
        rows: Float[Array, "m d"],
        y: Float[Array, " m"],
        levels: Float[Array, " levels"],
        key: Key[Array, ""],
    ) -> Float[Array, ""]:
        """What early stopping looks at: the weighted interval score."""
        predictions = self.quantiles(network, rows, levels)
        return jnp.mean(weighted_interval_score(y, predictions, levels))


class FittedNetwork(Fitted):
    """A trained network.

    Attributes:
        network: its weights.
        head: what its outputs mean.
        scaling: the units of the training data.
        levels: `(levels,)`, those of the fit.
        info: how training went; losses are of outcomes divided by their standard deviation,
            those of validation every 100 steps.
    """

    network: Trunk
    head: Head
    scaling: Scaling
    levels: Float[Array, " levels"]
    info: training.TrainingInfo

    def predict(self, features: Real[ArrayLike, "*batch d"]) -> Float[Array, "*batch levels"]:
        """Quantiles of y given the features, at `levels`.

        Args:
            features: in the units of the fit.

        Returns:
            In the unit of y; non-decreasing along the last axis.

        Raises:
            ValueError: for a wrong shape, or values that are not finite outside `jax.jit`;
                inside it NaN gives NaN.
        """
        features = checks.as_queries("features", features, self.scaling.centre.shape[0])
        return _predict(self, features.astype(self.levels.dtype))


@eqx.filter_jit
def _predict(fitted: FittedNetwork, features):
    rows = fitted.scaling.features(features.reshape(-1, features.shape[-1]))
    quantiles = fitted.head.quantiles(fitted.network, rows, fitted.levels)
    ordered = sort_levels(fitted.scaling.undo(quantiles))
    return ordered.reshape(*features.shape[:-1], -1)
