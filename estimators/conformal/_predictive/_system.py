"""Conformal predictive systems: a whole predictive distribution from sorted residuals."""

from collections.abc import Sequence
from fractions import Fraction

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Key, Real

from estimators._core import Fitted, Spec, checks
from estimators.conformal._guarantee import Guarantee, rank_guarantee
from estimators.conformal._predictive._crps import ensemble_crps
from estimators.conformal._predictive._order import counted_p_values
from estimators.conformal._predictive._standardise import as_centre, standardised
from estimators.conformal._quantile import as_fraction, calibration_size, level_rank
from estimators.conformal._search import search


class CalibratedPredictiveSystem(Fitted):
    """Predictive distributions around predictions; see `ConformalPredictiveSystem`.

    `guarantee` and `reason` are those of `interval` at the coverage of the spec.

    Attributes:
        residuals: `(n,)`, sorted, in the unit of `y`, or of `scale` where one was given.
        coverage: coverage of `interval` where no other is asked for.
        scaled: whether new rows need a scale.
    """

    residuals: Float[Array, " n"]
    coverage: float = eqx.field(static=True)
    scaled: bool = eqx.field(static=True)

    @property
    def reason(self) -> str | None:
        """Why the intervals are infinite, or None where they are not."""
        n = self.residuals.shape[-1]
        low, high = _tail_levels(self.coverage)
        if level_rank(n, low) > 0 and level_rank(n, high) <= n:
            return None
        return (
            f"coverage {float(self.coverage):g} with equal tails needs at least "
            f"{calibration_size(high)} calibration rows; there were {n}"
        )

    @property
    def guarantee(self) -> Guarantee:
        """What `interval` promises at the coverage of the spec."""
        n = self.residuals.shape[-1]
        low, high = (level_rank(n, level) for level in _tail_levels(self.coverage))
        return rank_guarantee(self.coverage, high - low, n)

    def distribution(
        self,
        predictions: Real[ArrayLike, "*batch"],
        y: Real[ArrayLike, "*batch"],
        scale: Real[ArrayLike, "*batch"] | None = None,
        *,
        key: Key[Array, ""] | None = None,
    ) -> Float[Array, "*batch"]:
        """The predictive distribution function of each row at `y`, `(*batch,)`.

        `(#{i : R_i < r} + u (#{i : R_i = r} + 1)) / (n + 1)` at the residual r of y, with u
        uniform where a key is given and 1 where not. With a key, and y the outcome itself, it
        is exactly uniform; without one it is the upper edge of what u can give.
        """
        values = standardised(predictions, y, scale, self.scaled)
        return _distribution(self.residuals, values, None if key is None else checks.as_key(key))

    def quantiles(
        self,
        predictions: Real[ArrayLike, "*batch"],
        levels: Sequence[float] | Real[ArrayLike, " levels"],
        scale: Real[ArrayLike, "*batch"] | None = None,
    ) -> Float[Array, "*batch levels"]:
        """Quantiles of each predictive distribution, in the unit of y.

        The residual of rank ceil((n + 1) level) is added to the prediction for a level of 1/2
        and above, that of rank floor((n + 1) level) for a lower one: y lies at or below the
        first with at least the probability of the level, below the second with at most that.
        A rank of 0 gives -inf, one of n + 1 gives +inf.

        Raises:
            ValueError: for levels that are traced, outside (0, 1) or do not increase.
        """
        if not checks.is_concrete(levels):
            raise ValueError("levels must be known numbers, for exact ranks; they are traced")
        values = np.asarray(levels)  # in their own precision, which says what was written
        checks.as_levels("levels", values.tolist())
        return self._at([as_fraction(level) for level in values], predictions, scale)

    def interval(
        self,
        predictions: Real[ArrayLike, "*batch"],
        scale: Real[ArrayLike, "*batch"] | None = None,
        *,
        coverage: float | Fraction | None = None,
    ) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
        """Ends of the interval with equal tails; it covers as the quantiles at both ends do.

        Args:
            predictions: `(*batch,)`.
            scale: as in calibration.
            coverage: in (0, 1); None takes that of the spec.
        """
        coverage = checks.probability("coverage", self.coverage if coverage is None else coverage)
        ends = self._at(_tail_levels(coverage), predictions, scale)
        return ends[..., 0], ends[..., 1]

    def crps(
        self,
        predictions: Real[ArrayLike, "*batch"],
        y: Real[ArrayLike, "*batch"],
        scale: Real[ArrayLike, "*batch"] | None = None,
    ) -> Float[Array, "*batch"]:
        """Continuous ranked probability score of each row, in the unit of y; less is better.

        It is that of the law with mass 1/n at each of `predictions + scale * residuals`: the
        predictive distribution without its 1/(n + 1) beyond the outermost residuals. O(log n)
        a row after O(n) sums.
        """
        values = standardised(predictions, y, scale, self.scaled)
        _, unit = as_centre(predictions, scale, self.scaled)
        return unit * ensemble_crps(self.residuals, values)

    def sample(
        self,
        key: Key[Array, ""],
        predictions: Real[ArrayLike, "*batch"],
        scale: Real[ArrayLike, "*batch"] | None = None,
        *,
        draws: int,
    ) -> Float[Array, "*batch draws"]:
        """Independent draws from the law that `crps` scores, in the unit of y."""
        draws = checks.integer("draws", draws, at_least=1)
        centre, unit = as_centre(predictions, scale, self.scaled)
        chosen = (*centre.shape, draws)
        residuals = jax.random.choice(checks.as_key(key), self.residuals, chosen)
        return centre[..., None] + unit[..., None] * residuals

    def _at(self, levels, predictions, scale):
        """The quantiles at exact levels."""
        centre, unit = as_centre(predictions, scale, self.scaled)
        n, dtype = self.residuals.shape[0], self.residuals.dtype
        end = jnp.full(1, jnp.inf, dtype)
        padded = jnp.concatenate([-end, self.residuals, end])
        chosen = padded[np.array([level_rank(n, level) for level in levels])]
        chosen = checks.poison(chosen, ~jnp.isnan(self.residuals[0]))
        chosen = chosen.reshape((1,) * centre.ndim + (-1,))
        return centre[..., None] + unit[..., None] * chosen


