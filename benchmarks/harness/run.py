"""The driver: every library once, then all again; outputs compared before any ratio."""

import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks.harness.case import (
    EXACT,
    HELPERS,
    OURS,
    Case,
    Contender,
    Growth,
    is_installed,
    load,
)
from benchmarks.harness.process import Process, WorkerError
from benchmarks.harness.progress import Progress

GROWTH_TURNS = 3
LIMIT = 300.0


class Driver:
    """Workers that live from the first case to the last.

    Args:
        repeat: turns of each contender.
        progress: told of every step.
        path: folders beyond the repository in which case modules are looked for.
        limit: seconds after which a call is given up.
    """

    def __init__(
        self, repeat: int, progress: Progress, path: tuple[Path, ...] = (), limit: float = LIMIT
    ):
        self.repeat, self.progress, self.path, self.limit = repeat, progress, path, limit
        self.folder = tempfile.TemporaryDirectory()
        self.workers: dict[str, Process] = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for worker in self.workers.values():
            worker.close()
        self.folder.cleanup()

    def worker(self, library: str) -> Process:
        """The library's process, started anew where the last one ended."""
        found = self.workers.get(library)
        if found is None or not found.is_alive:
            folder = Path(self.folder.name)
            found = Process(library, folder, self.limit, self.path)
            self.workers[library] = found
            found.ask("wake")
        return found

    def case(self, module: str, case: Case, sizes: Mapping[str, int]) -> dict:
        """Run one case at one setting: a record for the JSON file."""
        runs = [Run(self, module, case, sizes, i) for i in range(len(case.contenders))]
        started = time.perf_counter()
        for run in runs:
            self.progress.step(f"{run.contender.label} {run.contender.dtype}: first call")
            run.prepare()
        _compare(runs)
        for turn in range(self.repeat):
            for run in runs:
                self.progress.step(
                    f"{run.contender.label} {run.contender.dtype}: turn {turn + 1} of {self.repeat}"
                )
                run.turn()
        for run in runs:
            run.memory()
        self._drop()
        return {
            "case": case.name,
            "work": case.work,
            "sizes": dict(sizes),
            "bound": case.bound,
            "compared": case.compared,
            "contenders": [run.record() for run in runs if run.contender.library != EXACT],
            "seconds": time.perf_counter() - started,
        }

    def growth(self, module: str, case: Case, growth: Growth) -> dict:
        """Time the first contender at growing sizes: a record for the JSON file."""
        started = time.perf_counter()
        points = []
        for value in growth.values:
            self.progress.step(f"{growth.axis} = {value}")
            run = Run(self, module, case, {**growth.sizes, growth.axis: value}, 0)
            run.prepare()
            run.numbers["equal"] = True  # it is alone
            for _ in range(min(self.repeat, GROWTH_TURNS)):
                run.turn()
            run.memory()
            self._drop()
            record = run.record()
            kept = ("failed", "first_call", "turns", "median", "least", "most", "memory")
            points.append({"value": value, **{k: record[k] for k in kept if k in record}})
        return {
            "case": case.name,
            "axis": growth.axis,
            "sizes": {k: v for k, v in growth.sizes.items() if k != growth.axis},
            "dtype": case.contenders[0].dtype,
            "points": points,
            "seconds": time.perf_counter() - started,
        }

    def _drop(self):
        for worker in self.workers.values():
            if worker.is_alive:
                try:
                    worker.ask("drop")
                except WorkerError:
                    worker.close()


