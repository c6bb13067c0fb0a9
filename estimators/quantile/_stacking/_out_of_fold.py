"""Predictions of every model for rows that it was not fitted on."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Integer, Key, Real

from estimators._core import as_folds, checks
from estimators.quantile._stacking._adapters import Predictor, predictor


@dataclasses.dataclass(frozen=True)
class OutOfFold:
    """What `out_of_fold` returns.

    Attributes:
        predictions: `(n, models, levels)`; each by a model fitted on the other folds. An
            aggregator is fitted on these.
        fitted: predictors fitted on all rows, in the order of `names`.
        names: of the models.
    """

    predictions: Float[Array, "n models levels"]
    fitted: list[Predictor]
    names: list[str]

    def predict(self, features: Real[ArrayLike, "m d"]) -> Float[Array, "m models levels"]:
        """Quantiles of new rows by the models fitted on all rows; what `combine` takes.

        Raises:
            ValueError: if a model fails or predicts values that are not finite; it is named.
        """
        features = _as_table(features)
        columns = [
            _predict(name, model, features, "new rows")
            for name, model in zip(self.names, self.fitted, strict=True)
        ]
        return jnp.asarray(np.stack(columns, 1), self.predictions.dtype)


def out_of_fold(
    models: Mapping[str, Any],
    features: Real[ArrayLike, "n d"],
    y: Real[ArrayLike, " n"],
    levels: Real[ArrayLike, " levels"] | Sequence[float],
    *,
    fold: Integer[ArrayLike, " n"],
    key: Key[Array, ""] | None = None,
) -> OutOfFold:
    """Fit every model once without each fold, predict that fold, and fit once on all rows.

        predictions[i, j] = quantiles of row i by model j, fitted on the rows of other folds

    An aggregator that saw predictions of models for their own training rows would trust the
    one that overfits most.

    Args:
        models: name to model, or to a function without arguments that makes one; see
            `predictor` for what is accepted.
        features: one row a sample. Models that can read missing values may be given NaN.
        y: outcomes.
        levels: quantile levels, strictly increasing inside (0, 1).
        fold: a whole number for each row, such as `folds` makes.
        key: for models of this library that are random; every fit gets a key of its own.

    Returns:
        `OutOfFold`.

    Raises:
        ValueError: for shapes that do not belong together, a single fold, a model that is not
            recognised; or one that fails, or predicts values that are not finite: the message
            names it and the fold.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from estimators import quantile
        >>> x, noise = jax.random.normal(jax.random.key(0), (2, 100))
        >>> y, levels = x + noise, jnp.array([0.25, 0.5, 0.75])
        >>> models = {"linear": quantile.LinearQuantiles()}
        >>> stacked = quantile.out_of_fold(
        ...     models, x[:, None], y, levels, fold=quantile.folds(100, 4)
        ... )
        >>> stacked.predictions.shape, stacked.predict(x[:5, None]).shape
        ((100, 1, 3), (5, 1, 3))

    Reference: Wolpert, Stacked Generalization (1992).

    When it fails: rows that belong together (repeated measures of one subject) must share a
    fold, and rows in order of time must not be shuffled, or the models have seen the answers.
    The refitted models are a little better than those that the aggregator saw.
    """
    features = _as_table(features)
    dtype = checks.as_vector("y", y, length=len(features)).dtype
    y, fold = np.asarray(y), as_folds(fold, len(features))
    numbers = np.unique(fold)
    _recognise(models, levels)
    predictions, fitted = [], []
    for index, (name, model) in enumerate(models.items()):
        keys: Any = [None] * (len(numbers) + 1)
        if key is not None:
            keys = jax.random.split(jax.random.fold_in(checks.as_key(key), index), len(keys))
        rows = np.empty((len(y), np.size(levels)), dtype)
        for number, of_fold in zip(numbers, keys[:-1], strict=True):
            out = fold == number
            where = f"fold {number}"
            made = _fit(name, model, levels, features[~out], y[~out], of_fold, where)
            rows[out] = _predict(name, made, features[out], where)
        predictions.append(rows)
        fitted.append(_fit(name, model, levels, features, y, keys[-1], "the fit to all rows"))
    return OutOfFold(jnp.asarray(np.stack(predictions, 1)), fitted, list(models))


def _recognise(models, levels) -> None:
    """Refuse a model that no adapter takes before any other is fitted."""
    if not isinstance(models, Mapping) or not models:
        raise ValueError(f"models must be a dict of models by name; got {models!r:.60}")
    for name, model in models.items():
        try:
            predictor(model, levels)
        except ValueError as error:
            raise ValueError(f"models[{name!r}]: {error}") from error


def _fit(name, model, levels, features, y, key, where: str) -> Predictor:
    try:
        return predictor(model, levels).fit(features, y, key=key)
    except Exception as error:
        raise _failure(name, where, error) from error


def _predict(name, made: Predictor, features, where: str) -> np.ndarray:
    try:
        predictions = made.predict(features)
    except Exception as error:
        raise _failure(name, where, error) from error
    wanted = (len(features), len(made.levels))
    if predictions.shape != wanted:
        raise ValueError(
            f"model {name!r} must predict an array of shape {wanted} for {where}; got shape "
            f"{predictions.shape}"
        )
    bad = ~np.isfinite(predictions).all(1)
    if bad.any():
        raise ValueError(
            f"model {name!r} must predict finite numbers; for {where} they are not in "
            f"{bad.sum()} of {len(features)} rows"
        )
    return predictions


def _failure(name, where: str, error: Exception) -> ValueError:
    return ValueError(f"model {name!r} failed on {where}: {type(error).__name__}: {error}")


def _as_table(features) -> np.ndarray:
    """Features as numpy; models decide themselves whether they take NaN."""
    table = np.asarray(features)
    if table.ndim != 2 or 0 in table.shape or table.dtype.kind not in "fiub":
        raise ValueError(
            f"features must be numbers of shape (n, d); got shape {table.shape}, dtype "
            f"{table.dtype}"
        )
    return table
