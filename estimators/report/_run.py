"""Run every section on a table and gather one report."""

import os
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np

import estimators
from estimators.data import MixtureTruth, first_light, first_light_truth
from estimators.report import _density, _gaussian, _information, _prediction
from estimators.report._read import read
from estimators.report._study import Progress, Skipped, Study
from estimators.report._table import CallError, Table, clean, show

SCHEMA = "estimators.report/1"
SECTIONS: dict[str, tuple[str, Callable[[Study], dict]]] = {
    "density": ("density and its regime", _density.judge),
    "information": ("mutual information of every pair of columns", _information.judge),
    "gaussian": ("whether a Gaussian suffices", _gaussian.judge),
    "prediction": ("quantile models, aggregation, calibrated intervals", _prediction.judge),
}
FIRST_LIGHT = "first light (ships with estimators; its truth is known)"
# Beyond these the outer quantile levels meet the median, or round to 0 and 1.
COVERAGES = (0.001, 0.99999)
SEEDS = 2**32


def run(
    table: str | os.PathLike | None = None,
    *,
    target: str | int | None = None,
    coverage: float = 0.9,
    seed: int = 0,
    quiet: bool = False,
) -> dict:
    """Judge a table: density, information, Gaussianity, prediction.

    Args:
        table: path of a .csv, .npz or .npy file; None takes the data set that ships, and
            puts the truth beside every estimate.
        target: name (or number in the file, from 1) of the column to predict; None skips
            prediction.
        coverage: coverage asked of every interval, from 0.001 to 0.99999.
        seed: the one source of randomness, from 0 to 2**32 - 1.
        quiet: whether to keep progress off stderr.

    Returns:
        The report as a dictionary of plain values, see `report/schema.json`.

    Raises:
        OSError: if the table does not exist or may not be read.
        ValueError: for a coverage, seed, target or kind of file that cannot be (CallError), or a
            table that cannot be judged (TableError).
    """
    low, high = COVERAGES
    if not low <= coverage <= high:
        raise CallError(f"coverage must lie between {low:g} and {high:g}; got {coverage}")
    if not 0 <= seed < SEEDS:
        raise CallError(f"seed must be a whole number from 0 to {SEEDS - 1}; got {seed}")
    study = _study(table, None if target is None else str(target), coverage, seed)
    progress = Progress(len(SECTIONS), quiet)
    sections = {}
    for name, (what, judge) in SECTIONS.items():
        progress.step(what)
        try:
            sections[name] = judge(study)
        except Skipped as reason:
            sections[name] = {"skipped": str(reason)}
        except ValueError as error:
            # The library refuses what it cannot answer; the other sections still can.
            sections[name] = {"skipped": f"it cannot be computed for this table: {error}"}
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


def _study(path: str | os.PathLike | None, target: str | None, coverage: float, seed: int) -> Study:
    truth: MixtureTruth | None = None
    if path is None:
        values, columns = first_light()
        name, notes, header, truth = FIRST_LIGHT, [], list(columns), first_light_truth()
        columns, target = header, target or header[-1]
    else:
        values, columns, notes, header = read(path)
        # A file name need not be text; what is printed and written must be.
        name = str(path).encode("utf-8", "replace").decode()
    table = clean(name, values, columns, notes)
    return Study(table, _find(table, header, target), coverage, seed, truth)


def _find(table: Table, header: list[str], target: str | None) -> int | None:
    """The index of the target among the usable columns: by name, else by number in the file."""
    if target is None:
        return None
    name = target
    if target not in header and target.isdecimal() and 1 <= int(target) <= len(header):
        name = header[int(target) - 1]
    if name in table.columns:
        return table.columns.index(name)
    dropped = [note for note in table.notes if note.startswith(f"column {show(name)} dropped")]
    known = ", ".join(table.columns[:20]) + ", ..." * (len(table.columns) > 20)
    raise CallError(
        f"target must be one of the usable columns ({known}); got {target!r}"
        + "".join(f": {note}" for note in dropped)
    )
