"""What is compared: a task, the sizes it is done at, and who does it.

A file of `benchmarks.cases` is a list `CASES`. Everything that a contender needs is imported in
its own functions, because its process must not load the libraries of the others.
"""

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

OURS, ROOFLINE, EXACT = "estimators", "roofline", "exact"
# Not libraries, but processes all the same: the machine's bound, and the reference values.
HELPERS = (ROOFLINE, EXACT)


class Library(NamedTuple):
    """Where a library is looked for.

    Attributes:
        module: what is imported.
        package: what is installed, and has a version.
        heavy: whether the extra `benchmarks` leaves it out.
    """

    module: str
    package: str
    heavy: bool = False


LIBRARIES = {
    OURS: Library("estimators", "estimators"),
    "numpy": Library("numpy", "numpy"),
    "scipy": Library("scipy", "scipy"),
    "jax.numpy": Library("jax", "jax"),
    "jax.scipy": Library("jax", "jax"),
    "scikit-learn": Library("sklearn", "scikit-learn"),
    "scoringrules": Library("scoringrules", "scoringrules"),
    "MAPIE": Library("mapie", "mapie"),
    "crepes": Library("crepes", "crepes"),
    "puncc": Library("deel.puncc", "puncc"),
    "TorchCP": Library("torchcp", "torchcp", heavy=True),
    "KeOps": Library("pykeops", "pykeops", heavy=True),
}


def is_installed(library: str) -> bool:
    """Whether a library is here, found without importing it."""
    module = LIBRARIES[library].module if library in LIBRARIES else library
    try:
        return library in HELPERS or importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package around the module is absent
        return False


def version_of(library: str) -> str:
    """The version of an installed library, or nothing."""
    package = LIBRARIES[library].package if library in LIBRARIES else library
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


class Contender(NamedTuple):
    """One way to do the work.

    Attributes:
        library: a name of `LIBRARIES`, the name of a module, or one of `HELPERS`.
        prepare: `prepare(data)` gives a call without arguments, which is what is timed.
        dtype: type of the numbers, "float32" or "float64"; JAX runs with that default.
        tolerance: largest difference from the reference that counts as the same work.
        variant: said beside the library's name where it stands for more than one form.
        outcome: `outcome(result)` gives the numbers that are compared; it is not timed.
    """

    library: str
    prepare: Callable[[Mapping[str, Any]], Callable[[], Any]]
    dtype: str = "float64"
    tolerance: float = 1e-9
    variant: str = ""
    outcome: Callable[[Any], Any] = np.asarray

    @property
    def label(self) -> str:
        """Name in the tables, without the type."""
        return f"{self.library}, {self.variant}" if self.variant else self.library


class Growth(NamedTuple):
    """Sizes at which the first contender is timed alone.

    Attributes:
        axis: the size that grows.
        values: what it grows through.
        sizes: the other sizes.
    """

    axis: str
    values: tuple[int, ...]
    sizes: Mapping[str, int]


@dataclass(frozen=True)
class Case:
    """A task, and who does it.

    Attributes:
        name: a few words.
        work: what is done, in a sentence; it is printed under the table.
        data: `data(**sizes)`, arrays by name, from a fixed seed: alike in every process.
        sizes: every setting that is compared.
        quick: sizes for a trial.
        contenders: the first is of `estimators`; a contender "exact" gives the reference, else
            the first does.
        bound: what the roofline is, or why there is none.
        compared: what the difference is of, with its unit.
        growth: sizes at which the first contender is timed alone.
    """

    name: str
    work: str
    data: Callable[..., Mapping[str, Any]]
    sizes: tuple[Mapping[str, int], ...]
    quick: Mapping[str, int]
    contenders: tuple[Contender, ...]
    bound: str
    compared: str
    growth: tuple[Growth, ...] = ()


def load(module: str) -> dict[str, Case]:
    """The cases of a module, by name."""
    return {case.name: case for case in importlib.import_module(module).CASES}


def described(sizes: Mapping[str, int]) -> str:
    """`n = 10 000, d = 2`."""
    return ", ".join(f"{key} = {grouped(value)}" for key, value in sizes.items())


def grouped(value: int) -> str:
    """Thousands apart."""
    return f"{value:,}".replace(",", " ")
