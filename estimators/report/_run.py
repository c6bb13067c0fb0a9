"""Run every section on a table and gather one report."""

from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np

import estimators
from estimators._core import checks
from estimators.data import MixtureTruth, first_light, first_light_truth
from estimators.report import _density, _gaussian, _information, _prediction
from estimators.report._study import Progress, Study
from estimators.report._table import TableError, clean, read

SCHEMA = "estimators.report/1"
SECTIONS: dict[str, tuple[str, Callable[[Study], dict]]] = {
    "density": ("density and its regime", _density.judge),
    "information": ("mutual information of every pair of columns", _information.judge),
    "gaussian": ("whether a Gaussian suffices", _gaussian.judge),
    "prediction": ("quantile models, aggregation, calibrated intervals", _prediction.judge),
}
FIRST_LIGHT = "first light (ships with estimators; its truth is known)"


def run(
    table: str | None = None,
    *,
    target: str | None = None,
    coverage: float = 0.9,
    seed: int = 0,
    quiet: bool = False,
) -> dict:
    """Judge a table: density, information, Gaussianity, prediction.

    Args:
        table: path of a .csv, .npz or .npy file; None takes the data set that ships, and
            puts the truth beside every estimate.
        target: name (or number, from 1) of the column to predict; None skips prediction.
        coverage: coverage asked of every interval, in (0, 1).
        seed: the one source of randomness.
        quiet: whether to keep progress off stderr.

    Returns:
        The report as a dictionary of plain values, see `report/schema.json`.

    Raises:
        FileNotFoundError: if the table does not exist.
        ValueError: for a coverage outside (0, 1), or (TableError) a table that cannot be judged.
    """
    checks.probability("coverage", coverage)
    study = _study(table, target, coverage, seed)
    progress = Progress(len(SECTIONS), quiet)
    sections = {}
    for name, (what, judge) in SECTIONS.items():
        progress.step(what)
        sections[name] = judge(study)
    progress.finish()
    data = study.table
    return {
        "schema": SCHEMA,
        "estimators": estimators.__version__,
        "created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "settings": {"coverage": coverage, "seed": seed, "target": target},
        "table": {
            "name": data.name,
            "rows_read": data.rows_read,
            "rows": len(data.values),
            "columns": [
                {
                    "name": name,
                    "mean": float(column.mean()),
                    "standard_deviation": float(column.std(ddof=1)),
                    "distinct": len(np.unique(column)),
                }
                for name, column in zip(data.columns, data.values.T, strict=True)
            ],
            "notes": data.notes,
            "truth_known": study.truth is not None,
        },
        **sections,
    }


def _study(path: str | None, target: str | None, coverage: float, seed: int) -> Study:
    truth: MixtureTruth | None = None
    if path is None:
        values, columns = first_light()
        name, notes, truth = FIRST_LIGHT, [], first_light_truth()
        target = target or columns[-1]
        columns = list(columns)
    else:
        values, columns, notes = read(path)
        name = str(path)
    table = clean(name, values, columns, notes)
    return Study(table, _find(table, columns, target), coverage, seed, truth)


def _find(table, read_columns: list[str], target: str | None) -> int | None:
    if target is None:
        return None
    if target in table.columns:
        return table.columns.index(target)
    if target.isdigit() and 1 <= int(target) <= len(read_columns):
        return _find(table, [], read_columns[int(target) - 1])
    known = ", ".join(table.columns[:20])
    dropped = " ".join(note for note in table.notes if repr(target) in note)
    raise TableError(
        f"target must be one of the usable columns ({known}); got {target!r}. {dropped}".rstrip()
    )
