"""Thresholds that are certified, and what every class of functions offers to find them."""

import abc
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from estimators._core import Fitted
from estimators.conformal._conditional._walk import BLOCKED, MOVING

CERTIFIED, INFINITE, NOT_CERTIFIED = range(3)


class Solution(NamedTuple):
    """Thresholds, and the proof of each.

    Attributes:
        thresholds: `(*batch,)`, in the unit of the scores; NaN where not certified.
        errors: `(*batch,)`, the largest violation of the conditions for an optimum: of a dual
            variable's range, or of a residual's sign relative to the mean absolute residual. 0
            where there is none.
        status_code: `(*batch,)`, 0 certified; 1 certified and infinite, because calibration rows
            cannot balance the new one; 2 not certified.
    """

    thresholds: Float[Array, "*batch"]
    errors: Float[Array, "*batch"]
    status_code: Int[Array, "*batch"]


class FunctionClass(Fitted):
    """What calibration keeps, for one class of functions."""

    @property
    @abc.abstractmethod
    def features(self) -> Float[Array, "n d"]:
        """Those of the calibration rows."""

    @abc.abstractmethod
    def located(self, points, batch: tuple[int, ...]) -> Float[Array, "m p"] | None:
        """Check where new rows lie, and flatten the batch; None for a class without a kernel."""

    @abc.abstractmethod
    def solve(self, features, points, cutoffs, coverage) -> Solution:
        """Thresholds of rows `(m, d)`, each where its own dual variable is at its cutoff."""


def judged(threshold, status, direction, error, slack: float) -> Solution:
    """A threshold with its proof."""
    allowed = 4 * (jnp.finfo(threshold.dtype).eps ** 0.5 + slack)
    certified = (status != MOVING) & (error <= allowed)
    threshold = jnp.where(status == BLOCKED, direction * jnp.inf, threshold)
    code = jnp.where(status == BLOCKED, INFINITE, CERTIFIED)
    return Solution(
        jnp.where(certified, threshold, jnp.nan),
        error,
        jnp.where(certified, code, NOT_CERTIFIED).astype(jnp.int32),
    )