class ConformalPredictiveSystem(Spec):
    """A predictive distribution for each prediction, calibrated at every level at once.

    The residuals `y - prediction`, or `(y - prediction) / scale`, of rows that the model has
    not seen are sorted; the distribution function of a new y is the rank of its residual
    among them, divided by n + 1 (Vovk, Shen, Manokhin & Xie 2019, in the split form of Vovk et
    al. 2020). With a random tie-break it is exactly uniform at the outcome, for exchangeable
    rows.

    Args:
        coverage: of `interval`, where it is not given there.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> y = jnp.arange(19.0)
        >>> system = conformal.ConformalPredictiveSystem().calibrate(0 * y, y)
        >>> print(system.quantiles(jnp.array([100.0]), [0.1, 0.5, 0.9]))
        [[101. 109. 117.]]
        >>> print(system.distribution(jnp.array([100.0]), jnp.array([104.5])))
        [0.3]

    Reference: Vovk, Shen, Manokhin & Xie 2019, Nonparametric predictive distributions based on
    conformal prediction; Vovk, Petej, Nouretdinov, Manokhin & Gammerman 2020, Computationally
    efficient versions of conformal predictive distributions.

    When it fails: every row has the same shape of distribution, moved and scaled. Calibration
    is on average over rows: where errors differ from row to row in a way that `scale` does not
    know, it is too wide for some and too narrow for others.
    """

    coverage: float = eqx.field(static=True, default=0.9)

    def __check_init__(self):
        checks.probability("coverage", self.coverage)

    def calibrate(
        self,
        predictions: Real[ArrayLike, " n"],
        y: Real[ArrayLike, " n"],
        scale: Real[ArrayLike, " n"] | None = None,
    ) -> CalibratedPredictiveSystem:
        """Sort the residuals of rows that the model has not seen.

        Args:
            predictions: `(n,)`.
            y: `(n,)`, what was observed.
            scale: `(n,)`, positive: a guess of the error's size at each row.

        Raises:
            ValueError: for shapes that differ, values that are not finite, a scale that is
                not positive. Inside jit such rows make all results NaN.
        """
        checks.as_vector("predictions", predictions)
        residuals = standardised(predictions, y, scale, scale is not None)
        residuals = checks.poison(jnp.sort(residuals), jnp.isfinite(residuals).all())
        return CalibratedPredictiveSystem(residuals, self.coverage, scale is not None)


def _tail_levels(coverage) -> tuple[Fraction, Fraction]:
    exact = as_fraction(coverage)
    return (1 - exact) / 2, (1 + exact) / 2


@jax.jit
def _distribution(residuals, values, key):
    start = jnp.zeros(values.shape, jnp.int32)
    end = jnp.full_like(start, residuals.shape[0])
    first = search(residuals, values, start, end, "left")
    last = search(residuals, values, first, end, "right")
    below, tied, total = (count.astype(values.dtype) for count in (first, last - first, end))
    found = counted_p_values(below, tied, total, jnp.ones((), values.dtype), key)
    return jnp.where(jnp.isnan(values) | jnp.isnan(residuals[0]), jnp.nan, found)
