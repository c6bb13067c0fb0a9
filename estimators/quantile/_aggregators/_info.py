"""How the training of weights went."""

import jax
from jaxtyping import Array, Float

from estimators import training


class WeightsInfo(training.TrainingInfo):
    """How the fit of `GlobalWeights` or `LocalWeights` went; losses are in the unit of y.

    In `history` the training loss has the crossing penalty in it, where there is one; the other
    is the score of validation data (global, every 25 steps) or of the rows held out (local,
    every 200 steps).

    Attributes:
        wis: mean weighted interval score on the training rows; for local weights each is
            predicted by the gate that was trained without its fold.
        wis_of_average: that of the plain average. If the two are equal, nothing was learned.
    """

    wis: Float[Array, ""]
    wis_of_average: Float[Array, ""]


def weights_info(result: training.Result, unit, wis, wis_of_average) -> WeightsInfo:
    """From training in units of `unit`, and scores in that of y."""
    history = jax.tree.map(lambda losses: losses * unit, result.history)
    training_info = (history, result.steps, result.best_step, result.status_code)
    return WeightsInfo(*training_info, wis, wis_of_average)
