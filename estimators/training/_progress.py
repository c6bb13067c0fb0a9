"""Progress, reported by the host between chunks."""

import io
import sys
import time
from collections.abc import Callable
from typing import NamedTuple


class Report(NamedTuple):
    """What a progress callable receives after each chunk.

    Attributes:
        step: updates made so far.
        steps: updates asked for.
        loss: the last training loss.
        validation_loss: the last validation loss; None without validation data.
        rate: updates per second in this run, compilation left out where it can be.
        seconds_left: at that rate, until `steps`; None while it is not known.
        status: "running" or, in the last report, why training ended.
    """

    step: int
    steps: int
    loss: float
    validation_loss: float | None
    rate: float | None
    seconds_left: float | None
    status: str


class Clock:
    """Measures the rate of steps since the end of the first chunk, which compiles."""

    def __init__(self):
        self._started: tuple[float, int] | None = None

    def read(self, step: int, steps: int) -> tuple[float | None, float | None]:
        """Updates per second, and seconds until `steps`."""
        now = time.monotonic()
        if self._started is None:
            self._started = now, step
        elapsed, done = now - self._started[0], step - self._started[1]
        if done <= 0 or elapsed <= 0:
            return None, None
        return done / elapsed, (steps - step) * elapsed / done


class Printer:
    """Prints progress to a stream: steps done, losses, rate, time left.

    On a terminal it overwrites one line, at most ten times a second. Elsewhere, in a log say,
    it prints a line every `seconds` and one at the end.

    Args:
        stream: a text stream; None means `sys.stderr`.
        seconds: between lines where the stream is no terminal.

    Example:
        >>> import sys
        >>> from estimators.training import Printer, Report
        >>> Printer(sys.stdout)(Report(200, 200, 0.25, None, 800.0, 0.0, "finished"))
        step 200/200  loss 0.25  800 steps/s  finished
    """

    def __init__(self, stream: io.TextIOBase | None = None, *, seconds: float = 30.0):
        self._stream = sys.stderr if stream is None else stream
        self._terminal = self._stream.isatty()
        self._every = 0.1 if self._terminal else seconds
        self._printed = time.monotonic()
        self._width = 0

    def __call__(self, report: Report) -> None:
        """Print `report`, if it is time to."""
        running = report.status == "running"
        if running and time.monotonic() - self._printed < self._every:
            return
        self._printed = time.monotonic()
        line = describe(report)
        if self._terminal:
            # Blanks cover what a longer line left behind.
            padded = line.ljust(self._width)
            self._width = len(line)
            self._stream.write(f"\r{padded}" + ("" if running else "\n"))
        else:
            self._stream.write(line + "\n")
        self._stream.flush()


def describe(report: Report) -> str:
    """One line of text."""
    parts = [f"step {report.step}/{report.steps}", f"loss {report.loss:.6g}"]
    if report.validation_loss is not None:
        parts.append(f"validation {report.validation_loss:.6g}")
    if report.rate is not None:
        digits = 1 if report.rate < 100 else 0
        parts.append(f"{report.rate:,.{digits}f} steps/s")
    if report.status != "running":
        parts.append(report.status)
    elif report.seconds_left is not None:
        minutes, seconds = divmod(round(report.seconds_left), 60)
        hours, minutes = divmod(minutes, 60)
        parts.append(f"{hours}:{minutes:02d}:{seconds:02d} left")
    return "  ".join(parts)


def as_progress(progress: bool | Callable | None) -> Callable[[Report], object]:
    """The callable that `progress=` stands for."""
    if progress is None or progress is False:
        return lambda report: None
    if progress is True:
        return Printer()
    if not callable(progress):
        raise ValueError(
            f"progress must be None, True or a callable that takes a Report; got {progress!r}"
        )
    return progress
