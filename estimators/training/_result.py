"""What training returns."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from estimators._core import Stored

STATUS = ("finished", "stopped early", "interrupted", "diverged")


class History(Stored):
    """Losses along the way; NaN from where training ended.

    The arrays have the length of a full run however the run ended, so that two results of
    one task share their shapes, and whatever is jitted over them compiles once.

    Attributes:
        training: `(steps,)`; entry i is the loss that step i differentiated, that is, before
            its update.
        validation: `(ceil(steps / chunk),)`; the validation loss after each chunk.
    """

    training: Float[Array, " steps"]
    validation: Float[Array, " chunks"]


class TrainingInfo(Stored):
    """How training went.

    Attributes:
        history: the losses.
        steps: `()`, number of updates made.
        best_step: `()`, number of updates after which the parameters were taken.
        status_code: `()`, index of `status` in ("finished", "stopped early", "interrupted",
            "diverged"); an array, so that results of one task share a pytree structure.
    """

    history: History
    steps: Int[Array, ""]
    best_step: Int[Array, ""]
    status_code: Int[Array, ""]

    @property
    def status(self) -> str:
        """Why training ended: "finished", "stopped early", "interrupted" or "diverged"."""
        return STATUS[int(self.status_code)]


class Result(TrainingInfo):
    """Trained parameters, and how training went; see also `TrainingInfo`.

    Attributes:
        parameters: as they were given, trained. With validation data those of the chunk with
            the least validation loss, else the last ones; after divergence, where neither
            can be had, the last ones whose loss was finite.
    """

    parameters: PyTree

    @property
    def info(self) -> TrainingInfo:
        """All but the parameters."""
        return TrainingInfo(self.history, self.steps, self.best_step, self.status_code)


def make_result(parameters, history, steps: int, best_step: int, status: str) -> Result:
    """Assemble a result from the host's records."""
    training, validation = (jnp.asarray(losses) for losses in history)
    code = STATUS.index(status)
    counts = (jnp.asarray(np.int32(count)) for count in (steps, best_step, code))
    return Result(History(training, validation), *counts, parameters=parameters)
