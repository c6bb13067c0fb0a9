"""Intervals around a bagged ensemble, from the models that happened not to see each row."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Real

from estimators._core import Fitted, Spec, checks, order_statistic
from estimators._core._blocks import map_blocks
from estimators.conformal._cross._guarantees import bootstrap_guarantee
from estimators.conformal._cross._leave_one_out import Aggregate, leave_one_out
from estimators.conformal._guarantee import Guarantee
from estimators.conformal._quantile import conformal_rank, why_infinite
from estimators.conformal._regression._ends import uncrossed

BLOCK = 16  # new rows, of n ensembles each


class CalibratedJackknifeAfterBootstrap(Fitted):
    """Intervals around an ensemble; see `JackknifeAfterBootstrap`.

    Attributes:
        residuals: `(n,)`, absolute, of each row's ensemble without it.
        out_of_bag: `(n, B)`, whether model b did not see row i.
        coverage: coverage asked for.
        aggregate: "mean" or "median".
    """

    residuals: Float[Array, " n"]
    out_of_bag: Bool[Array, "n models"]
    coverage: float = eqx.field(static=True)
    aggregate: Aggregate = eqx.field(static=True)

    @property
    def reason(self) -> str | None:
        """Why the intervals are infinite, or None where they are not."""
        return why_infinite(self.residuals.shape[0], self.coverage)

    @property
    def guarantee(self) -> Guarantee:
        """What is proven of the coverage; see `JackknifeAfterBootstrap`."""
        return bootstrap_guarantee(self.coverage)

    def interval(
        self, predictions: Real[ArrayLike, "*batch models"]
    ) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
        """Lower and upper ends for new rows, each `(*batch,)`.

        Args:
            predictions: `(*batch, B)`, by every model, in the order of calibration.

        Raises:
            ValueError: for another number of models, or values that are not finite.
        """
        predictions = checks.finite("predictions", checks.as_float("predictions", predictions))
        models = self.out_of_bag.shape[1]
        if predictions.ndim == 0 or predictions.shape[-1] != models:
            raise ValueError(
                f"predictions must have shape (*batch, {models}), one column a model; got shape "
                f"{predictions.shape}"
            )
        rank = conformal_rank(self.residuals.shape[0], self.coverage)
        return _interval(predictions, self.residuals, self.out_of_bag, rank, self.aggregate)


class JackknifeAfterBootstrap(Spec):
    """Jackknife+ after the bootstrap: intervals from models that were bagged anyway.

    With mu_i the ensemble of the models that did not see row i, R_i = abs(y_i - mu_i(x_i)), and q
    the order statistic of rank ceil((n + 1) coverage) over i, the interval is

        [-q{R_i - mu_i(x)}, q{mu_i(x) + R_i}]

    Nothing is fitted again: the B models of a bootstrap give all n ensembles.

    Args:
        coverage: probability that the interval should cover, in (0, 1).
        aggregate: "mean" or "median" of the models of an ensemble.

    Guarantee: in numbers, `calibrated.guarantee`: 1 - 2 (1 - coverage) if B was drawn from a
    binomial law, whatever the model; in practice near `coverage`, also for a fixed B.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> y = jnp.arange(10.0)
        >>> in_bag = (jnp.arange(10)[:, None] + jnp.arange(4)[None]) % 2 == 0
        >>> predictions = jnp.broadcast_to(y[:, None] + 0.5, (10, 4))
        >>> spec = conformal.JackknifeAfterBootstrap(0.9)
        >>> calibrated = spec.calibrate(predictions, y, in_bag)
        >>> lower, upper = calibrated.interval(jnp.array([[1.0, 3.0, 1.0, 3.0]]))
        >>> print(lower, upper)
        [0.5] [3.5]

    Reference: Kim, Xu & Barber 2020, Predictive inference is free with the jackknife+-after-
    bootstrap, algorithm 2 and theorem 1.

    When it fails: with few models an ensemble has a handful of members, and the intervals are
    as wide as those are noisy; rows that all models saw are refused. Time is O(n B) a new row.
    """

    coverage: float = eqx.field(static=True, default=0.9)
    aggregate: Aggregate = eqx.field(static=True, default="mean", kw_only=True)

    def __check_init__(self):
        checks.probability("coverage", self.coverage)
        checks.one_of("aggregate", self.aggregate, ("mean", "median"))

    def calibrate(
        self,
        predictions: Real[ArrayLike, "n models"],
        y: Real[ArrayLike, " n"],
        in_bag: Bool[ArrayLike, "n models"],
    ) -> CalibratedJackknifeAfterBootstrap:
        """Keep the residual of each row from the ensemble without it.

        Args:
            predictions: `(n, B)`, of every row by every bootstrap model.
            y: `(n,)`, what was observed.
            in_bag: `(n, B)`, whether row i was in the sample that model b was fitted to.

        Raises:
            ValueError: for shapes that do not belong together, values that are not finite, or
                rows that every model saw. Inside jit the last two give NaN.
        """
        predictions = checks.as_points("predictions", predictions)
        y = checks.as_vector("y", y, length=predictions.shape[0])
        out_of_bag = ~_as_in_bag(in_bag, predictions.shape)

        def of_row(by_model, out):
            return leave_one_out(by_model[None], out[None], self.aggregate)[0, 0]

        residuals = jnp.abs(y - jax.vmap(of_row)(predictions, out_of_bag))
        return CalibratedJackknifeAfterBootstrap(
            residuals, out_of_bag, self.coverage, self.aggregate
        )


@partial(jax.jit, static_argnames="aggregate")
def _interval(predictions, residuals, out_of_bag, rank, aggregate):
    dtype = jnp.result_type(predictions, residuals)
    residuals = residuals.astype(dtype)[None]
    nth = jax.vmap(lambda sums: order_statistic(sums, rank))

    def of_rows(rows):
        centres = leave_one_out(rows, out_of_bag, aggregate)
        return uncrossed(-nth(residuals - centres), nth(centres + residuals))

    shape = predictions.shape
    ends = map_blocks(of_rows, predictions.astype(dtype).reshape(-1, shape[-1]), BLOCK)
    return jax.tree.map(lambda end: end.reshape(shape[:-1]), ends)


def _as_in_bag(in_bag, shape: tuple[int, ...]) -> Bool[Array, "n models"]:
    in_bag = jnp.asarray(in_bag)
    if in_bag.dtype != bool or in_bag.shape != shape:
        raise ValueError(
            f"in_bag must be true or false, of the shape {shape} of predictions; got "
            f"{in_bag.dtype}, shape {in_bag.shape}. Write counts > 0 for counts."
        )
    if checks.is_concrete(in_bag):
        seen = int(np.asarray(in_bag).all(1).sum())
        if seen:
            raise ValueError(
                f"in_bag must leave each row out of one model at least; {seen} of {shape[0]} rows "
                f"are in all {shape[1]}"
            )
    return in_bag
