"""Read a .csv, .npz or .npy file as it stands, saying everything that was changed."""

import csv
import io
import itertools
import os
import re
import unicodedata
from pathlib import Path
from typing import NamedTuple

import numpy as np

from estimators.report._table import CallError, TableError, because, counted, show

MISSING = {"", "na", "n/a", "nan", "null", "none", "?", "-", "."}
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")


class Raw(NamedTuple):
    """A table as it stands in a file.

    Attributes:
        values: `(n, p)` float64, NaN where missing.
        columns: p names.
        notes: what was changed or dropped, a sentence each.
        header: the names of all columns of the file, also of those dropped as text.
    """

    values: np.ndarray
    columns: list[str]
    notes: list[str]
    header: list[str]


def read(path: str | os.PathLike) -> Raw:
    """Read a .csv, .npz or .npy file.

    Raises:
        OSError: if there is no such file, or it may not be read.
        CallError: if its name ends in something else.
        TableError: if the file is not a table of numbers.
    """
    path = Path(path)
    readers = {".csv": _read_csv, ".npz": _read_npz, ".npy": _read_npy}
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; the table must be a file")
    if path.suffix.lower() not in readers:
        raise CallError(f"{path} must end in .csv, .npz or .npy; it ends in {path.suffix!r}")
    content = path.read_bytes()
    if not content:
        raise TableError(f"{path} is empty")
    return readers[path.suffix.lower()](path, content)


def _read_csv(path: Path, content: bytes) -> Raw:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TableError(f"{path} must be UTF-8 text; byte {error.start + 1} is not") from error
    try:
        lines = list(csv.reader(io.StringIO(text, newline=None), delimiter=_delimiter(text)))
    except csv.Error as error:
        raise TableError(f"{path} cannot be read as .csv: {error}") from error
    while lines and not "".join(lines[-1]).strip():
        lines.pop()
    if not lines:
        raise TableError(f"{path} is empty")
    notes: list[str] = []
    filled = [line for line in lines if len(line) > 1 or "".join(line).strip()]
    if len(filled) < len(lines):
        notes.append(f"{counted(len(lines) - len(filled), 'blank line')} skipped")
    if _is_header(filled[0]):
        first, *body = filled
        numbers = [cell for cell in first if cell.strip() and _number(cell) is not None]
        if numbers and len(numbers) < len(first):
            notes.append(
                f"the first line was read as names, though {counted(len(numbers), 'field')} of it "
                f"({', '.join(numbers[:3])}{', …' * (len(numbers) > 3)}) could be data"
            )
        header = _names(first, len(first), notes)
    else:
        body = filled
        header = _names(None, len(body[0]), notes)
        notes.append(
            f"no header: the first line ({', '.join(body[0][:3])}{', …' * (len(header) > 3)}) is "
            "numbers and was read as data; columns are named column_1 and so on"
        )
    for i, line in enumerate(body):
        if len(line) != len(header):
            raise TableError(
                f"{path}: data row {i + 1} has {counted(len(line), 'field')}; the first line has "
                f"{len(header)}"
            )
    if not body:
        raise TableError(f"{path} has a header and no rows")
    kept, columns = [], []
    for name, cells in zip(header, zip(*body, strict=True), strict=True):
        numbers = [_number(cell) for cell in cells]
        text_cells = [c for c, v in zip(cells, numbers, strict=True) if v is None]
        if text_cells:
            present = sum(not _is_missing(cell) for cell in cells)
            comma = _DECIMAL_COMMA.fullmatch(text_cells[0].strip())
            notes.append(
                f"column {show(name)} dropped: {len(text_cells)} of its "
                f"{counted(present, 'value')} {'is' if len(text_cells) == 1 else 'are'} text "
                f"(first: {show(text_cells[0])}"
                f"{'; decimal commas are not read, write points' if comma else ''})"
            )
            continue
        kept.append(numbers)
        columns.append(name)
    if not kept:
        raise TableError(f"{path} has no numeric column{because(notes)}")
    return Raw(np.array(kept, dtype=np.float64).T, columns, notes, header)


def _delimiter(text: str) -> str:
    """The one that cuts the first lines into equally many fields; a comma where none does."""
    first = {}
    for delimiter in "\t;,":
        lines = (
            line
            for line in csv.reader(io.StringIO(text, newline=None), delimiter=delimiter)
            if line
        )
        widths = [len(line) for line in itertools.islice(lines, 10)]
        if widths and widths[0] > 1 and len(set(widths)) == 1:
            return delimiter
        first[delimiter] = widths[0] if widths else 0
    return max(",;\t", key=lambda delimiter: first[delimiter])


