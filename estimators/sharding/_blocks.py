"""Rows that are read a block at a time: from a mapped file, or from a function that makes them."""

import math
import mmap
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from estimators._core import checks

# What a block holds unless told: with 16 columns of float32 it is 8 MiB, enough for the time of a
# call to vanish beside that of the work. Wide rows come in fewer, as many as make 2^21 numbers.
MOST_ROWS, FEWEST_ROWS, NUMBERS = 1 << 17, 1 << 10, 1 << 21


class Block(NamedTuple):
    """Some rows of many.

    Attributes:
        values: `(size, d)` or `(size,)`, an array of its own in the dtype that estimators compute
            in. All blocks of a source have one size, so that one compiled program serves them;
            the last is filled up with copies of its first row.
        count: how many rows are real.
        start: the number of the first among all rows.
    """

    values: np.ndarray
    count: int
    start: int


class Blocks:
    """Rows that need not fit in memory, for estimators that read them block after block.

    Estimators that say so take it where they take an array, and give the same numbers. They hold
    two or three blocks at a time, and read the source once or more: `KDE.fit` once, and again
    for each call of the fitted density.

    Args:
        source: an array of shape `(n, d)` or `(n,)` that can be sliced: `np.load(file,
            mmap_mode="r")`, a `np.memmap`, an HDF5 dataset, an array in memory. Or a function
            without arguments that returns a fresh iterator of arrays `(k, d)` or `(k,)` at each
            call, of any k, always the same rows: a generator function.
        rows: how many rows a block has at most. None takes 2^17 = 131 072, of rows above 16
            columns fewer (16 MiB of float64), but at least 1024.

    Raises:
        ValueError: if `source` is neither; an iterator, which is used up when it was read once, is
            refused. What the rows hold is checked when they are read: their shape, their dtype,
            and whether they are finite; the message has the number of the row.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import jax, numpy as np
        >>> from estimators import density, sharding
        >>> points = np.asarray(jax.random.normal(jax.random.key(0), (1000, 2)))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(Path(folder) / "points.npy", points)
        ...     mapped = np.load(Path(folder) / "points.npy", mmap_mode="r")
        ...     fitted = density.KDE(0.3).fit(sharding.Blocks(mapped, rows=300))
        ...     value = fitted.log_density(points[:2])
        >>> bool(abs(value - density.KDE(0.3).fit(points).log_density(points[:2])).max() < 1e-5)
        True

    When it fails: where reading is slower than computing, which a network drive or a compressed
    file may be: each pass costs a reading of it all.
    """

    def __init__(self, source: Any, *, rows: int | None = None):
        self.rows = None if rows is None else checks.integer("rows", rows, at_least=1)
        if not checks.is_concrete(source):
            raise ValueError("source must be known; got an array that is being traced by jax")
        if isinstance(source, jax.Array):
            source = np.asarray(source)
        self._function: Callable[[], Any] | None = None
        self._made = None
        if hasattr(source, "shape") and hasattr(source, "dtype") and hasattr(source, "__getitem__"):
            if len(source.shape) not in (1, 2):
                raise ValueError(
                    f"source must have shape (n, d) or (n,); got shape {tuple(source.shape)}"
                )
            self._array = source
        elif callable(source):
            self._array, self._function = None, source
        else:
            hint = ""
            if hasattr(source, "__next__"):
                hint = ", which can be read only once. Pass the function that makes it"
            raise ValueError(
                "source must be an array that can be sliced, or a function without arguments that "
                f"returns an iterator of arrays; got {type(source).__name__}{hint}"
            )

    @property
    def shape(self) -> tuple[int, ...] | None:
        """That of all rows together; None where a function makes them."""
        return None if self._array is None else tuple(map(int, self._array.shape))

    @property
    def dtype(self):
        """That of the source; None where a function makes the rows."""
        return None if self._array is None else self._array.dtype

    def __repr__(self):
        return f"Blocks(shape={self.shape}, dtype={self.dtype}, rows={self.rows})"

    def __array__(self, *_, **__):
        # Without it numpy would make an array of this object, and the message would be about that.
        raise ValueError(
            "Blocks must be read block by block, and cannot be one array: only the estimators that "
            "say so take them. Pass an array, or a sample of the rows"
        )

    def __iter__(self) -> Iterator[Block]:
        return self.read()

    def peek(self, name: str = "source") -> tuple[int, np.dtype]:
        """The number of columns, and the dtype that estimators compute in."""
        if self._array is not None:
            return _row_shape(name, self._array, 2)[0], _dtype(name, self._array.dtype)
        for piece in self._pieces(name, 1):
            return _row_shape(name, piece, 2)[0], _dtype(name, piece.dtype)
        raise ValueError(f"{name} must have at least 1 row; the source gave none")

    def read(
        self,
        name: str = "source",
        *,
        dimensions: int | None = None,
        infinite: bool = False,
        size: int | None = None,
        length: int | None = None,
    ) -> Iterator[Block]:
        """Read all rows once, from the first.

        Args:
            name: what messages call the rows.
            dimensions: 2 for rows `(n, d)`, 1 for numbers `(n,)`; None takes both.
            infinite: whether infinities are allowed. NaN never is.
            size: rows of a block; None chooses.
            length: how many rows there were at an earlier pass.

        Raises:
            ValueError: at the block where it is found, if rows are not of that shape, differ in
                width or dtype, or are not finite; at the end, if there were none, or not `length`.
        """
        first, buffer, row, dtype, start, filled = None, None, (), None, 0, 0
        for piece in self._pieces(name, size):
            if first is None:
                first = piece[:0]
                whole = piece if self._array is None else self._array
                row, dtype = _row_shape(name, whole, dimensions), _dtype(name, piece.dtype)
            _refuse_change(name, piece, first, start + filled)
            while piece.shape[0]:
                if buffer is None:  # a new one each time: jax may still be at the one before
                    buffer = np.empty((self._size(row) if size is None else size, *row), dtype)
                taken = min(buffer.shape[0] - filled, piece.shape[0])
                buffer[filled : filled + taken] = piece[:taken]
                piece, filled = piece[taken:], filled + taken
                if filled == buffer.shape[0]:
                    yield Block(_without_nan(name, buffer, start, infinite), filled, start)
                    buffer, start, filled = None, start + filled, 0
        if buffer is not None and filled:
            if start == 0:  # the only one: nothing else must have its size
                buffer = buffer[:filled].copy()
            buffer[filled:] = buffer[0]
            yield Block(_without_nan(name, buffer, start, infinite), filled, start)
        _check_length(name, start + filled, length)

    def _pieces(self, name: str, size: int | None) -> Iterator[np.ndarray]:
        """The arrays of the source as they come."""
        if self._array is not None:
            size = self._size(self._array.shape[1:]) if size is None else size
            for start in range(0, self._array.shape[0], size):
                yield np.asarray(self._array[start : start + size])
                _release(self._array)
            return
        assert self._function is not None
        made = self._function()
        if not isinstance(made, Iterable) or hasattr(made, "shape"):
            raise ValueError(
                f"{name} must come from a function that returns an iterator of arrays (a generator "
                f"function); it returned {type(made).__name__}"
            )
        if made is self._made and isinstance(made, Iterator):
            raise ValueError(
                f"{name} must come from a function that returns a fresh iterator at each call; it "
                "returned the one of the call before, of which rows were read already"
            )
        self._made = made
        for piece in made:
            yield np.asarray(piece)

    def _size(self, row: tuple[int, ...]) -> int:
        size = self.rows
        if size is None:
            size = min(max(NUMBERS // max(math.prod(row), 1), FEWEST_ROWS), MOST_ROWS)
        if self._array is None:
            return size
        n = max(int(self._array.shape[0]), 1)
        return -(-n // -(-n // size))  # cut evenly: little is filled up


def pipelined(step: Callable, items: Iterable) -> Iterator:
    """`step(*item)` for each item, on the host; the next is read while jax computes the present.

    jax returns before it has computed. What was asked for one item earlier is awaited, so that
    never more than two are under way.
    """
    before = None
    for item in items:
        ahead = step(*item)
        if before is not None:
            yield jax.device_get(before)
        before = ahead
    if before is not None:
        yield jax.device_get(before)


def _row_shape(name: str, piece, dimensions: int | None) -> tuple[int, ...]:
    shape = tuple(piece.shape)
    if dimensions == 2 and len(shape) == 1:
        raise ValueError(
            f"{name} must have shape (n, d), one row a sample; got shape {shape}. Write "
            f"{name}[:, None] for n samples of one variable"
        )
    allowed = (1, 2) if dimensions is None else (dimensions,)
    if len(shape) not in allowed or 0 in shape[1:]:
        wanted = " or ".join("(n,)" if k == 1 else "(n, d) with d >= 1" for k in allowed)
        raise ValueError(f"{name} must have shape {wanted}; got shape {shape}")
    return shape[1:]


def _dtype(name: str, dtype: np.dtype) -> np.dtype:
    """The dtype of computation, by the rules and with the warning of `checks.as_float`."""
    native = np.dtype(dtype).newbyteorder("=")
    return np.dtype(checks.as_float(name, np.zeros(0, native)).dtype)


def _refuse_change(name: str, piece: np.ndarray, first: np.ndarray, at: int) -> None:
    if piece.shape[1:] != first.shape[1:] or piece.ndim != first.ndim:
        wanted = f"(k, {first.shape[1]})" if first.ndim == 2 else "(k,)"
        raise ValueError(
            f"{name} must have blocks of shape {wanted} throughout, as the first was; got shape "
            f"{piece.shape} at row {at}"
        )
    if piece.dtype != first.dtype:
        raise ValueError(
            f"{name} must have one dtype throughout, {first.dtype} as in the first block; got "
            f"{piece.dtype} at row {at}"
        )


def _without_nan(name: str, values: np.ndarray, start: int, infinite: bool) -> np.ndarray:
    bad = np.isnan(values) if infinite else ~np.isfinite(values)
    if bad.any():
        place = tuple(np.argwhere(bad)[0])
        where = ", ".join(map(str, (start + place[0], *place[1:])))
        wanted = "not be NaN" if infinite else "be finite"
        raise ValueError(f"{name} must {wanted}; {name}[{where}] is {values[place]}")
    return values


def _check_length(name: str, found: int, length: int | None) -> None:
    if length is not None and found != length:
        raise ValueError(
            f"{name} must have the same rows at every pass; they were {length} and are {found} "
            "now. A function must make a fresh iterator at each call"
        )
    if found == 0:
        raise ValueError(f"{name} must have at least 1 row; the source gave none")


def _release(source) -> None:
    """Hand back the pages of a mapped file that were read.

    The system would take them when it needs them, but until then they count as memory of this
    process: its size would be that of the file.
    """
    mapped = False
    while isinstance(source, np.ndarray):
        if isinstance(source, np.memmap):
            if source.mode == "c":  # pages written to are nowhere else
                return
            mapped = True
        source = source.base
    if mapped and isinstance(source, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        source.madvise(mmap.MADV_DONTNEED)
