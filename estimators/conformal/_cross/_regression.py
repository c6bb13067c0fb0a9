"""Intervals around predictions, from residuals of rows that their model left out."""

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Integer, Real

from estimators._core import Fitted, Spec, checks, order_statistic
from estimators.conformal._cross._guarantees import cross_guarantee
from estimators.conformal._cross._held_out import HeldOut, as_by_fold, held_out
from estimators.conformal._guarantee import Guarantee
from estimators.conformal._quantile import conformal_rank, why_infinite
from estimators.conformal._regression._calibrate import of_each_end
from estimators.conformal._regression._ends import Ends, outside, widen

Method = Literal["plus", "minmax", "base"]


class CalibratedCrossConformal(Fitted):
    """Intervals around predictions; see `CrossConformal`.

    Attributes:
        held_out: residuals of all rows by fold, their size or, for two ends, signed.
        coverage: coverage asked for.
        method: "plus", "minmax" or "base".
    """

    held_out: HeldOut
    coverage: float = eqx.field(static=True)
    method: Method = eqx.field(static=True)

    @property
    def reason(self) -> str | None:
        """Why the intervals are infinite, or None where they are not."""
        ends, n = self.held_out.scores.shape
        return why_infinite(n, of_each_end(self.coverage, ends == 1))

    @property
    def guarantee(self) -> Guarantee:
        """What is proven of the coverage; see `CrossConformal`."""
        ends, n = self.held_out.scores.shape
        folds, equal = self.held_out.folds, self.held_out.equal
        return cross_guarantee(self.coverage, self.method, n, folds, equal=equal, ends=ends)

    def interval(
        self,
        predictions: Real[ArrayLike, "*batch folds"] | None = None,
        *,
        full_model: Real[ArrayLike, "*batch"] | None = None,
    ) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
        """Lower and upper ends for new rows, each `(*batch,)`.

        Where the set is empty, which takes a coverage below 1/2, both ends are at its centre.

        Args:
            predictions: `(*batch, K)`, for "plus" and "minmax": column k is by the model that
                was fitted without fold k.
            full_model: `(*batch,)`, for "base": predictions of the model fitted to all rows.

        Raises:
            ValueError: if what the method needs is missing or something else is given, for
                another number of columns, or values that are not finite.
        """
        wanted = "full_model" if self.method == "base" else "predictions"
        given = [
            name
            for name, value in (("predictions", predictions), ("full_model", full_model))
            if value is not None
        ]
        if given != [wanted]:
            got = " and ".join(given) or "neither"
            raise ValueError(f"method {self.method!r} needs {wanted} and only that; got {got}")
        ends, n = self.held_out.scores.shape
        rank = conformal_rank(n, of_each_end(self.coverage, ends == 1))
        if self.method == "base":
            centre = checks.finite("full_model", checks.as_float("full_model", full_model))
            return self._widened(centre, centre, rank)
        centres = as_by_fold("predictions", predictions, self.held_out.folds)
        if self.method == "minmax":
            return self._widened(centres.min(-1), centres.max(-1), rank)
        return self.held_out.interval(centres, centres, rank)

    def _widened(self, lower, upper, rank: int):
        widths = jax.vmap(order_statistic, (0, None))(self.held_out.scores, rank)
        return widen(Ends(lower, upper), jnp.broadcast_to(widths, (*lower.shape, *widths.shape)))


class CrossConformal(Spec):
    """Jackknife+, CV+ and their relatives: prediction intervals that set no rows aside.

    With k(i) the fold of row i, mu_k the model that was fitted without fold k, R_i the absolute
    residual of row i from mu_k(i), and q the order statistic of rank ceil((n + 1) coverage),

        plus:    [-q{R_i - mu_k(i)(x)},   q{mu_k(i)(x) + R_i}]
        minmax:  [min_k mu_k(x) - q{R_i}, max_k mu_k(x) + q{R_i}]
        base:    [mu(x) - q{R_i},         mu(x) + q{R_i}], mu fitted to all rows

    Leaving one row out is `fold = arange(n)`: jackknife+, jackknife-minmax and the jackknife.

    Args:
        coverage: probability that the interval should cover, in (0, 1).
        method: "plus", "minmax" or "base".
        symmetric: one residual for both ends. If false, each end takes signed residuals, at
            (1 + coverage) / 2: intervals are then not centred where errors are skewed.

    Guarantee: in numbers, `calibrated.guarantee`. Of "plus" it is near 1 - 2 (1 - coverage),
    whatever the model; its coverage in practice is near `coverage`, and below it only with
    models that change a lot when a few rows do. "minmax" has `coverage` where one row is left
    out, and is wider. In folds of n/K rows it is proven for ceil((n + 1) coverage) / (n + n/K)
    only, and there are models that reach that. "base" has none, and needs a stable model.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> y, fold = jnp.arange(20.0), jnp.arange(20) % 2
        >>> calibrated = conformal.CrossConformal(0.9).calibrate(y - 0.5, y, fold)
        >>> lower, upper = calibrated.interval(jnp.array([[3.0, 3.0], [3.0, 4.0]]))
        >>> print(lower, upper)
        [2.5 2.5] [3.5 4.5]
        >>> f"{calibrated.guarantee.at_least:.3f}"
        '0.709'

    Reference: Barber, Candes, Ramdas & Tibshirani 2021, Predictive inference with the
    jackknife+ (section 1 for the sets, theorems 1, 3 and 4 for what is proven).

    When it fails: where the held-out predictions saw their row after all, by a choice of
    features or of tuning on all rows; and for rows that are not exchangeable, such as ordered
    in time.
    """

    coverage: float = eqx.field(static=True, default=0.9)
    method: Method = eqx.field(static=True, default="plus", kw_only=True)
    symmetric: bool = eqx.field(static=True, default=True, kw_only=True)

    def __check_init__(self):
        checks.probability("coverage", self.coverage)
        checks.one_of("method", self.method, ("plus", "minmax", "base"))

    def calibrate(
        self,
        held_out_predictions: Real[ArrayLike, " n"],
        y: Real[ArrayLike, " n"],
        fold: Integer[ArrayLike, " n"],
    ) -> CalibratedCrossConformal:
        """Keep the residuals of held-out predictions.

        Args:
            held_out_predictions: `(n,)`, each by the model fitted without the row's fold.
            y: `(n,)`, what was observed.
            fold: `(n,)`, the fold of each row, 0 to K - 1; known numbers also inside jit.

        Raises:
            ValueError: for shapes that differ, values that are not finite, or fold numbers that
                leave one out.
        """
        centre = checks.as_vector("held_out_predictions", held_out_predictions)
        y = checks.as_vector("y", y, length=centre.shape[0])
        scores = outside(Ends(centre, centre), y, self.symmetric)
        return CalibratedCrossConformal(held_out(scores.T, fold), self.coverage, self.method)
