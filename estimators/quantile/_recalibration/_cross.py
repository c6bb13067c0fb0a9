"""CV+: the residuals of every row, each with the predictions of the fold that left it out."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Real

from estimators._core import Fitted, Spec, as_numbered_folds, checks
from estimators.conformal import cross_order_statistic
from estimators.quantile._inputs import as_models
from estimators.quantile._monotone._sort import sort_levels
from estimators.quantile._monotone._sweep import sweep_levels
from estimators.quantile._recalibration._ranks import level_ranks, why_infinite
from estimators.quantile._recalibration._split import as_calibration


class FittedCrossConformalQuantiles(Fitted):
    """Residuals of all rows; see `CrossConformalQuantiles`.

    Attributes:
        residuals: `(n, levels)`, y less the quantile that was predicted without its fold.
        fold: `(n,)`, number of the fold of each row, from 0.
        ranks: `(levels,)`, of the residual that makes each level valid.
        levels: `(levels,)`.
        folds: how many there are.
    """

    residuals: Float[Array, "n levels"]
    fold: Int[Array, " n"]
    ranks: Int[Array, " levels"]
    levels: Float[Array, " levels"]
    folds: int = eqx.field(static=True)

    @property
    def reason(self) -> str | None:
        """Why some quantiles are infinite, or None where none is."""
        return why_infinite(self.levels, self.residuals.shape[0])

    def quantiles(
        self, predictions: Real[ArrayLike, "*batch folds levels"]
    ) -> Float[Array, "*batch levels"]:
        """Calibrated quantiles of new rows, which do not cross.

        Args:
            predictions: quantiles of the same rows by the model of each fold: entry k is that
                of the model that was trained without fold k.

        Raises:
            ValueError: for a wrong shape, or values that are not finite outside `jax.jit`.
        """
        predictions = as_models(predictions, self.folds, self.levels.shape[0])
        predictions = sort_levels(checks.finite("predictions", predictions))

        by_level = jax.vmap(cross_order_statistic, (-1, 1, None, 0), -1)
        found = by_level(predictions, self.residuals, self.fold, self.ranks)
        return sweep_levels(found, self.levels)


class CrossConformalQuantiles(Spec):
    """CV+ for predicted quantiles: no row is set aside for calibration.

    With k(i) the fold of row i, an upper quantile of a new x is the one of rank
    ceil((n + 1) level) among q_{-k(i)}(x) + y_i - q_{-k(i)}(x_i), a lower one that of rank
    floor((n + 1) level) (eq. 28 of arXiv 2103.00083, after Barber et al. 2021).

    Guarantee: for exchangeable rows, a pair of levels a apart covers with probability at least
    1 - 2 (1 - a) - min{2 (1 - 1/K) / (n/K + 1), (1 - K/n) / (K + 1)}; in practice a.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import quantile
        >>> y, fold = jnp.arange(19.0), jnp.arange(19) % 2
        >>> held_out = jnp.broadcast_to(jnp.array([-1.0, 0.0, 1.0]), (19, 3))
        >>> spec = quantile.CrossConformalQuantiles()
        >>> fitted = spec.calibrate(held_out, y, jnp.array([0.1, 0.5, 0.9]), fold)
        >>> print(fitted.quantiles(jnp.stack([held_out[:1]] * 2, 1)))
        [[ 1.  9. 17.]]

    When it fails: with models that change much from fold to fold the intervals are wide; the
    guarantee is weaker than that of `ConformalQuantiles`, which needs rows of its own.
    """

    def calibrate(
        self,
        predictions: Real[ArrayLike, "n levels"],
        y: Real[ArrayLike, " n"],
        levels: Real[ArrayLike, " levels"],
        fold: Int[ArrayLike, " n"],
    ) -> FittedCrossConformalQuantiles:
        """Keep the residuals of held-out predictions.

        Args:
            predictions: quantiles of each row by the model trained without its fold.
            y: outcomes.
            levels: quantile levels, strictly increasing inside (0, 1).
            fold: number of the fold of each row, 0 to K - 1.

        Raises:
            ValueError: for shapes that do not belong together, values that are not finite, or
                fold numbers that leave one out.
        """
        rows, y, known = as_calibration(predictions, y, levels)
        ranks = jnp.asarray(level_ranks(levels, rows.shape[0]))
        numbers, sizes = as_numbered_folds(fold, rows.shape[0])
        residuals = y[:, None] - sort_levels(rows)
        return FittedCrossConformalQuantiles(
            residuals, jnp.asarray(numbers), ranks, known, len(sizes)
        )
