"""A run of many processes: enter it, leave it together, end it when one of them is lost."""

import atexit
import contextlib
import os
from collections.abc import Iterator

from estimators._core import checks
from estimators.sharding._join import ADDRESS, COUNT, INDEX, join
from estimators.sharding._watch import leave


@contextlib.contextmanager
def processes(
    address: str | None = None,
    count: int | None = None,
    index: int | None = None,
    *,
    timeout: int = 60,
) -> Iterator[int]:
    """Run a block as one of many processes, by `jax.distributed`.

    Every process runs the same script and enters the block; inside, `jax.devices()` are those of
    all. They must compute the same things in the same order. At the end they wait for each other.

    What is not given is read from the environment (`ESTIMATORS_ADDRESS`,
    `ESTIMATORS_PROCESS_COUNT`, `ESTIMATORS_PROCESS_INDEX`), or asked of what JAX knows of the
    cluster (Slurm, Open MPI, Kubernetes, Cloud TPU). Where all three are known, a process has all
    devices of its machine, unless `JAX_LOCAL_DEVICE_IDS` says which.

    Args:
        address: host and port of process 0, where the others reach it.
        count: the number of processes; with 1 nothing is started, and nothing else is needed.
        index: which one this is, from 0.
        timeout: in seconds; by then all must have joined, and a process that is silent for so
            long counts as lost.

    Yields:
        The index of this process.

    Raises:
        ValueError: for an address without a port, an index out of range, or if something is
            missing and no cluster is found.
        RuntimeError: if JAX has computed already, a run was joined before, the port is taken, or
            process 0 cannot be reached in time.

    A process that fails or is lost ends the run: the others say on stderr which one it was and
    exit with code 1, from the middle of whatever they do. An exception that leaves the block is
    raised as usual, and its process exits with 1 in the end. Where process 0 was killed, the
    runtime may be quicker, and abort the others with a message of its own (SIGABRT, 134 to a
    shell). SIGTERM ends a process, which under a bare `jax.distributed.initialize` it does not.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import sharding
        >>> with sharding.processes(count=1) as index:  # on a cluster: sharding.processes()
        ...     print(index, sharding.split(jnp.arange(3.0)).shape)
        0 (3,)

    When it fails: a process that stops without an end (a deadlock of its own, a debugger) still
    gives signs of life, and the others wait for it.
    """
    timeout = checks.integer("timeout", timeout, at_least=1)
    address, count, index = _known(address, count, index)
    if count == 1:
        yield 0
        return
    watch = join(address, count, index, timeout)
    try:
        try:
            yield watch.index
        except SystemExit as error:
            if not error.code:
                watch.finish()
            raise
        watch.finish()
    except BaseException as error:
        if watch.over.is_set():
            raise
        code = error.code if isinstance(error, SystemExit) else 1
        # Before JAX's own handler, which would wait for the other processes.
        atexit.register(leave, code if isinstance(code, int) else 1)
        loss = watch.failure(error)
        if loss is None:
            raise
        raise loss from error


def _known(address, count, index) -> tuple[str | None, int | None, int | None]:
    """The arguments, completed by the environment and checked."""
    address = os.environ.get(ADDRESS) if address is None else address
    count = _number(COUNT) if count is None else count
    index = _number(INDEX) if index is None else index
    if address is not None:
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ValueError(
                f"address must be host:port of process 0, such as 10.0.0.1:9876; got {address!r}"
            )
    if count is not None:
        count = checks.integer("count", count, at_least=1)
    if index is not None:
        index = checks.integer("index", index, at_least=0)
        if count is not None and index >= count:
            raise ValueError(
                f"index must be less than count={count}, since the first is 0; got {index}"
            )
    return address, count, index


def _number(name: str) -> int | None:
    text = os.environ.get(name)
    if text is None:
        return None
    if not text.isdecimal():
        raise ValueError(f"{name} must be a whole number; the environment has {text!r}")
    return int(text)
