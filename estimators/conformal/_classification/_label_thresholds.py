"""A threshold for every label: of its class, of its cluster of classes, or by its weight."""

import abc

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from estimators._core import checks, grouped_order_statistics
from estimators.conformal._grouped import group_ranks
from estimators.conformal._guarantee import Guarantee
from estimators.conformal._quantile import calibration_size
from estimators.conformal._thresholds import Thresholds, guarantee_of_each
from estimators.conformal._weighted import as_ratios, weigh

LISTED = 5  # classes that a reason names


class LabelThresholds(Thresholds):
    """What all thresholds of labels have in common: they are the same for all rows.

    Attributes:
        values: `(K,)`.
    """

    values: Float[Array, " K"]

    def at(self, shape, where, coverage):
        """See `Thresholds`."""
        return self.values.reshape(*(1 for _ in shape), -1)

    def reason(self, coverage):
        """See `Thresholds`."""
        classes = np.flatnonzero(np.isposinf(np.asarray(self.values)))
        if classes.size == 0:
            return None
        listed = ", ".join(map(str, classes[:LISTED])) + ", ..." * (classes.size > LISTED)
        return (
            f"{self.why(coverage)}; {classes.size} of {self.values.size} classes "
            f"have less, and are in every set: {listed}"
        )

    @abc.abstractmethod
    def why(self, coverage) -> str:
        """What a finite threshold needs."""


class ClassThresholds(LabelThresholds):
    """One for each class, from its own rows.

    Attributes:
        sizes: `(K,)`, calibration rows of each class.
    """

    sizes: Int[Array, " K"]

    def why(self, coverage):
        """See `LabelThresholds`."""
        needed = calibration_size(coverage)
        return f"coverage {float(coverage):g} needs at least {needed} calibration rows of a class"

    def guarantee(self, asked, coverage):
        """See `Thresholds`."""
        over = "calibration and new rows of a class, in every class"
        return guarantee_of_each(asked, coverage, self.sizes, over)


class ClusterThresholds(LabelThresholds):
    """One for each cluster of classes.

    Attributes:
        clusters: `(K,)`, the cluster of each class; the last one is that of rare classes.
        sizes: `(clusters,)`, calibration rows in each but the last.
    """

    clusters: Int[Array, " K"]
    sizes: Int[Array, " clusters"]

    def why(self, coverage):
        """See `LabelThresholds`."""
        needed = calibration_size(coverage)
        return f"coverage {float(coverage):g} needs at least {needed} calibration rows of a cluster"

    def guarantee(self, asked, coverage):
        """See `Thresholds`."""
        over = "calibration and new rows of a cluster of classes, in every cluster but that of rare"
        return guarantee_of_each(asked, coverage, self.sizes, f"{over} classes")


class ShiftThresholds(LabelThresholds):
    """One for each label, by its weight in the new law."""

    def why(self, coverage):
        """See `LabelThresholds`."""
        return (
            f"coverage {float(coverage):g} needs calibration rows whose weights sum to "
            f"{float(coverage / (1 - coverage)):g} times that of the label"
        )

    def guarantee(self, asked, coverage):
        """See `Thresholds`."""
        return Guarantee(
            asked,
            asked,
            None,
            "at least",
            "calibration rows and new rows of the other law",
            "rows that are independent in each law, classes whose features have the same law in "
            "both, and weights that are the ratio of the classes' probabilities",
        )


def class_thresholds(scores, labels, classes: int, coverage) -> ClassThresholds:
    """The conformal quantile of each class's scores."""
    ranks = group_ranks(labels, classes, coverage)
    values = grouped_order_statistics(scores, labels, ranks)
    sizes = jnp.bincount(labels, length=classes).astype(jnp.int32)
    return ClassThresholds(checks.poison(values, ~jnp.isnan(scores).any()), sizes)


def shift_thresholds(scores, labels, label_weights, classes: int, coverage) -> ShiftThresholds:
    """The quantile of all scores, each by the weight of its label, and the new one by its own."""
    weights, valid = as_ratios("label_weights", label_weights)
    if weights.shape != (classes,):
        raise ValueError(
            f"label_weights must have shape ({classes},), one a class; got shape {weights.shape}"
        )
    weights = jnp.where(valid, weights, jnp.nan).astype(scores.dtype)
    weighed = weigh(scores, weights[labels])
    return ShiftThresholds(weighed.thresholds(weights, None, coverage))
