"""A conformal set around any predictor: features in, a set out."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from estimators._core import Fitted, Spec, Stored
from estimators.conformal._guarantee import Guarantee
from estimators.conformal._regression._calibrate import Calibrated, RegressionSpec


class _Function(Stored):
    """A function, or an object of another library, as a pytree without leaves."""

    call: Callable = eqx.field(static=True)

    def __call__(self, x):
        return self.call(x)


class CalibratedPredictor(Fitted):
    """A predictor with its calibration; see `ConformalPredictor`.

    Attributes:
        predictor: what predicts.
        calibrated: what makes a set of that.
        each_row: whether the predictor takes one row.
    """

    predictor: Any
    calibrated: Calibrated
    each_row: bool = eqx.field(static=True)

    @property
    def guarantee(self) -> Guarantee:
        """What holds, in numbers and in words."""
        return self.calibrated.guarantee

    @property
    def reason(self) -> str | None:
        """Why sets are infinite, or when they may be; None where they are not."""
        return self.calibrated.reason

    def predict_set(self, x, **where) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        """Lower and upper ends at the features `x`.

        It works under `jax.jit` where the predictor does.

        Args:
            x: what the predictor takes.
            **where: `groups`, `weights`, `points`, `key`, as calibration had them; see
                `CalibratedRegression.interval`.
        """
        columns = _predict(self.predictor, x, self.each_row)
        return self.calibrated.interval(*columns, **where)  # pyright: ignore[reportAttributeAccessIssue]


class ConformalPredictor(Spec):
    """A conformal specification around a predictor that is fitted already.

    Args:
        predictor: an object with a method `predict` (of scikit-learn, or of
            `estimators.quantile`), or a function of the features: an equinox module, or any
            other. It gives one number a row for `SplitRegression`, or a pair (prediction,
            scale); for `ConformalizedQuantileRegression` the lower and the upper quantile, with
            the median between them for scaling "sides"; as a tuple, or in the last axis of an
            array.
        spec: which sets.
        each_row: whether the predictor takes one row, as modules of equinox do; it is then
            mapped over rows.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> x, y = jnp.arange(20.0)[:, None], jnp.arange(20.0)
        >>> line = lambda x: x[:, 0] + 0.5
        >>> spec = conformal.SplitRegression(0.9)
        >>> calibrated = conformal.ConformalPredictor(line, spec).calibrate(x, y)
        >>> lower, upper = calibrated.predict_set(jnp.array([[3.0]]))
        >>> print(lower, upper)
        [3.] [4.]

    When it fails: the predictor must not have seen the rows of the calibration. One that leaves
    JAX (scikit-learn) works everywhere but inside `jax.jit`; to be saved it must be made of
    arrays, as equinox modules and the fitted objects of this library are.
    """

    predictor: Any
    spec: RegressionSpec
    each_row: bool = eqx.field(static=True, default=False, kw_only=True)

    def __init__(self, predictor, spec: RegressionSpec, *, each_row: bool = False):
        if not hasattr(predictor, "predict") and not callable(predictor):
            raise ValueError(
                f"predictor must have a method predict, or be callable; got {predictor!r:.60}"
            )
        if not isinstance(spec, RegressionSpec):
            raise ValueError(
                f"spec must be SplitRegression or ConformalizedQuantileRegression; got {spec!r:.60}"
            )
        module = isinstance(predictor, eqx.Module)
        self.predictor = (
            predictor if module else _Function(getattr(predictor, "predict", predictor))
        )
        self.spec, self.each_row = spec, each_row

    def calibrate(self, x, y, **options) -> CalibratedPredictor:
        """Calibrate on rows that the predictor has not seen.

        Args:
            x: features, as the predictor takes them.
            y: `(n,)`, what was observed.
            **options: as for `SplitRegression.calibrate`: `groups`, `weights` and so on.

        Raises:
            ValueError: if the predictor gives the wrong number of columns, or as there.
        """
        columns = _predict(self.predictor, x, self.each_row)
        least = self.spec.columns
        sides = getattr(self.spec, "scaling", "sides") == "sides"
        if len(columns) == 3 and not sides:
            raise ValueError(
                "predictor must give 2 numbers a row unless the scaling is 'sides'; got 3"
            )
        if not least <= len(columns) <= least + 1:
            raise ValueError(
                f"predictor must give {least} or {least + 1} numbers a row for "
                f"{type(self.spec).__name__}; got {len(columns)}"
            )
        head, rest = columns[:least], columns[least:]
        calibrated = self.spec.calibrate(*head, y, *rest, **options)  # pyright: ignore[reportAttributeAccessIssue]
        return CalibratedPredictor(self.predictor, calibrated, self.each_row)


def _predict(predictor, x, each_row: bool) -> tuple:
    """The columns that a specification takes: the prediction and its scale, or the ends."""
    call = getattr(predictor, "predict", predictor)
    found = jax.vmap(call)(x) if each_row else call(x)
    if not isinstance(found, tuple | list):
        array = jnp.asarray(found)
        found = (array,) if array.ndim < 2 else tuple(jnp.moveaxis(array, -1, 0))
    # Ends are in the order of their levels; the middle one is asked for last.
    return (found[0], found[2], found[1]) if len(found) == 3 else tuple(found)
