"""The host's account of a run: losses, the best so far, and when to stop."""

import math

import numpy as np


class Record:
    """Losses so far and what follows from them. Changed in place, between chunks.

    Attributes:
        training: `(steps,)`, NaN where there is none yet.
        validation: `(ceil(steps / chunk),)`, likewise.
        step: updates made.
        best_step: the step of the least validation loss; 0 before there is one.
        best_loss: that loss.
        finite: whether the last step was.
    """

    def __init__(self, steps: int, chunk: int, dtype):
        self.chunk = chunk
        self.training = np.full(steps, np.nan, dtype)
        self.validation = np.full(math.ceil(steps / chunk), np.nan, dtype)
        self.step = 0
        self.best_step = 0
        self.best_loss = math.inf
        self.finite = True

    def stop(self) -> int:
        """Where the running chunk ends: at a multiple of `chunk`, wherever it began."""
        return min(len(self.training), (self.step // self.chunk + 1) * self.chunk)

    def add_losses(self, losses: np.ndarray, step: int, finite: bool) -> None:
        """Add a chunk of training losses, the last of which may not be finite."""
        made = step - self.step + (not finite)
        self.training[self.step : self.step + made] = losses[:made]
        self.step, self.finite = step, finite

    def add_validation(self, loss: float) -> bool:
        """Add a validation loss; whether it is the least so far. NaN never is."""
        self.validation[self._evaluations(self.step) - 1] = loss
        if not loss < self.best_loss:
            return False
        self.best_loss, self.best_step = loss, self.step
        return True

    def status(self, patience: int | None) -> str:
        """Why training ends here, or "running"."""
        if not self.finite:
            return "diverged"
        waited = self._evaluations(self.step) - self._evaluations(self.best_step)
        if patience is not None and waited >= patience:
            return "stopped early"
        return "finished" if self.step >= len(self.training) else "running"

    def last_validation(self) -> float:
        """The validation loss after the last chunk."""
        return float(self.validation[self._evaluations(self.step) - 1])

    def _evaluations(self, step: int) -> int:
        return math.ceil(step / self.chunk)
