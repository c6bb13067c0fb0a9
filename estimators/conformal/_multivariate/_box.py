"""Boxes about predictions of several columns."""

from typing import Literal

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Real

from estimators._core import Fitted, Spec, checks
from estimators.conformal._guarantee import EXCHANGEABLE, Guarantee, rank_guarantee
from estimators.conformal._multivariate._box_thresholds import METHODS, of_each_column
from estimators.conformal._multivariate._rows import as_calibration_rows, as_new_rows, set_aside
from estimators.conformal._quantile import conformal_rank, why_infinite
from estimators.conformal._regression._ends import as_scale


class CalibratedBox(Fitted):
    """Boxes; see `ConformalBox`.

    Attributes:
        thresholds: `(k,)`, half of each side, in units of the scale.
        scale: `(k,)`; None where each row has its own.
        coverage: coverage asked for.
        method: as in the specification.
        calibration: number of calibration rows.
    """

    thresholds: Float[Array, " k"]
    scale: Float[Array, " k"] | None
    coverage: float = eqx.field(static=True)
    method: Literal["scaled", "bonferroni", "copula"] = eqx.field(static=True)
    calibration: int = eqx.field(static=True)

    @property
    def reason(self) -> str | None:
        """Why boxes are infinite, or None where they are not."""
        few = why_infinite(self.calibration, self._each)
        if few is None and bool(jnp.isinf(self.thresholds).any()):
            return (
                f"coverage {self.coverage:g} of a box leaves out too few of the "
                f"{self.calibration} calibration rows: one of those that it must hold has the "
                "largest error of a column"
            )
        return few

    @property
    def guarantee(self) -> Guarantee:
        """What holds, in numbers and in words."""
        n, k = self.calibration, self.thresholds.shape[0]
        one = rank_guarantee(self.coverage, conformal_rank(n, self._each), n)
        if self.method == "scaled":
            return one
        assert one.at_least is not None
        sides = k if self.method == "bonferroni" else 1
        least = 1 - sides * (1 - one.at_least)
        return Guarantee(self.coverage, least, None, "at least", one.over, EXCHANGEABLE)

    @property
    def _each(self):
        columns = self.thresholds.shape[0] if self.method == "bonferroni" else 1
        return of_each_column(self.coverage, columns)

    def bounds(
        self,
        predictions: Real[ArrayLike, "*batch k"],
        scale: Real[ArrayLike, "*batch k"] | None = None,
    ) -> tuple[Float[Array, "*batch k"], Float[Array, "*batch k"]]:
        """Lower and upper ends of each column, each `(*batch, k)`.

        Args:
            predictions: `(*batch, k)`, of the model, for new rows.
            scale: `(*batch, k)`, where calibration had a scale for each row.

        Raises:
            ValueError: for a wrong shape, values that are not finite, a scale that is missing,
                not used, or not positive.
        """
        columns = self.thresholds.shape[0]
        predictions = checks.as_queries("predictions", predictions, columns)
        half = self._half_sides(scale, predictions.shape)
        return predictions - half, predictions + half

    def contains(
        self,
        predictions: Real[ArrayLike, "*batch k"],
        y: Real[ArrayLike, "*batch k"],
        scale: Real[ArrayLike, "*batch k"] | None = None,
    ) -> Bool[Array, "*batch"]:
        """Whether outcomes are in their boxes; see `bounds`."""
        predictions, y = as_new_rows(predictions, y, self.thresholds.shape[0])
        return (jnp.abs(y - predictions) <= self._half_sides(scale, y.shape)).all(-1)

    def volume(
        self,
        predictions: Real[ArrayLike, "*batch k"],
        scale: Real[ArrayLike, "*batch k"] | None = None,
    ) -> Float[Array, "*batch"]:
        """The volume of each box, in the product of the units of the columns of y."""
        lower, upper = self.bounds(predictions, scale)
        return jnp.prod(upper - lower, -1)

    def _half_sides(self, scale, shape: tuple[int, ...]) -> Float[Array, "*batch k"]:
        if self.scale is not None:
            if scale is not None:
                raise ValueError("scale is not used: calibration had none for each row")
            return jnp.broadcast_to(self.thresholds * self.scale, shape)
        if scale is None:
            raise ValueError("scale is missing: calibration had one for each row")
        return jnp.broadcast_to(self.thresholds, shape) * as_scale("scale", scale, shape)


