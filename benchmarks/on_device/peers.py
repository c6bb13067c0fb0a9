"""PyTorch and CuPy as the pieces use them: a few functions under one set of names."""

import importlib
from typing import Any

import numpy as np

NAMES = ("torch", "cupy")


class NumpyLike:
    """NumPy, or a library with its names.

    Args:
        module: the library.
        dtype: of every array.
    """

    name, label = "numpy", "numpy"
    selection, sorting = "partition", "sort"

    def __init__(self, module: Any = np, dtype: str = "float32"):
        self.module, self.dtype = module, dtype

    def array(self, values):
        """On the device."""
        return self.module.asarray(np.asarray(values, self.dtype))

    def numpy(self, values) -> np.ndarray:
        """Back."""
        return np.asarray(values)

    def wait(self, result) -> None:
        """Until the device is done."""

    def start_memory(self) -> None:
        """What lies there before a contender."""

    def peak(self) -> int | None:
        """Bytes at the peak beyond those before."""
        return None

    def sum(self, values):
        """Over the last axis."""
        return self.module.sum(values, -1)

    def log(self, values):
        """Of each."""
        return self.module.log(values)

    def stack(self, vectors):
        """As columns."""
        return self.module.stack(vectors, -1)

    def join(self, vectors):
        """End to end."""
        return self.module.concatenate(vectors)

    def log_sum_exp(self, values):
        """Over the last axis."""
        top = self.module.amax(values, -1)
        return top + self.module.log(self.sum(self.module.exp(values - top[..., None])))

    def log_sum_exp_of_products(self, rows, columns, terms):
        """Over the columns, of the products of rows and columns plus a term of each column."""
        return self.log_sum_exp(rows @ columns.T + terms)

    def softmax(self, values):
        """Over the last axis."""
        weights = self.module.exp(values - self.module.amax(values, -1)[..., None])
        return weights / self.sum(weights)[..., None]

    def selected(self, values, rank: int):
        """The value of a rank, counted from one."""
        return self.module.partition(values, rank - 1)[rank - 1]

    def sorted(self, values, rank: int):
        """The same by sorting all."""
        return self.module.sort(values)[rank - 1]


class Cupy(NumpyLike):
    """CuPy, whose products keep full float32 unless its environment says otherwise."""

    name, label = "cupy", "cupy"

    def __init__(self):
        super().__init__(importlib.import_module("cupy"))
        self.module.cuda.runtime.getDeviceCount()  # raises where there is none
        self.before = 0

    def numpy(self, values) -> np.ndarray:
        """Back."""
        return self.module.asnumpy(values)

    def wait(self, result) -> None:
        """Until the device is done."""
        self.module.cuda.Device().synchronize()

    def start_memory(self) -> None:
        """The pool gives back what is free, so that what it then takes is the call's."""
        pool = self.module.get_default_memory_pool()
        pool.free_all_blocks()
        self.before = pool.total_bytes()

    def peak(self) -> int | None:
        """What the pool has taken since: never less than the peak."""
        return self.module.get_default_memory_pool().total_bytes() - self.before


class Torch:
    """PyTorch without TF32; `compiled` puts the block of a log-sum-exp through its compiler."""

    name = "torch"
    selection, sorting = "kthvalue", "sort"

    def __init__(self, device: str, compiled: bool = False):
        torch: Any = importlib.import_module("torch")
        torch.set_float32_matmul_precision("highest")
        torch.set_grad_enabled(False)
        self.module, self.device = torch, device
        self.label = "torch, compiled" if compiled else "torch"
        self.before = 0
        if compiled:
            self.log_sum_exp_of_products = torch.compile(self.log_sum_exp_of_products)

    def array(self, values):
        """On the device."""
        return self.module.asarray(np.asarray(values, "float32"), device=self.device)

    def numpy(self, values) -> np.ndarray:
        """Back."""
        return values.cpu().numpy()

    def wait(self, result) -> None:
        """Until the device is done."""
        if self.device == "cuda":
            self.module.cuda.synchronize()

    def start_memory(self) -> None:
        """What lies there before a contender."""
        if self.device == "cuda":
            self.module.cuda.reset_peak_memory_stats()
            self.before = self.module.cuda.memory_allocated()

    def peak(self) -> int | None:
        """Bytes at the peak beyond those before."""
        if self.device != "cuda":
            return None
        return self.module.cuda.max_memory_allocated() - self.before

    def sum(self, values):
        """Over the last axis."""
        return values.sum(-1)

    def log(self, values):
        """Of each."""
        return values.log()

    def stack(self, vectors):
        """As columns."""
        return self.module.stack(vectors, -1)

    def join(self, vectors):
        """End to end."""
        return self.module.cat(vectors)

    def log_sum_exp(self, values):
        """Over the last axis."""
        return self.module.logsumexp(values, -1)

    def log_sum_exp_of_products(self, rows, columns, terms):
        """Over the columns, of the products of rows and columns plus a term of each column."""
        return self.module.logsumexp(self.module.addmm(terms, rows, columns.T), -1)

    def softmax(self, values):
        """Over the last axis."""
        return self.module.softmax(values, -1)

    def selected(self, values, rank: int):
        """The value of a rank, counted from one."""
        return self.module.kthvalue(values, rank).values

    def sorted(self, values, rank: int):
        """The same by sorting all."""
        return self.module.sort(values).values[rank - 1]


def find(name: str, platform: str) -> tuple[tuple, str]:
    """The forms of a peer on the platform of JAX, and why there are none.

    Args:
        name: one of `NAMES`, or "none".
        platform: "gpu", or "cpu" for a rehearsal.

    Returns:
        The forms, the plain one first, and an empty text; or none and the reason.
    """
    if name == "none":
        return (), ""
    try:
        importlib.import_module(name)
    except ImportError:
        return (), "not installed"
    try:
        if name == "cupy":
            return ((), "not for the CPU") if platform == "cpu" else ((Cupy(),), "")
        device = "cuda" if platform == "gpu" else platform
        forms = Torch(device), Torch(device, compiled=True)
        forms[0].array(np.zeros(1))  # raises where it has no such device
        return forms, ""
    except Exception as error:  # each library has errors of its own for a device that is missing
        return (), f"{type(error).__name__}: {error}".splitlines()[0][:200]
