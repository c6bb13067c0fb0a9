"""The continuous columns of a table, standardised and split into fit and held-out rows."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from estimators.data import MixtureTruth
from estimators.report._study import Skipped, Study
from estimators.report._table import MINIMUM_ROWS

# A column with less than this share of its standard deviation left, given the others, is a
# linear combination of them: a density over all of them is infinite.
DEPENDENT = 1e-4


@dataclass(frozen=True)
class Sample:
    """Standardised rows for a section about densities.

    Attributes:
        columns: names of the columns used.
        left_out: why each other column is not, a sentence each.
        train: `(n, d)`, rows to fit on, standardised on themselves.
        held_out: `(m, d)`, rows to judge on.
        train_rows: `(n,)`, indices of those rows in the table.
        law: the law of the standardised columns, where it is known.
    """

    columns: list[str]
    left_out: list[str]
    train: jax.Array
    held_out: jax.Array
    train_rows: np.ndarray
    law: MixtureTruth | None


def draw(study: Study, purpose: str, *, most_fit: int, most_held_out: int) -> Sample:
    """Split, subsample and standardise.

    Raises:
        Skipped: where no column is continuous, or too few rows are left for a density.
    """
    table = study.table
    used, left_out = _independent_columns(study)
    if not used:
        raise Skipped("every column takes only a few values: there is no density")
    # A row that came twice would be held out and fitted at once, and flatter every density.
    distinct = np.unique(table.values[:, used], axis=0, return_index=True)[1]
    copies = len(table.values) - len(distinct)
    if copies:
        left_out.append(f"{copies} rows: they repeat another in these columns")
    fitted = round(0.75 * len(distinct))
    if len(distinct) < MINIMUM_ROWS or fitted <= len(used):
        raise Skipped(
            f"{len(distinct)} rows that differ, {fitted} of them to fit on, are too few for a "
            f"density of {len(used)} columns"
        )
    train, held_out = (distinct[part] for part in study.split(purpose, len(distinct), 0.75))
    generator = study.generator(f"{purpose} subsample")
    train, held_out = (
        np.sort(generator.choice(rows, min(len(rows), most), replace=False))
        for rows, most in ((train, most_fit), (held_out, most_held_out))
    )
    mean, deviation = table.values[train][:, used].mean(0), table.values[train][:, used].std(0)
    standard = (table.values[:, used] - mean) / deviation
    law = None if study.truth is None else study.truth.marginal(used).rescaled(mean, deviation)
    return Sample(
        [table.columns[i] for i in used],
        left_out,
        jnp.asarray(standard[train]),
        jnp.asarray(standard[held_out]),
        train,
        law,
    )


def _independent_columns(study: Study) -> tuple[list[int], list[str]]:
    table = study.table
    used: list[int] = []
    left_out = []
    centred = table.values - table.values.mean(0)
    centred = centred / np.sqrt((centred**2).sum(0))
    basis = np.zeros((len(centred), 0))
    for i, name in enumerate(table.columns):
        if table.discrete[i]:
            count = len(np.unique(table.values[:, i]))
            left_out.append(f"{name}: it takes only {count} values, and has no density")
            continue
        # Projected out twice: once leaves rounding errors of the size of the threshold.
        rest = centred[:, i]
        for _ in range(2):
            rest = rest - basis @ (basis.T @ rest)
        size = np.linalg.norm(rest)
        if size < DEPENDENT:
            left_out.append(f"{name}: it is a linear combination of the columns before it")
            continue
        basis = np.concatenate([basis, (rest / size)[:, None]], axis=1)
        used.append(i)
    return used, left_out
