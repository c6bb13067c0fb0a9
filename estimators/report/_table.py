"""Read a table and make it usable, saying everything that was dropped or changed."""

import csv
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

MISSING = {"", "na", "n/a", "nan", "null", "none", "?", "-", "."}
MINIMUM_ROWS = 50
# A column of fewer distinct values than this is counted, not measured: a density over it is
# infinite at each value.
DISCRETE_BELOW = 15


class TableError(ValueError):
    """The table cannot be judged; the message says why and what would help."""


@dataclass(frozen=True)
class Table:
    """A numeric table without gaps.

    Attributes:
        name: where it came from.
        values: `(n, p)` float64, finite.
        columns: p names.
        rows: `(n,)` row numbers in the file, counted from 1 after the header.
        discrete: `(p,)`, which columns take only a few values.
        notes: what was dropped or is worth knowing, a sentence each.
        rows_read: rows in the file.
    """

    name: str
    values: np.ndarray
    columns: tuple[str, ...]
    rows: np.ndarray
    discrete: np.ndarray
    notes: list[str] = field(default_factory=list)
    rows_read: int = 0


def read(path: str | os.PathLike) -> tuple[np.ndarray, list[str], list[str]]:
    """Read a .csv, .npz or .npy file.

    Returns:
        Values `(n, p)` with NaN where missing, column names, and notes on text columns.

    Raises:
        FileNotFoundError: if there is no such file.
        TableError: if the file is not a table of numbers.
    """
    path = Path(path)
    readers = {".csv": _read_csv, ".npz": _read_npz, ".npy": _read_npy}
    if path.suffix.lower() not in readers:
        raise TableError(f"{path} must end in .csv, .npz or .npy; it ends in {path.suffix!r}")
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    return readers[path.suffix.lower()](path)


def clean(name: str, values: np.ndarray, columns: list[str], notes: list[str]) -> Table:
    """Drop what no estimator can use and say so; refuse a table with too little left."""
    notes = list(notes)
    rows_read = len(values)
    values = np.where(np.isfinite(values), values, np.nan)
    rows = np.arange(1, rows_read + 1)

    share = np.isnan(values).mean(axis=0) if rows_read else np.ones(len(columns))
    keep = share <= 0.5
    for column in np.flatnonzero(~keep):
        notes.append(
            f"column {columns[column]!r} dropped: {share[column]:.0%} of its values are missing"
        )
    values, columns = values[:, keep], [c for c, k in zip(columns, keep, strict=True) if k]

    gaps = np.isnan(values)
    if gaps.any():
        incomplete = gaps.any(axis=1)
        where = ", ".join(
            f"{columns[i]!r} ({gaps[:, i].sum()})" for i in np.flatnonzero(gaps.any(axis=0))
        )
        notes.append(
            f"{incomplete.sum()} of {rows_read} rows dropped: a value is missing or not finite "
            f"in {where}"
        )
        values, rows = values[~incomplete], rows[~incomplete]
    if len(values) < MINIMUM_ROWS:
        raise TableError(
            f"{name} has {len(values)} usable rows and needs at least {MINIMUM_ROWS}. "
            + " ".join(f"({note})" for note in notes)
        )

    constant = (values == values[:1]).all(axis=0)
    for column in np.flatnonzero(constant):
        notes.append(f"column {columns[column]!r} dropped: it is {values[0, column]:g} in all rows")
    values, columns = (
        values[:, ~constant],
        [c for c, k in zip(columns, constant, strict=True) if not k],
    )
    if not columns:
        raise TableError(f"{name} has no numeric column that varies. " + " ".join(notes))

    copies = len(values) - len(np.unique(values, axis=0))
    if copies:
        notes.append(
            f"{copies} rows are exact copies of another and were kept; where a row is left "
            "out, its copies are left out with it"
        )
    discrete = np.array([len(np.unique(column)) < DISCRETE_BELOW for column in values.T])
    return Table(name, values, tuple(columns), rows, discrete, notes, rows_read)


def _read_csv(path: Path):
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise TableError(f"{path} is not UTF-8 text: {error}") from error
    if not text.strip():
        raise TableError(f"{path} is empty")
    delimiter = max(",;\t", key=text.splitlines()[0].count)
    lines = [line for line in csv.reader(text.splitlines(), delimiter=delimiter) if line]
    header = lines[0]
    if all(_number(cell) is not None for cell in header):
        header, body = [f"column_{i + 1}" for i in range(len(header))], lines
    else:
        header, body = (
            [cell.strip() or f"column_{i + 1}" for i, cell in enumerate(header)],
            lines[1:],
        )
    for i, line in enumerate(body):
        if len(line) != len(header):
            raise TableError(
                f"{path}: data row {i + 1} has {len(line)} fields; the first line has {len(header)}"
            )
    notes, kept, names = [], [], []
    for name, cells in zip(
        _unique(header), zip(*body, strict=True) if body else [()] * len(header), strict=True
    ):
        numbers = [_number(cell) for cell in cells]
        present = [cell for cell in cells if cell.strip().lower() not in MISSING]
        text_cells = [
            c
            for c, v in zip(cells, numbers, strict=True)
            if v is None and c.strip().lower() not in MISSING
        ]
        if text_cells:
            notes.append(
                f"column {name!r} dropped: {len(text_cells)} of its {len(present)} values are text "
                f"(first: {text_cells[0]!r})"
            )
            continue
        kept.append([np.nan if v is None else v for v in numbers])
        names.append(name)
    if not kept:
        raise TableError(f"{path} has no numeric column. " + " ".join(notes))
    return np.array(kept, dtype=np.float64).T.reshape(-1, len(names)), names, notes


def _read_npz(path: Path):
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except (ValueError, OSError, EOFError) as error:
        raise TableError(f"{path} cannot be read as .npz: {error}") from error
    names = arrays.pop("columns", None)
    data = arrays.get("data")
    if data is None and len(arrays) == 1:
        data = next(iter(arrays.values()))
    if data is None and arrays and all(a.ndim == 1 for a in arrays.values()):
        if len({len(a) for a in arrays.values()}) == 1:
            names, data = np.array(list(arrays)), np.stack(list(arrays.values()), 1)
    if data is None:
        shapes = {key: a.shape for key, a in arrays.items()}
        raise TableError(
            f"{path} must hold one 2-D array, an array 'data' (and 'columns'), or 1-D arrays of "
            f"one length; it holds {shapes}"
        )
    return _as_table(path, data, names)


def _read_npy(path: Path):
    try:
        return _as_table(path, np.load(path, allow_pickle=False), None)
    except (OSError, EOFError) as error:
        raise TableError(f"{path} cannot be read as .npy: {error}") from error
    except ValueError as error:
        if isinstance(error, TableError):
            raise
        raise TableError(f"{path} cannot be read as .npy: {error}") from error


def _as_table(path, data, names):
    if data.ndim != 2 or not (np.issubdtype(data.dtype, np.number) and not np.iscomplexobj(data)):
        raise TableError(
            f"{path} must hold a 2-D array of numbers; it holds shape {data.shape}, {data.dtype}"
        )
    if names is None:
        names = [f"column_{i + 1}" for i in range(data.shape[1])]
    if len(names) != data.shape[1]:
        raise TableError(f"{path}: {len(names)} names in 'columns' for {data.shape[1]} columns")
    return data.astype(np.float64), _unique([str(name) for name in names]), []


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _unique(names: list[str]) -> list[str]:
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return result
