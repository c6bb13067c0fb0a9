"""Linear quantile regression at all levels, by Newton steps on a smoothed pinball loss."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Key, Real

from estimators._core import Fitted, Scaling, Spec, Stored, checks, product
from estimators.quantile._models._data import as_training_rows
from estimators.quantile._models._smoothed import minimise_smoothed
from estimators.quantile._monotone._sort import sort_levels

STATUS = ("converged", "not converged", "not finite")


class LinearInfo(Stored):
    """How the fit of `LinearQuantiles` went.

    Attributes:
        history: `(stages, levels)`, mean pinball loss on the training data after each stage
            of smoothing, in the unit of y; without the smoothing.
        steps: Newton steps, of all stages and levels together.
        status_code: index of `status` in ("converged", "not converged", "not finite").
    """

    history: Float[Array, "stages levels"]
    steps: Int[Array, ""]
    status_code: Int[Array, ""]

    @property
    def status(self) -> str:
        """How the iteration ended: "converged", "not converged" or "not finite"."""
        return STATUS[int(self.status_code)]


class FittedLinearQuantiles(Fitted):
    """Linear quantiles, `values + coefficients (x - centre)`, sorted.

    Attributes:
        coefficients: slopes, in the unit of y over that of the feature.
        values: quantiles at the centre.
        centre: means of the features.
        levels: `(levels,)`.
        info: how the fit went.
    """

    coefficients: Float[Array, "levels d"]
    values: Float[Array, " levels"]
    centre: Float[Array, " d"]
    levels: Float[Array, " levels"]
    info: LinearInfo

    def predict(self, features: Real[ArrayLike, "*batch d"]) -> Float[Array, "*batch levels"]:
        """Quantiles of y given the features, at `levels`.

        Args:
            features: in the units of the fit.

        Returns:
            In the unit of y; non-decreasing along the last axis.

        Raises:
            ValueError: for a wrong shape, or values that are not finite outside `jax.jit`;
                inside it NaN gives NaN.
        """
        features = checks.as_queries("features", features, self.centre.shape[0])
        return _predict(self, features.astype(self.values.dtype))


@jax.jit
def _predict(fitted, features):
    rows = features.reshape(-1, fitted.centre.shape[0]) - fitted.centre[None]
    quantiles = sort_levels(fitted.values[None] + product(rows, fitted.coefficients.T))
    return quantiles.reshape(*features.shape[:-1], -1)


class LinearQuantiles(Spec):
    """Linear quantile regression at all levels at once.

        minimise over a, b:  mean of l(y - a - b x),   l(u) = level u + h log(1 + exp(-u / h))

    l is the pinball loss convolved with a logistic kernel of bandwidth h; it is smooth and
    convex, so damped Newton steps find its minimum. h falls in stages to `smoothing` times the
    mean pinball loss, which is therefore within 0.7 `smoothing` of its least value, as a
    fraction of it; in practice a quarter of that, or less. There is no penalty. Nothing is random.
    A constant column is ignored; of columns that depend on each other, the solution of least
    norm is taken.

    Args:
        smoothing: last bandwidth, as a fraction of the mean pinball loss at each level.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from estimators import quantile
        >>> x, noise = jax.random.normal(jax.random.key(0), (2, 500))
        >>> fitted = quantile.LinearQuantiles().fit(x[:, None], 2 * x + noise, [0.25, 0.5, 0.75])
        >>> low, middle, high = fitted.predict(jnp.array([1.0]))
        >>> bool(jnp.abs(middle - 2) < 0.3), bool(low < middle < high)
        (True, True)

    Reference: Koenker & Bassett, Regression Quantiles (1978); Fernandes, Guerre & Horta,
    Smoothing Quantile Regressions (2021), whose smoothed loss this is, for a logistic kernel.

    When it fails: quantiles that are not linear in the features. Lines of different slopes
    cross somewhere; sorting repairs the prediction there, not the model. With few rows
    beyond the highest or lowest level (10 for each feature, say), the extreme quantiles
    overfit.
    """

    smoothing: float | Float[ArrayLike, ""] = 1e-3

    def __check_init__(self):
        checks.positive("smoothing", self.smoothing)

    def fit(
        self,
        features: Real[ArrayLike, "n d"],
        y: Real[ArrayLike, " n"],
        levels: Real[ArrayLike, " levels"] | Sequence[float],
        *,
        key: Key[Array, ""] | None = None,
        validation: Any = None,
        progress: bool | Callable | None = None,
    ) -> FittedLinearQuantiles:
        """Fit one linear model a level; it works inside `jax.jit` and `jax.vmap`.

        Args:
            features: one row a sample.
            y: outcomes.
            levels: quantile levels, strictly increasing inside (0, 1).
            key: not used; it is here so that all models can be fitted in one loop.
            validation: not used, likewise.
            progress: not used, likewise.

        Raises:
            ValueError: for shapes that do not belong together, values that are not finite, or
                levels that do not increase inside (0, 1). Inside jit such values give
                `info.status` "not finite" and NaN.
        """
        features, y = as_training_rows(features, y)
        levels = checks.as_levels("levels", levels).astype(features.dtype)
        return _fit(features, y, levels, jnp.asarray(self.smoothing, features.dtype))


@jax.jit
def _fit(features, y, levels, smoothing):
    units = Scaling.of(features, y)
    # The left singular vectors are features without correlation; where columns depend on
    # each other, the directions that do not vary are left out.
    left, singular, right = jnp.linalg.svd(units.features(features), full_matrices=False)
    kept = singular > 10 * features.shape[1] * jnp.finfo(y.dtype).eps * singular[0]
    root = jnp.sqrt(jnp.asarray(y.shape[0], y.dtype))
    design = jnp.where(kept[None], left, 0) * root
    centre, scale = _location_and_scale(y)
    result = minimise_smoothed(design, (y - centre) / scale, levels, smoothing)

    inverse = jnp.where(kept, root / jnp.where(kept, singular, 1), 0)
    slopes = product(result.coefficients[:, 1:] * inverse[None], right)
    slopes = slopes * units.inverse[None] * scale
    values = centre + scale * result.coefficients[:, 0]
    finite = jnp.isfinite(slopes).all() & jnp.isfinite(values).all()
    status = jnp.where(finite, jnp.where(result.converged.all(), 0, 1), 2).astype(jnp.int32)
    info = LinearInfo(scale * result.history, jnp.sum(result.steps), status)
    return checks.poison(FittedLinearQuantiles(slopes, values, units.centre, levels, info), finite)


def _location_and_scale(y):
    """Median and interquartile range, which outliers do not move; else the mean deviation."""
    low, centre, high = jnp.quantile(y, jnp.asarray([0.25, 0.5, 0.75], y.dtype))
    deviation = jnp.mean(jnp.abs(y - centre))
    scale = jnp.where(high > low, high - low, deviation)
    return centre, jnp.where(scale > 0, scale, 1)
