"""A lower bound for a censored time with a cutoff of its own for each row."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Real

from estimators._core import Fitted, Spec, checks, effective_sample_size
from estimators.conformal._guarantee import Guarantee
from estimators.conformal._predictive._centres import as_quantiles
from estimators.conformal._quantile import as_fraction, calibration_size
from estimators.conformal._survival._inputs import as_censored, as_probabilities
from estimators.conformal._weighted import largest_weight


class CalibratedAdaptiveSurvivalLowerBound(Fitted):
    """Lower bounds for survival times; see `AdaptiveSurvivalLowerBound`.

    Attributes:
        levels: `(L,)`, of the predicted quantiles.
        miss_rates: `(L,)`, the estimated share of times below the quantile of each level; +inf
            where no row is seen for as long.
        effective: `(L,)`, how many rows of equal weight each estimate is worth.
        passed: number of levels up to the chosen one; 0 where none is.
        coverage: coverage asked for.
    """

    levels: Float[Array, " L"]
    miss_rates: Float[Array, " L"]
    effective: Float[Array, " L"]
    passed: Int[Array, ""]
    coverage: float = eqx.field(static=True)

    @property
    def level(self) -> Float[Array, ""]:
        """The level whose predicted quantile is the bound; 0 where the bound is 0."""
        return self._chosen(self.levels)

    def lower_bound(self, quantiles: Real[ArrayLike, "*batch L"]) -> Float[Array, "*batch"]:
        """The time that each new row survives with the coverage, `(*batch,)`.

        Args:
            quantiles: `(*batch, L)`, predicted at the levels of calibration.

        Raises:
            ValueError: for a wrong shape, or values that are not finite outside `jax.jit`.
        """
        rows = as_quantiles(quantiles, self.levels.shape[0])
        return jnp.maximum(self._chosen(rows.astype(self.levels.dtype)), 0)

    @property
    def reason(self) -> str | None:
        """Why bounds are 0, or rest on few rows; None where neither is so."""
        if int(np.min(self.passed)) == 0:
            return (
                f"bounds are 0: even the quantile of the lowest level {float(self.levels.min()):g} "
                f"is missed by a share {float(self.miss_rates[..., 0].max()):.3g} of rows, more "
                f"than {1 - self.coverage:.3g}"
            )
        worth, needed = float(np.min(self._chosen(self.effective))), calibration_size(self.coverage)
        if worth >= needed:
            return None
        return (
            f"weights explode: at the chosen level rows are worth {worth:.1f} of equal weight, "
            f"and coverage {self.coverage:g} needs at least {needed}"
        )

    @property
    def guarantee(self) -> Guarantee:
        """What the bounds promise."""
        return Guarantee(
            self.coverage,
            None,
            None,
            "asymptotic",
            "new rows, for most calibration sets",
            "rows that are independent, censoring that is independent of the event's time given "
            "the features, predictions of a model that has seen none of the rows, and either "
            "P(C >= t | x) or the predicted quantiles right in the limit",
        )

    def _chosen(self, values: Float[Array, "*batch L"]) -> Float[Array, "*batch"]:
        found = jnp.take(values, jnp.maximum(self.passed - 1, 0), axis=-1)
        found = jnp.where(self.passed > 0, found, 0)
        return jnp.where(jnp.isnan(self.miss_rates[0]), jnp.nan, found)


class AdaptiveSurvivalLowerBound(Spec):
    """A lower bound for the time of an event, read off predicted quantiles at one level.

    Let q_a(x) be the predicted quantile at level a, T the time of the event and C that of the
    censoring. Where C >= q_a(x) it is seen whether T < q_a(x), so the share of misses is

        rate(a) = sum_i w_i 1{T_i < q_a(x_i) <= C_i} / sum_i w_i 1{q_a(x_i) <= C_i},
        w_i = 1 / P(C >= q_a(x_i) | x_i),

    and the bound is the quantile of the largest level up to which all levels have a rate of at
    most `1 - coverage`. Each row has its own cutoff, the bound itself: rows with short times need
    not be seen for long, and none has its bound cut off.

    Args:
        coverage: probability that T must lie at or above the bound, in (0, 1).

    Raises:
        ValueError: for a coverage outside (0, 1).

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> event, censoring = jnp.arange(1.0, 21.0), jnp.array([12.0, 25.0] * 10)
        >>> levels = jnp.array([0.1, 0.2, 0.5])
        >>> quantiles = jnp.broadcast_to(jnp.array([2.0, 5.0, 11.0]), (20, 3))
        >>> spec = conformal.AdaptiveSurvivalLowerBound(coverage=0.8)
        >>> calibrated = spec.calibrate(
        ...     quantiles, levels, jnp.minimum(event, censoring), censoring
        ... )
        >>> print(calibrated.level, calibrated.miss_rates, calibrated.lower_bound(quantiles[:1]))
        0.2 [0.05 0.2  0.5 ] [5.]

    Reference: Gui, Hore, Ren & Barber 2024, Conformalized survival analysis with adaptive
    cut-offs, Biometrika 111(2).

    When it fails: the rate is an estimate without a correction for its error: the coverage of one
    calibration set strays about the one asked by the standard error of a share, more where
    weights are unequal. It needs C for rows whose event came first: where that is hidden, see
    `impute_censoring_times`. A grid of few levels costs up to one of its steps.
    """

    coverage: float = eqx.field(static=True, default=0.9)

    def __check_init__(self):
        checks.probability("coverage", self.coverage)

    def calibrate(
        self,
        quantiles: Real[ArrayLike, "n L"],
        levels: Sequence[float] | Real[ArrayLike, " L"],
        times: Real[ArrayLike, " n"],
        censoring_times: Real[ArrayLike, " n"],
        *,
        probabilities: Real[ArrayLike, "n L"] | None = None,
    ) -> CalibratedAdaptiveSurvivalLowerBound:
        """Choose the level on rows that the model has not seen.

        Args:
            quantiles: `(n, L)`, predicted at each of the levels; sorted where they cross.
            levels: `(L,)`, at least two, strictly increasing inside (0, 1).
            times: `(n,)`, min(T, C), not negative.
            censoring_times: `(n,)`, C, at or above `times`; +inf for a row never censored.
            probabilities: `(n, L)`, in (0, 1], P(C >= quantile | x) at each of the quantiles.
                None takes the share of these rows with C at the quantile or above, for a
                censoring that does not depend on x.

        Raises:
            ValueError: for shapes that do not belong together, times that are negative,
                censoring times below them, or probabilities outside (0, 1]. Inside jit these
                give NaN.
        """
        times, censoring = as_censored(times, censoring_times)
        known = checks.as_levels("levels", levels)
        rows = as_quantiles(quantiles, known.shape[0])
        if rows.shape != (*times.shape, *known.shape):
            raise ValueError(
                f"quantiles must have shape {(*times.shape, *known.shape)}, a row for each time; "
                f"got {rows.shape}"
            )
        dtype = jnp.result_type(rows, times)
        times, censoring = times.astype(dtype), censoring.astype(dtype)
        rows, known = rows.astype(dtype), known.astype(dtype)
        if probabilities is None:
            chances = _share_at_or_above(censoring, rows)
        else:
            chances = as_probabilities(probabilities, rows.shape).astype(dtype)
        allowed = float(1 - as_fraction(self.coverage))
        rates, worth, passed = _rates(rows, times, censoring, chances, jnp.asarray(allowed, dtype))
        return CalibratedAdaptiveSurvivalLowerBound(known, rates, worth, passed, self.coverage)


@jax.jit
def _share_at_or_above(censoring, values):
    n = censoring.shape[0]
    return (n - jnp.searchsorted(jnp.sort(censoring), values)).astype(values.dtype) / n


@jax.jit
def _rates(quantiles, times, censoring, chances, allowed):
    invalid = jnp.isnan(times).any() | jnp.isnan(quantiles).any() | jnp.isnan(chances).any()
    seen = quantiles <= censoring[:, None]
    weights = jnp.where(seen, 1 / chances, 0)
    weights = weights / jax.vmap(largest_weight, 1)(weights)[None]
    total = jnp.sum(weights, 0)
    missed = jnp.sum(jnp.where(times[:, None] < quantiles, weights, 0), 0)
    rates = jnp.where(total > 0, missed / jnp.where(total > 0, total, 1), jnp.inf)
    # A rate that is reached exactly may be missed by the rounding of the sums.
    passes = rates <= allowed + 16 * jnp.finfo(rates.dtype).eps
    passed = jnp.sum(jnp.cumprod(passes), dtype=jnp.int32)
    worth = jnp.where(total > 0, jax.vmap(effective_sample_size, 1)(weights), 0)
    rates, worth = checks.poison((rates, worth), ~invalid)
    return rates, worth, passed
