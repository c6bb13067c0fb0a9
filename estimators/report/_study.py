"""What every section of the report is given: the table, its split, the truth, progress."""

import sys
import time
from dataclasses import dataclass, field

import jax
import numpy as np

from estimators.data import MixtureTruth
from estimators.report._table import Table


@dataclass(frozen=True)
class Study:
    """A table under study.

    Attributes:
        table: the cleaned table.
        target: index of the column to predict, or None.
        coverage: coverage asked of every interval.
        seed: the one source of randomness.
        truth: the law of the table, where it is known.
    """

    table: Table
    target: int | None
    coverage: float
    seed: int
    truth: MixtureTruth | None = None

    def key(self, purpose: str) -> jax.Array:
        """A key for one purpose: sections do not share randomness, or depend on their order."""
        return jax.random.fold_in(jax.random.key(self.seed), _stable_hash(purpose))

    def generator(self, purpose: str) -> np.random.Generator:
        """The same, for numpy."""
        return np.random.default_rng((self.seed, _stable_hash(purpose)))

    def split(self, purpose: str, n: int, *shares: float) -> list[np.ndarray]:
        """Random disjoint sets of the numbers below n: of the given shares, and the rest."""
        ends = np.cumsum([round(share * n) for share in shares])
        order = self.generator(purpose).permutation(n)
        return [np.sort(part) for part in np.split(order, ends)]


@dataclass
class Progress:
    """One line on stderr for each step: what runs, and how long it took."""

    total: int
    quiet: bool = False
    done: int = 0
    started: float = field(default_factory=time.perf_counter)

    def step(self, what: str) -> None:
        """Announce the next step."""
        if not self.quiet:
            elapsed = time.perf_counter() - self.started
            print(
                f"[{elapsed:5.1f} s] {self.done + 1}/{self.total} {what}",
                file=sys.stderr,
                flush=True,
            )
        self.done += 1

    def finish(self) -> None:
        """Say that all is done."""
        if not self.quiet:
            print(f"[{time.perf_counter() - self.started:5.1f} s] done", file=sys.stderr)


class Skipped(Exception):
    """A section has nothing to say of this table; the message says why."""


def mean_and_error(values) -> tuple[float, float]:
    """Mean over rows and its standard error; of infinite values, infinity and NaN."""
    values = np.asarray(values, np.float64)
    if not np.isfinite(values).all():
        return float(values.mean()), float("nan")
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


def _stable_hash(text: str) -> int:
    value = 2166136261
    for byte in text.encode():
        value = (value ^ byte) * 16777619 % 2**32
    return value
