"""The record of an automatic choice: what was tried, how it did, what was taken."""

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float, Int

from estimators._core import Stored


class Selection(Stored):
    """What `KDE("auto")` tried and how it did on rows held out; print it.

    Attributes:
        forms: a description of each form.
        held_out: `(forms,)`, mean held-out log-likelihood a row of each, nats; -inf where a
            form could not be fitted.
        gain: `(forms,)`, by how much that exceeds the first form that could be fitted: the
            plain estimate with a leave-one-out bandwidth.
        standard_error: `(forms,)`, of the gain, from paired differences.
        chosen: index of the form that was taken.
        rows: how many rows were held out in all.
    """

    forms: tuple[str, ...] = eqx.field(static=True)
    held_out: Float[Array, " forms"]
    gain: Float[Array, " forms"]
    standard_error: Float[Array, " forms"]
    chosen: Int[Array, ""]
    rows: Int[Array, ""]

    def __str__(self):
        lines = [f"nats a row over the plain estimate, on {int(self.rows)} rows held out:"]
        for index in np.argsort(-np.asarray(self.held_out), stable=True):
            mark = "*" if index == int(self.chosen) else " "
            gain, error = float(self.gain[index]), float(self.standard_error[index])
            lines.append(f"{mark} {gain:+8.3f} ± {error:.3f}  {self.forms[index]}")
        return "\n".join(lines)
