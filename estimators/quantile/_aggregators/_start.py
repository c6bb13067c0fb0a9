"""What every fit of gates begins with: checked data, and the folds that they are trained by."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key

from estimators._core import as_folds, checks
from estimators.quantile._aggregators._data import Data, Rows, as_data, as_rows
from estimators.quantile._aggregators._inputs_of_gate import Inputs
from estimators.quantile._folds import folds


class Folds(NamedTuple):
    """For each fold the rows outside and inside, filled up with n, and how many are outside.

    Of several partitions the folds follow one another: each row is inside one fold of each.
    """

    outside: Int[Array, "folds rows"]
    counts: Int[Array, " folds"]
    inside: Int[Array, "folds fewer"]


def make_folds(*partitions: np.ndarray) -> Folds:
    """From a fold number for each row, for each partition."""
    rows = len(partitions[0])
    inside = [fold == number for fold in partitions for number in np.unique(fold)]
    outside = [np.flatnonzero(~mine) for mine in inside]
    return Folds(
        jnp.asarray(_filled(outside, rows)),
        jnp.asarray([len(places) for places in outside]),
        jnp.asarray(_filled([np.flatnonzero(mine) for mine in inside], rows)),
    )


class Start(NamedTuple):
    """Checked data in the forms that gates need, and the folds.

    Attributes:
        data: checked, in the unit of y.
        folds: by which gates are trained.
        blind: units of training, and no inputs.
        rows: for gates without inputs.
        key: for what comes next.
    """

    data: Data
    folds: Folds
    blind: Inputs
    rows: Rows
    key: Key[Array, ""]


def begin(predictions, y, levels, features, mask, fold, count: int, repeats: int, key) -> Start:
    """Check the arguments of a fit and draw its folds, where none are given."""
    data = as_data(predictions, y, levels, features, mask)
    of_fold, run = jax.random.split(checks.as_key(key))
    keys = [of_fold, *jax.random.split(of_fold, repeats - 1)]
    folds = make_folds(*(_as_fold(fold, data.y.shape[0], count, key) for key in keys))
    blind = Inputs.of(data.predictions, data.y, data.features, data.mask, "nothing")
    return Start(data, folds, blind, as_rows(blind, data), run)


def _as_fold(fold, rows: int, count: int, key: Key[Array, ""]) -> np.ndarray:
    """The fold numbers given, or random ones of equal share."""
    if fold is not None:
        return as_folds(fold, rows)
    if rows < 2 * count:
        raise ValueError(
            f"predictions must have at least {2 * count} rows for {count} folds; got {rows}"
        )
    return np.asarray(folds(rows, count, key=key))


def _filled(lists, fill: int):
    size = max(map(len, lists))
    return np.stack([np.pad(rows, (0, size - len(rows)), constant_values=fill) for rows in lists])
