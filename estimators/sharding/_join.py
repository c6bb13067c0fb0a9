"""How a process joins a run: `jax.distributed.initialize`, with words where it would crash."""

import contextlib
import socket
import threading
import time

import jax

from estimators.sharding._watch import SECONDS_MORE, Watch, leave, say

ADDRESS, COUNT, INDEX = (
    "ESTIMATORS_ADDRESS",
    "ESTIMATORS_PROCESS_COUNT",
    "ESTIMATORS_PROCESS_INDEX",
)
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def join(address: str | None, count: int | None, index: int | None, timeout: int) -> Watch:
    """Join the run, and watch over it from then on.

    Args:
        address: as in `processes`; None, like the next two, is left to JAX's own detection.
        count: how many processes.
        index: which one this is.
        timeout: in seconds.
    """
    if jax.distributed.is_initialized():
        raise RuntimeError("processes must be entered once; this process has joined a run already")
    deadline = time.monotonic() + timeout
    detection, listen_at = None, None
    if address is not None and count is not None and index is not None:
        detection = "deactivate"  # it would leave this process one device of its machine
        if _host(address) in LOOPBACK:
            listen_at = address  # and not to the network
        if index == 0:
            _port_is_free(address)
        else:
            _reach(address, deadline)
    left = max(1, round(deadline - time.monotonic()))
    try:
        with _without_preemption_service(), _said_when_late(address, count, left, timeout):
            jax.distributed.initialize(
                address,
                count,
                index,
                cluster_detection_method=detection,
                coordinator_bind_address=listen_at,
                initialization_timeout=left + SECONDS_MORE,
                heartbeat_timeout_seconds=timeout,
                shutdown_timeout_seconds=timeout,
            )
    except ValueError as error:
        given = {"address": address, "count": count, "index": index}
        missing = " and ".join(name for name, value in given.items() if value is None)
        raise ValueError(
            f"{missing} must be given, or set in the environment ({ADDRESS}, {COUNT}, {INDEX}), "
            "where JAX finds no cluster (Slurm, Open MPI, Kubernetes) to ask; got None"
        ) from error
    except RuntimeError as error:
        if "backend" not in str(error):
            raise
        raise RuntimeError(
            "processes must be entered before JAX computes anything or lists its devices"
        ) from error
    from jax._src.distributed import global_state as run  # its client has no public name

    assert run.process_id is not None
    return Watch(
        run.client, run.process_id, run.num_processes, str(run.coordinator_address), timeout
    )


def _host(address: str) -> str:
    return address.rpartition(":")[0]


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


def _port_is_free(address: str) -> None:
    """The runtime would crash at a port that is taken."""
    host = "127.0.0.1" if _host(address) in LOOPBACK else ""
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, _port(address)))
    except OSError as error:
        raise RuntimeError(
            f"process 0 cannot listen at address={address!r}: {error.strerror}. Another program, "
            "or an earlier run, has the port; choose another one"
        ) from error


def _reach(address: str, deadline: float) -> None:
    """Wait for process 0; if it does not come the runtime would say only that time was up."""
    seconds = round(deadline - time.monotonic())
    while True:
        try:
            socket.create_connection((_host(address).strip("[]"), _port(address)), 5).close()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"process 0 cannot be reached at address={address!r}, after {seconds} s: "
                    f"{error.strerror or error}. Does it run, are these the host and the port "
                    "that it was given, does the name resolve here, does the network let it pass?"
                ) from error
        time.sleep(0.2)


@contextlib.contextmanager
def _said_when_late(address: str | None, count: int | None, left: int, timeout: int):
    """The runtime would abort this process, without a word on what it waited for."""

    def give_up():
        say(
            f"after {timeout} s not all {count or ''} processes have joined at "
            f"{address or 'the coordinator of the cluster'}. Start every one, each with an index "
            "of its own and all with the same count and address; a longer timeout= waits longer"
        )
        leave(1)

    timer = threading.Timer(left, give_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextlib.contextmanager
def _without_preemption_service():
    """It takes SIGTERM for a notice that somebody heeds; the process would go on."""
    name = "jax_enable_preemption_service"
    before = getattr(jax.config, name)
    jax.config.update(name, False)
    try:
        yield
    finally:
        jax.config.update(name, before)