class ConformalBox(Spec):
    """Conformal boxes (hyper-rectangles) about predictions of several columns.

    Column j of the box is `f_j(x) - t_j s_j` to `f_j(x) + t_j s_j`. The thresholds t come from
    the absolute errors over the scales s, `u_ij`, of n calibration rows:

    - "scaled": one t for all columns, the conformal quantile of `max_j u_ij`. Exact.
    - "bonferroni": t_j is the conformal quantile of column j at `1 - (1 - coverage) / k`.
      The k columns together miss no more than `1 - coverage`.
    - "copula": t_j is the order statistic of rank q + 1 in column j, the same rank in each; q is
      the least rank for which `ceil((n + 1) coverage)` calibration rows have every `u_ij` at or
      below the q-th of its column. Without the one rank more, this is the empirical copula
      method of Messoudi, Destercke & Rousseau, which has no guarantee at finite n.

    Args:
        coverage: probability that the box must cover as a whole, in (0, 1).
        method: see above.

    Guarantee: for exchangeable rows, and predictions and scales of a model that saw none of
    them, at least `coverage` with every method. For "copula" it is this library's: rank the
    new row among all n + 1; the largest of a row's ranks is then an exchangeable score, and
    full conformal prediction with it covers. Leaving the new row out lowers each rank by one
    at most, and so the box one rank higher holds the full conformal set.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> y = jnp.arange(40.0)[:, None] * jnp.array([[1.0, 10.0]])
        >>> for method in ("scaled", "bonferroni", "copula"):
        ...     spec = conformal.ConformalBox(coverage=0.9, method=method)
        ...     calibrated = spec.calibrate(0 * y, y, jnp.ones(2))
        ...     print(method, calibrated.thresholds, calibrated.volume(jnp.zeros(2)))
        scaled [360. 360.] 518400.0
        bonferroni [ 38. 380.] 57760.0
        copula [ 37. 370.] 54760.0

    Reference: Messoudi, Destercke & Rousseau 2021, Copula-based conformal prediction for
    multi-target regression.

    When it fails: where columns are strongly correlated given x, most of the box is empty (see
    `ConformalEllipsoid`). "bonferroni" needs k times the rows, and is wide where columns err
    together; "scaled" is wide in columns whose scale is too large. With "copula" boxes are
    infinite at a coverage near 1 where each column has its largest error in a row of its own.
    """

    coverage: float = eqx.field(static=True, default=0.9)
    method: Literal["scaled", "bonferroni", "copula"] = eqx.field(
        static=True, default="scaled", kw_only=True
    )

    def __check_init__(self):
        checks.probability("coverage", self.coverage)
        checks.one_of("method", self.method, tuple(METHODS))

    def calibrate(
        self,
        predictions: Real[ArrayLike, "n k"],
        y: Real[ArrayLike, "n k"],
        scale: Real[ArrayLike, " k"] | Real[ArrayLike, "n k"] | None = None,
    ) -> CalibratedBox:
        """Choose the sides on rows that the model has not seen.

        Args:
            predictions: `(n, k)`, the model's predictions.
            y: `(n, k)`, what was observed.
            scale: positive: `(k,)`, the size of each column's errors on rows that are none of
                these; or `(n, k)`, a guess of it at each row. None takes, for "scaled", the
                standard deviations of the errors of the first n // 2 rows, and calibrates on
                the others; the other two methods need none.

        Raises:
            ValueError: for shapes that do not belong together, values that are not finite, a
                scale that is not positive, or fewer than 4 rows where it must be estimated.
        """
        predictions, y = as_calibration_rows(predictions, y)
        columns = y.shape[1]
        if scale is None and self.method == "scaled":
            errors, predictions, y = set_aside(predictions, y, "scale", 2)
            scale = jnp.std(errors, 0)
        elif scale is None:
            scale = jnp.ones(columns, y.dtype)
        shared = jnp.ndim(scale) == 1
        scale = as_scale("scale", scale, (columns,) if shared else y.shape).astype(y.dtype)
        thresholds = METHODS[self.method](
            jnp.abs(y - predictions) / jnp.broadcast_to(scale, y.shape), self.coverage
        )
        thresholds = checks.poison(thresholds, ~jnp.isnan(thresholds).any())
        stored = scale if shared else None
        return CalibratedBox(thresholds, stored, self.coverage, self.method, y.shape[0])
