"""Make a table usable, saying everything that was dropped; refuse one with too little left."""

from dataclasses import dataclass, field

import numpy as np

MINIMUM_ROWS = 50
# A column of fewer distinct values than this is counted, not measured: a density over it is
# infinite at each value.
DISCRETE_BELOW = 15
# Beyond these the square of a value, and with it the variance, leaves the range of 64 bits.
LARGEST, SMALLEST_RANGE = 1e100, 1e-100
# A value this many times further from the median than half the rows are is pointed out.
FAR = 1e4


class TableError(ValueError):
    """The table cannot be judged; the message says why and what would help."""


class CallError(ValueError):
    """An argument is wrong, whatever the table holds; the message says what it must be."""


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


def clean(name: str, values: np.ndarray, columns: list[str], notes: list[str]) -> Table:
    """Drop what no estimator can use and say so; refuse a table with too little left."""
    notes = list(notes)
    rows_read = len(values)
    if rows_read < MINIMUM_ROWS:
        raise TableError(f"{name} has {counted(rows_read, 'row')} and needs {MINIMUM_ROWS}")
    values = np.where(np.isfinite(values), values, np.nan)
    rows = np.arange(1, rows_read + 1)

    share = np.isnan(values).mean(axis=0)
    values, columns = _keep(
        values,
        columns,
        notes,
        [None if s <= 0.5 else f"{s:.0%} of its values are missing or not finite" for s in share],
    )

    gaps = np.isnan(values)
    if gaps.any():
        incomplete = gaps.any(axis=1)
        where = ", ".join(
            f"{show(columns[i])} ({gaps[:, i].sum()})" for i in np.flatnonzero(gaps.any(axis=0))
        )
        notes.append(
            f"{incomplete.sum()} of {counted(rows_read, 'row')} dropped: a value is missing or not "
            f"finite in {where}"
        )
        values, rows = values[~incomplete], rows[~incomplete]
    if len(values) < MINIMUM_ROWS:
        raise TableError(
            f"{name} has {counted(len(values), 'usable row')} and needs {MINIMUM_ROWS}"
            f"{because(notes)}"
        )

    values, columns = _keep(values, columns, notes, [_unusable(column) for column in values.T])
    if not columns:
        raise TableError(f"{name} has no numeric column that varies{because(notes)}")

    for column, cells in zip(columns, values.T, strict=True):
        notes.extend(_far(column, cells, rows))
    discrete = np.array([len(np.unique(column)) < DISCRETE_BELOW for column in values.T])
    copies = len(values) - len(np.unique(values, axis=0))
    # Where every column is counted, equal rows are what there is to count.
    if copies and not discrete.all():
        notes.append(
            f"{counted(copies, 'exact copy', 'exact copies')} of other rows: if they are records "
            "repeated by mistake, remove them, for a copy on both sides of a split makes "
            "predictions look better than they are"
        )
    return Table(name, values, tuple(columns), rows, discrete, notes, rows_read)


def show(text: str) -> str:
    """Quoted, and cut where it is long: for messages."""
    return repr(text if len(text) <= 60 else text[:59] + "…")


def _keep(values, columns, notes, reasons):
    """Drop the columns that have a reason to be, and note it."""
    for column, reason in zip(columns, reasons, strict=True):
        if reason is not None:
            notes.append(f"column {show(column)} dropped: {reason}")
    kept = [i for i, reason in enumerate(reasons) if reason is None]
    return values[:, kept], [columns[i] for i in kept]


def _unusable(cells: np.ndarray) -> str | None:
    low, high = cells.min(), cells.max()
    if low == high:
        rounded = ", rounded to a 64-bit float" if abs(low) >= 2**53 else ""
        return f"it is {low:g} in all rows{rounded}"
    if max(-low, high) > LARGEST:
        return f"its values reach {max(low, high, key=abs):.3g}, whose square overflows; rescale it"
    if high - low < SMALLEST_RANGE:
        return f"it varies by {high - low:.3g} only, whose square underflows; rescale it"
    return None


def _far(name: str, cells: np.ndarray, rows: np.ndarray) -> list[str]:
    """Point out values so far off that means and standard deviations speak of them alone."""
    distance = np.abs(cells - np.median(cells))
    spread = np.median(distance)
    far = distance > FAR * spread
    if spread == 0 or not far.any():
        return []
    first = int(np.argmax(distance))
    return [
        f"column {show(name)} has {counted(int(far.sum()), 'value')} more than {FAR:g} times as "
        f"far from its median as half the rows (row {rows[first]}: {cells[first]:g}): means, "
        "spreads and densities follow it, so remove it if it is an error"
    ]


def counted(n: int, what: str, many: str | None = None) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {many or what + 's'}"


def because(notes: list[str]) -> str:
    more = f"; and {len(notes) - 3} more" if len(notes) > 3 else ""
    return f" ({'; '.join(notes[:3])}{more})" if notes else ""
