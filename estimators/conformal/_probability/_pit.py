"""Predictive distributions that are recalibrated by where outcomes fell in them."""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key, Real

from estimators._core import Fitted, Spec, checks
from estimators.conformal._guarantee import Guarantee
from estimators.conformal._predictive import CalibratedPredictiveSystem, ConformalPredictiveSystem


class CalibratedPit(Fitted):
    """A map of levels; see `QuantileRecalibration`.

    Attributes:
        system: the predictive system of the values, sorted in `system.residuals`.
    """

    system: CalibratedPredictiveSystem

    @property
    def reason(self) -> str | None:
        """Why an end of the interval is at level 0 or 1, or None where neither is."""
        return self.system.reason

    @property
    def guarantee(self) -> Guarantee:
        """What `interval` promises at the coverage of the spec."""
        return self.system.guarantee

    def levels(
        self, levels: Sequence[float] | Real[ArrayLike, " levels"]
    ) -> Float[Array, " levels"]:
        """Where to read the model's quantile function for each wanted level.

        0 and 1 stand for -inf and +inf: there were too few rows for that level.

        Raises:
            ValueError: for levels that are traced, outside (0, 1) or do not increase.
        """
        return jnp.clip(self.system.quantiles(0.0, levels), 0, 1)

    def interval(self, *, coverage: float | None = None) -> tuple[Float[Array, ""], ...]:
        """The lower and the upper level between which an outcome falls with `coverage`."""
        lower, upper = self.system.interval(0.0, coverage=coverage)
        return jnp.clip(lower, 0, 1), jnp.clip(upper, 0, 1)

    def distribution(
        self, pit: Real[ArrayLike, "*batch"], *, key: Key[Array, ""] | None = None
    ) -> Float[Array, "*batch"]:
        """The recalibrated distribution function, from the model's own value of it.

        `(#{Z_i < z} + u (#{Z_i = z} + 1)) / (n + 1)`, with u uniform where a key is given and 1
        where not. At an outcome, with a key, it is exactly uniform.

        Raises:
            ValueError: for values outside [0, 1]; inside jit these give NaN.
        """
        return self.system.distribution(
            0.0 * checks.as_unit("pit", pit), checks.as_unit("pit", pit), key=key
        )


class QuantileRecalibration(Spec):
    """Predictive distributions of any model, recalibrated on the levels of past outcomes.

    With F(y|x) the model's distribution function, `Z_i = F(y_i|x_i)` says at which level each
    outcome fell (the probability integral transform). For a wanted level t the model's quantile
    is read at the `ceil((n + 1) t)`-th smallest Z instead of at t; below 1/2 at the one of rank
    `floor((n + 1) t)`. It is the conformal predictive system of the Z, and the conformal
    quantile of Z as a score where t is at least 1/2.

    Args:
        coverage: of `interval`, in (0, 1).

    Guarantee: for exchangeable rows, a new outcome lies at or below the model's quantile at
    `levels([t])` with at least probability t from 1/2 on, and at most t below; distinct Z miss t
    by at most `1 / (n + 1)`.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> pit = jnp.arange(1, 20) / 64
        >>> calibrated = conformal.QuantileRecalibration(coverage=0.8).calibrate(pit)
        >>> print(calibrated.levels([0.1, 0.5, 0.9]))
        [0.03125 0.15625 0.28125]

    Reference: Kuleshov, Fenner & Ermon 2018, Accurate uncertainties for deep learning using
    calibrated regression, algorithm 1, with an empirical distribution in place of a regression;
    as conformal prediction Dheur & Ben Taieb 2023, A large-scale study of probabilistic
    calibration in neural network regression.

    When it fails: calibrated on average over rows is not calibrated for each: a wrong shape is
    repaired where it is equally wrong everywhere. Quantiles are the model's, and beyond its own
    most extreme levels there are none.
    """

    coverage: float = eqx.field(static=True, default=0.9)

    def __check_init__(self):
        checks.probability("coverage", self.coverage)

    def calibrate(self, pit: Real[ArrayLike, " n"]) -> CalibratedPit:
        """Sort the levels at which outcomes fell.

        Args:
            pit: `(n,)`, F(y|x) of rows that the model has not seen, in [0, 1].

        Raises:
            ValueError: for values outside [0, 1]; inside jit these give NaN.
        """
        values = checks.as_unit("pit", checks.as_vector("pit", pit))
        system = ConformalPredictiveSystem(self.coverage).calibrate(jnp.zeros_like(values), values)
        return CalibratedPit(system)
