"""The process of one library: it prepares calls, and runs one each time it is told to.

Lines of JSON come in and go out; what the libraries print goes to standard error.
"""

import contextlib
import gc
import importlib
import json
import os
import statistics
import sys
import time
import traceback
import warnings
from pathlib import Path

import numpy as np

from benchmarks.harness import memory
from benchmarks.harness.case import EXACT, LIBRARIES, OURS, ROOFLINE, load

OF_JAX = (OURS, ROOFLINE, EXACT, "jax.numpy", "jax.scipy")
# A turn is as many calls as fill this many seconds; its time is their median.
TURN, MOST_CALLS = 0.05, 200
# The memory of a call that takes longer is measured in its first turn, not in a call of its own.
LONG = 2.0


class Prepared:
    """A contender with its data, ready to run."""

    def __init__(self, contender, data, folder: Path):
        self.contender = contender
        self.last, self.bytes = 0.0, None
        with self.in_its_precision():
            start = time.perf_counter()
            self.call = contender.prepare(data)
            self.prepare = time.perf_counter() - start
            result, self.first_call = self.once()
            self.outcome = ""
            if contender.library != ROOFLINE:
                self.outcome = str(folder / f"{os.getpid()}-{id(self)}.npy")
                np.save(self.outcome, np.asarray(contender.outcome(result), np.float64))

    def in_its_precision(self):
        """JAX with the default type that the contender names; nothing without JAX."""
        if "jax" not in sys.modules:
            return contextlib.nullcontext()
        return sys.modules["jax"].enable_x64(self.contender.dtype == "float64")

    def once(self):
        """Result and seconds of one call, to the end of its work."""
        start = time.perf_counter()
        result = self.call()
        if "jax" in sys.modules:
            sys.modules["jax"].block_until_ready(result)
        self.last = time.perf_counter() - start
        return result, self.last

    def turn(self) -> float:
        """Seconds of a call, the median over a turn."""
        with self.in_its_precision():
            if self.last >= LONG and self.bytes is None:
                self.bytes = memory.peak(lambda: self.once()[0], warm=False)
                return self.last
            if self.last < TURN:
                self.once()  # others ran meanwhile: wake threads and caches
            seconds = []
            while not seconds or (sum(seconds) < TURN and len(seconds) < MOST_CALLS):
                seconds.append(self.once()[1])
        return statistics.median(seconds)

    def peak(self) -> int | None:
        """Bytes that a call needs at once, beyond what lies there before it."""
        if self.bytes is None:
            with self.in_its_precision():
                self.bytes = memory.peak(lambda: self.once()[0], warm=self.last < LONG)
        return self.bytes


class Worker:
    """Answers one request after the other."""

    def __init__(self, library: str, folder: Path):
        self.library, self.folder = library, folder
        self.prepared: dict[int, Prepared] = {}
        self.data: dict = {}

    def answer(self, request: dict) -> dict:
        """What the request asks for."""
        return getattr(self, request.pop("do"))(**request)

    def wake(self) -> dict:
        """Import the library, so that it is there before any case."""
        start = time.perf_counter()
        if self.library in OF_JAX:
            importlib.import_module("jax")  # before any case, so that each has its precision
        if self.library in LIBRARIES:
            with contextlib.suppress(ImportError):  # a case may know how to go about it
                importlib.import_module(LIBRARIES[self.library].module)
        return {"seconds": time.perf_counter() - start}

    def prepare(self, module: str, case: str, sizes: dict, contender: int) -> dict:
        """Make the data, and call once."""
        entry = load(module)[case]
        key = (module, case, *sizes.items())
        if key not in self.data:
            self.data = {key: entry.data(**sizes)}
        found = Prepared(entry.contenders[contender], self.data[key], self.folder)
        self.prepared[contender] = found
        return {
            "prepare": found.prepare,
            "first_call": found.first_call,
            "outcome": found.outcome,
        }

    def time(self, contender: int) -> dict:
        """One turn."""
        return {"seconds": self.prepared[contender].turn()}

    def memory(self, contender: int) -> dict:
        """The memory of a call."""
        return {"bytes": self.prepared[contender].peak()}

    def drop(self) -> dict:
        """Forget the case."""
        self.prepared, self.data = {}, {}
        if "jax" in sys.modules:
            sys.modules["jax"].clear_caches()
        gc.collect()
        return {}


def main():
    """Answer until the input ends."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # a library that prints does not disturb the replies
    warnings.simplefilter("ignore")
    worker = Worker(sys.argv[1], Path(sys.argv[2]))
    for line in sys.stdin:
        try:
            reply = worker.answer(json.loads(line))
        except Exception as error:  # whatever a library raises is the answer
            traceback.print_exc()
            reply = {"failed": f"{type(error).__name__}: {error}".splitlines()[0][:200]}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
