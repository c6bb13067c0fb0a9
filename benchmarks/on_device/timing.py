"""Seconds and device memory of calls whose work goes on after they return."""

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

TURNS, MOST_TURNS = 5, 50
SETTLED = 0.5  # seconds of turns after which no more than the least are taken


class Budget:
    """Seconds that a piece of work may use.

    Args:
        seconds: how many.
        clock: what tells the time.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.perf_counter):
        self.clock, self.end = clock, clock() + seconds

    @property
    def left(self) -> float:
        """Seconds that are left, zero at least."""
        return max(self.end - self.clock(), 0.0)


class Context(NamedTuple):
    """What a piece is told.

    Attributes:
        tiny: whether to rehearse at tiny sizes.
        peers: who does the same work beside us.
        budget: the time for it.
    """

    tiny: bool
    peers: tuple
    budget: Budget


class Jax:
    """How our own calls are waited for and their memory read; peers have the same methods."""

    name = "jax"

    def __init__(self):
        self.before = (0, 0)

    def wait(self, result) -> None:
        """Until the device has it."""
        import jax

        jax.block_until_ready(result)

    def start_memory(self) -> None:
        """What lies there before a contender."""
        self.before = _memory_of_jax()

    def peak(self) -> int | None:
        """Bytes at the peak beyond those before, or None where the mark did not rise.

        The mark is the process's highest and is never set back: a contender that needs less
        than one before it leaves no trace.
        """
        in_use, mark = self.before
        now = _memory_of_jax()[1]
        return now - in_use if now > mark else None


def _memory_of_jax() -> tuple[int, int]:
    import jax

    found = jax.devices()[0].memory_stats() or {}
    return found.get("bytes_in_use", 0), found.get("peak_bytes_in_use", 0)


def timed(call: Callable[[], Any], runtime) -> tuple[Any, dict]:
    """The result of a call, and its times and memory.

    The first call has whatever is compiled in it and stands apart. Then five turns at least,
    more of a short call.
    """
    runtime.start_memory()
    result, first = once(call, runtime)
    turns: list[float] = []
    while len(turns) < TURNS or (sum(turns) < SETTLED and len(turns) < MOST_TURNS):
        result, seconds = once(call, runtime)
        turns.append(seconds)
    return result, {
        "first_call": first,
        "turns": turns,
        "median": statistics.median(turns),
        "memory": runtime.peak(),
    }


def once(call: Callable[[], Any], runtime) -> tuple[Any, float]:
    """Result and seconds of one call, to the end of its work."""
    start = time.perf_counter()
    result = call()
    runtime.wait(result)
    return result, time.perf_counter() - start


def rows_in_time(rows: int, probed: int, seconds: float, allowed: float) -> int:
    """How many rows can have a first call and five turns in the time allowed.

    All, a tenth, a hundredth and so on: not fewer than were probed.

    Args:
        rows: all of them.
        probed: how many were timed.
        seconds: that those took; time is in proportion.
        allowed: seconds.
    """
    chosen = rows
    while chosen > probed and (TURNS + 1) * seconds * chosen / probed > allowed:
        chosen = max(chosen // 10, probed)
    return chosen


def attempt(record: dict, work: Callable[[], dict]) -> dict:
    """The record with what the work says; where it fails, with the error instead."""
    try:
        return {**record, **work()}
    except Exception as error:  # out of memory, no compiler: whatever a library raises
        return {**record, "failed": f"{type(error).__name__}: {error}".splitlines()[0][:200]}