class Run:
    """A contender in a case: its process, its times, and what became of it."""

    def __init__(self, driver: Driver, module: str, case: Case, sizes, index: int):
        self.driver, self.index = driver, index
        self.contender: Contender = case.contenders[index]
        self.request = {"module": module, "case": case.name, "sizes": dict(sizes)}
        self.numbers: dict = {}
        self.seconds: list[float] = []
        self.outcome: np.ndarray | None = None
        self.installed = is_installed(self.contender.library)
        self.failed = "" if self.installed else "not installed"

    @property
    def is_timed(self) -> bool:
        """Whether it is there, works, is a contender, and does the same work."""
        same = self.contender.library in HELPERS or self.numbers.get("equal", False)
        return not self.failed and self.contender.library != EXACT and same

    def ask(self, do: str, **request) -> dict:
        """Ask the worker; what fails once is not asked again."""
        if self.failed:
            return {}
        try:
            worker = self.driver.worker(self.contender.library)
            return worker.ask(do, contender=self.index, **request)
        except WorkerError as error:
            self.failed = str(error)
            return {}

    def prepare(self):
        """The first call, with whatever is compiled in it."""
        reply = self.ask("prepare", **self.request)
        if reply:
            path = reply.pop("outcome")
            self.outcome = np.load(path) if path else None
            self.numbers.update(reply)

    def turn(self):
        """One turn."""
        if self.is_timed:
            reply = self.ask("time")
            if reply:
                self.seconds.append(reply["seconds"])

    def memory(self):
        """The memory of a call."""
        if self.is_timed:
            self.numbers["memory"] = self.ask("memory").get("bytes")

    def record(self) -> dict:
        """What the JSON file keeps."""
        contender = self.contender
        result: dict = {
            "library": contender.library,
            "label": contender.label,
            "dtype": contender.dtype,
        }
        if self.failed:
            return {**result, "installed": self.installed, "failed": self.failed}
        if contender.library not in HELPERS:
            result["tolerance"] = contender.tolerance
        result |= self.numbers
        if self.seconds:
            result["turns"] = self.seconds
            result["median"] = statistics.median(self.seconds)
            result["least"], result["most"] = min(self.seconds), max(self.seconds)
        return result


def _compare(runs: list[Run]) -> None:
    """Write beside every output how far it is from the reference, and whether that is near."""
    outcomes = {run: run.outcome for run in runs if run.outcome is not None}
    exact = [run for run in outcomes if run.contender.library == EXACT]
    ours = [run for run in outcomes if run.contender.library == OURS]
    ours.sort(key=lambda run: run.contender.dtype, reverse=True)  # float64 before float32
    reference = next(iter(exact + ours), None)
    for run, outcome in outcomes.items():
        if reference is None or run.contender.library in HELPERS:
            continue
        gap = difference(outcome, outcomes[reference])
        run.numbers["difference"] = gap if np.isfinite(gap) else None
        run.numbers["equal"] = bool(gap <= run.contender.tolerance)


def difference(values: np.ndarray, reference: np.ndarray) -> float:
    """Largest absolute difference; infinite where shapes, infinities or NaN disagree.

    A reference of fewer rows stands for the first rows of the values.
    """
    if values.ndim and reference.ndim and values.shape[1:] == reference.shape[1:]:
        values = values[: len(reference)]
    if values.shape != reference.shape:
        return float("inf")
    with np.errstate(invalid="ignore"):
        gap = np.where(values == reference, 0.0, np.abs(values - reference))
    return float(np.where(np.isnan(gap), np.inf, gap).max(initial=0.0))


def settings(case: Case, quick: bool) -> tuple[Mapping[str, int], ...]:
    """The sizes at which a case runs."""
    return (case.quick,) if quick else case.sizes


def growths(case: Case, quick: bool) -> tuple[Growth, ...]:
    """The growth of a case; for a trial three doublings of its smallest sizes."""
    if not quick:
        return case.growth
    return tuple(
        Growth(g.axis, tuple(case.quick[g.axis] * k for k in (1, 2, 4)), case.quick)
        for g in case.growth
    )


def family(driver: Driver, module: str, quick: bool = False) -> dict:
    """Every case and every growth of a module: records for the JSON file."""
    cases, curves = [], []
    for case in load(module).values():
        for sizes in settings(case, quick):
            driver.progress.start(f"{case.name}, {dict(sizes)}")
            cases.append(driver.case(module, case, sizes))
            driver.progress.finish()
    for case in load(module).values():
        for growth in growths(case, quick):
            driver.progress.start(f"{case.name}, growth with {growth.axis}")
            curves.append(driver.growth(module, case, growth))
            driver.progress.finish()
    return {"cases": cases, "growth": curves}
