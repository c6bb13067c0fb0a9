"""Ellipsoids about predictions of several columns."""

import math

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Real

from estimators._core import Spec, checks
from estimators.conformal._multivariate._covariance import (
    as_factor,
    error_covariance,
    mahalanobis,
)
from estimators.conformal._multivariate._rows import as_calibration_rows, as_new_rows, set_aside
from estimators.conformal._predictive._promise import CalibratedThreshold
from estimators.conformal._quantile import conformal_quantile


class CalibratedEllipsoid(CalibratedThreshold):
    """Ellipsoids of one size in units of the covariance; see `ConformalEllipsoid`.

    Attributes:
        factor: lower Cholesky factor of the covariance; None where each row has its own.
        columns: of the outcome.
    """

    factor: Float[Array, "k k"] | None
    columns: int = eqx.field(static=True)

    def contains(
        self,
        predictions: Real[ArrayLike, "*batch k"],
        y: Real[ArrayLike, "*batch k"],
        covariance: Real[ArrayLike, "*batch k k"] | None = None,
    ) -> Bool[Array, "*batch"]:
        """Whether outcomes are in their ellipsoids.

        Args:
            predictions: `(*batch, k)`, of the model, for new rows.
            y: `(*batch, k)`.
            covariance: `(*batch, k, k)`, where calibration had one for each row.

        Raises:
            ValueError: for shapes that do not belong together, values that are not finite, a
                covariance that is missing, not used, or not positive definite. Inside jit
                such a row is in no ellipsoid.
        """
        predictions, y = as_new_rows(predictions, y, self.columns)
        factor = self._factor(covariance, predictions.shape[:-1], predictions.dtype)
        errors = (y - predictions).reshape(-1, self.columns)
        flat = factor.reshape(-1, self.columns, self.columns) if factor.ndim > 2 else factor
        return (mahalanobis(errors, flat) <= self.threshold).reshape(y.shape[:-1])

    def volume(
        self,
        predictions: Real[ArrayLike, "*batch k"],
        covariance: Real[ArrayLike, "*batch k k"] | None = None,
    ) -> Float[Array, "*batch"]:
        """The volume of each ellipsoid, in the product of the units of the columns of y."""
        predictions = checks.as_queries("predictions", predictions, self.columns)
        factor = self._factor(covariance, predictions.shape[:-1], predictions.dtype)
        k = self.columns
        unit_ball = math.pi ** (k / 2) / math.gamma(k / 2 + 1)
        spread = jnp.prod(self.threshold * jnp.diagonal(factor, axis1=-2, axis2=-1), -1)
        whole = jnp.broadcast_to(unit_ball * spread, predictions.shape[:-1])
        return jnp.where(jnp.isfinite(predictions).all(-1), whole, jnp.nan)

    def _factor(self, covariance, batch, dtype) -> Float[Array, "..."]:
        if self.factor is not None:
            if covariance is not None:
                raise ValueError("covariance is not used: calibration had one for all rows")
            return self.factor
        if covariance is None:
            raise ValueError("covariance is missing: calibration had one for each row")
        return as_factor(covariance, batch, self.columns, dtype)


class ConformalEllipsoid(Spec):
    """Conformal ellipsoids about predictions of several columns.

    The score is the Mahalanobis norm of the error, and the set is all outcomes of a score that
    is no larger than its conformal quantile t:

        {y : (y - f(x))^T C^-1 (y - f(x)) <= t^2},    volume V_k t^k det(C)^(1/2)

    with V_k the volume of the unit ball. C is the covariance of errors on other rows, or, one
    for each row, what a model says of the error's shape there; then ellipsoids differ in shape
    and in size.

    Args:
        coverage: probability that the set must cover, in (0, 1).

    Guarantee: for exchangeable rows, and predictions and covariances of a model that saw none
    of them, a new y is covered with probability at least `coverage`. Whether errors are normal,
    or C is right, changes the volume alone.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> y = jnp.array([[3.0, 4.0]]) * jnp.arange(-10, 10)[:, None]
        >>> spec = conformal.ConformalEllipsoid(coverage=0.9)
        >>> calibrated = spec.calibrate(0 * y, y, jnp.eye(2))
        >>> print(calibrated.threshold, calibrated.contains(jnp.zeros(2), jnp.array([44.0, 5.0])))
        45.0 True
        >>> print(calibrated.volume(jnp.zeros(2)).round())
        6362.0

    Reference: Johnstone & Cox 2021, Conformal uncertainty sets for robust optimization
    (Mahalanobis norm); Messoudi, Destercke & Rousseau 2022, Ellipsoidal conformal inference
    for multi-target regression (a covariance of each row).

    When it fails: where the law of y given x is curved or has several modes, most of the
    ellipsoid is empty (see `DirectionalQuantiles`). Residuals of training rows are too small
    and of another shape: take the covariance from rows held out.
    """

    coverage: float = eqx.field(static=True, default=0.9)

    def __check_init__(self):
        checks.probability("coverage", self.coverage)

    def calibrate(
        self,
        predictions: Real[ArrayLike, "n k"],
        y: Real[ArrayLike, "n k"],
        covariance: Real[ArrayLike, "k k"] | Real[ArrayLike, "n k k"] | None = None,
    ) -> CalibratedEllipsoid:
        """Choose the size on rows that the model has not seen.

        Args:
            predictions: `(n, k)`, the model's predictions.
            y: `(n, k)`, what was observed.
            covariance: `(k, k)`, of errors on rows that are none of these; or `(n, k, k)`, one
                for each row. None takes it from the first n // 2 rows and calibrates on the
                others.

        Raises:
            ValueError: for shapes that do not belong together, values that are not finite, a
                covariance that is not symmetric and positive definite, or fewer than 2 k + 2
                rows without one. Inside jit such a covariance makes the threshold NaN.
        """
        predictions, y = as_calibration_rows(predictions, y)
        columns = y.shape[1]
        if covariance is None:
            errors, predictions, y = set_aside(predictions, y, "covariance", columns + 1)
            covariance = error_covariance(errors)
        n = y.shape[0]
        factor = as_factor(covariance, (n,), columns, y.dtype)
        threshold = conformal_quantile(mahalanobis(y - predictions, factor), self.coverage)
        shared = factor if factor.ndim == 2 else None
        return CalibratedEllipsoid(threshold, self.coverage, n, shared, columns)
