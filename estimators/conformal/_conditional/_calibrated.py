"""Thresholds of new rows, once the calibration rows are known."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Key, Real

from estimators._core import Fitted, checks
from estimators.conformal._conditional._kernel import KernelClass
from estimators.conformal._conditional._solution import FunctionClass, Solution
from estimators.conformal._conditional._units import Units
from estimators.conformal._guarantee import EXCHANGEABLE, Guarantee
from estimators.conformal._quantile import as_fraction, why_infinite


class CalibratedConditional(Fitted):
    """Thresholds for new rows; see `ConditionalConformal`.

    Attributes:
        functions: the calibration rows, and the regression on them.
        units: those in which the rows and the regression are.
        coverage: coverage asked for.
        randomised: whether each threshold is drawn.
    """

    functions: FunctionClass
    units: Units
    coverage: float = eqx.field(static=True)
    randomised: bool = eqx.field(static=True)

    def thresholds(
        self,
        features: Real[ArrayLike, "*batch d"],
        points: Real[ArrayLike, "*batch p"] | None = None,
        *,
        key: Key[Array, ""] | None = None,
    ) -> Float[Array, "*batch"]:
        """The largest score that each new row may have; `solve` has the proof besides.

        Args:
            features: `(*batch, d)`, those of the new rows.
            points: `(*batch, p)`, where each lies, with a kernel alone.
            key: draws, where `randomised`.

        Returns:
            In the unit of the scores. +inf where the calibration rows cannot balance the new
            one; -inf, the empty set, can be drawn. NaN where it could not be certified.

        Raises:
            ValueError: for a wrong shape, values that are not finite outside `jax.jit` (inside
                it they give NaN), points or a key that are missing, or given and not used.
        """
        return self.solve(features, points, key=key).thresholds

    def contains(
        self,
        scores: Real[ArrayLike, "*batch"],
        features: Real[ArrayLike, "*batch d"],
        points: Real[ArrayLike, "*batch p"] | None = None,
        *,
        key: Key[Array, ""] | None = None,
    ) -> Bool[Array, "*batch"]:
        """Whether a score lies in the set of its row: not above the threshold.

        The set of a row whose threshold could not be certified is everything.

        Args:
            scores: `(*batch,)`, of candidate outcomes of the new rows.
            features: as for `thresholds`.
            points: as there.
            key: as there.

        Raises:
            ValueError: as there, and for scores of another shape.
        """
        scores = checks.as_float("scores", scores)
        thresholds = self.thresholds(features, points, key=key)
        if scores.shape != thresholds.shape:
            raise ValueError(
                f"scores must have shape {thresholds.shape}, one a row; got shape {scores.shape}"
            )
        return (scores <= thresholds) | jnp.isnan(thresholds)

    def solve(
        self,
        features: Real[ArrayLike, "*batch d"],
        points: Real[ArrayLike, "*batch p"] | None = None,
        *,
        key: Key[Array, ""] | None = None,
    ) -> Solution:
        """Thresholds with the proof of each; arguments as for `thresholds`."""
        features = checks.as_queries("features", features, self.functions.features.shape[1])
        if self.randomised != (key is not None):
            raise ValueError("key must be given with randomised=True, and only then")
        batch, dtype = features.shape[:-1], self.functions.features.dtype
        rows = self.units(features.astype(dtype).reshape(-1, features.shape[-1]))
        cutoffs = jnp.full(rows.shape[0], self.coverage, dtype)
        if self.randomised:
            # Drawn in 32 bits, so that a key draws the same in either precision.
            drawn = jax.random.uniform(checks.as_key(key), cutoffs.shape, jnp.float32)
            cutoffs = cutoffs - drawn.astype(dtype)
        where = self.functions.located(points, batch)
        found = self.functions.solve(rows, where, cutoffs, jnp.asarray(self.coverage, dtype))
        return Solution(*(array.reshape(batch) for array in found))

    def coverage_shift(self, points: Real[ArrayLike, "*batch p"]) -> Float[Array, "*batch"]:
        """How far coverage about each point is from what was asked: an estimate.

        With new rows reweighted by the kernel k about a point x, a set of the regression g with
        smooth part f covers with probability

            coverage - 2 penalty f(x) / E[k(X, x)],

        if `randomised`, and more without (Gibbs, Cherian & Candes, section 3.2). Here f is that
        of the calibration rows alone, and the expectation their mean: an error of order 1/n.

        Args:
            points: `(*batch, p)`, in the units of the calibration points.

        Returns:
            Positive where more is covered than asked, negative where less.

        Raises:
            ValueError: for a class without a kernel, or a wrong shape.
        """
        functions = self.functions
        if not isinstance(functions, KernelClass):
            raise ValueError("coverage_shift is for a class with a kernel; this one has none")
        batch = jnp.shape(points)[:-1]
        return functions.shift(functions.located(points, batch)).reshape(batch)

    @property
    def reason(self) -> str:
        """Why sets are infinite, or which of them are."""
        rows, _ = self.functions.features.shape
        too_few = why_infinite(rows, as_fraction(self.coverage)) if self._has_constant else None
        return too_few or (
            "a row gets the infinite set where the calibration rows cannot balance its features: "
            "too few have any like them"
        )

    @property
    def guarantee(self) -> Guarantee:
        """What the sets promise."""
        marginal = "the constant is" if self._has_constant else "the constant, and so this, is not"
        return Guarantee(
            self.coverage,
            self.coverage,
            self.coverage if self.randomised else None,
            "exact" if self.randomised else "at least",
            "calibration and new rows, the new ones reweighted by any function of the features' "
            f"span that is not negative ({marginal} in the span: coverage without weights)",
            EXCHANGEABLE,
        )

    @property
    def _has_constant(self) -> bool:
        features = np.asarray(self.functions.features)
        ones = np.ones(len(features), features.dtype)
        fitted = features @ np.linalg.lstsq(features, ones)[0]
        return bool(np.abs(fitted - 1).max() < np.finfo(features.dtype).eps ** 0.5)