def _is_header(cells: list[str]) -> bool:
    """Whether a first line names columns: it holds text, or a table writer's 0, 1, 2, ..."""
    if any(_number(cell) is None for cell in cells):
        return True
    numbered = [str(i) for i in range(len(cells) - 1)]
    return len(cells) > 1 and not cells[0].strip() and [c.strip() for c in cells[1:]] == numbered


def _read_npz(path: Path, content: bytes) -> Raw:
    if not content.startswith(b"PK"):
        raise TableError(f"{path} is not an .npz file: it does not start as one")

    def load():
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            return {key: file[key] for key in file.files}

    arrays = _loaded(path, load)
    notes: list[str] = []
    names = arrays.get("columns")
    if names is not None and names.dtype.kind in "SU":
        del arrays["columns"]
        if names.ndim != 1:
            raise TableError(f"{path}: 'columns' must be a list of names; it has {names.ndim} axes")
        names = np.char.decode(names, "utf-8", "replace") if names.dtype.kind == "S" else names
    else:
        names = None
    data = arrays.get("data")
    if data is None and len(arrays) == 1:
        data = next(iter(arrays.values()))
    if data is not None:
        unread = [key for key, array in arrays.items() if array is not data]
        if unread:
            notes.append(f"not read: {', '.join(map(show, unread))}, beside the array 'data'")
    elif (
        arrays
        and names is None
        and all(getattr(a, "ndim", None) == 1 and a.dtype.kind in "iuf" for a in arrays.values())
        and len({len(a) for a in arrays.values()}) == 1
    ):
        names, data = list(arrays), np.stack(list(arrays.values()), 1)
    if data is None:
        holds = "; ".join(f"{show(key)}, {_kind(array)}" for key, array in arrays.items())
        raise TableError(
            f"{path} must hold one 2-D array, an array 'data' (and 'columns'), or 1-D arrays of "
            f"numbers of one length; it holds {holds or 'nothing'}"
        )
    return _as_table(path, data, names, notes)


def _read_npy(path: Path, content: bytes) -> Raw:
    if not content.startswith(b"\x93NUMPY"):
        raise TableError(f"{path} is not an .npy file: it does not start as one")
    array = _loaded(path, lambda: np.load(io.BytesIO(content), allow_pickle=False))
    return _as_table(path, array, None, [])


def _loaded(path, load):
    try:
        return load()
    except Exception as error:  # a broken file can raise anything, from zlib to the parser
        why = str(error) or type(error).__name__
        if "allow_pickle" in why:
            why = "it holds Python objects (pickle), which can run code; save numbers only"
        raise TableError(f"{path} cannot be read as {path.suffix}: {why}") from error


def _as_table(path, data, names, notes) -> Raw:
    if getattr(data, "ndim", None) != 2 or data.dtype.kind not in "iuf":
        raise TableError(f"{path} must hold a 2-D array of numbers; it holds {_kind(data)}")
    if names is not None and len(names) != data.shape[1]:
        raise TableError(
            f"{path}: 'columns' must name the {counted(data.shape[1], 'column')}; it holds "
            f"{counted(len(names), 'name')}"
        )
    named = _names(names, data.shape[1], notes)
    with np.errstate(over="ignore"):  # beyond 64 bits: infinite, and then said to be missing
        return Raw(data.astype(np.float64), named, notes, named)


def _kind(array) -> str:
    if isinstance(array, np.ndarray):
        return f"an array of shape {array.shape} and type {array.dtype}"
    return "something else"


def _is_missing(cell: str) -> bool:
    return cell.strip().lower() in MISSING


def _number(cell: str) -> float | None:
    """The number in a cell, NaN where it is missing, None where it is text."""
    if _is_missing(cell):
        return float("nan")
    try:
        return float("text" if "_" in cell else cell)  # Python, not a table, reads 1_000
    except ValueError:
        return None


def _names(given, count: int, notes: list[str]) -> list[str]:
    """Printable names, each once; what had to be changed is noted. None: number the columns."""
    result: list[str] = []
    for i in range(count):
        name = f"column_{i + 1}" if given is None else str(given[i])
        name = "".join(" " if unicodedata.category(c) in ("Cc", "Cs") else c for c in name)
        name = " ".join(name.split())
        if not name:
            name = f"column_{i + 1}"
            notes.append(f"column {i + 1} has no name and is called {name!r}")
        free = name
        for again in itertools.count(2):
            if free not in result:
                break
            free = f"{name} ({again})"
        if free != name:
            notes.append(f"column {i + 1} is called {show(free)}: another is named {show(name)}")
        result.append(free)
    return result
