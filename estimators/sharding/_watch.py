"""Ends this process, with a reason, when the run that it belongs to cannot go on.

A collective in which another process is missing may wait for ever, and the main thread with it.
So two threads ask the coordinator: one for word from a process that failed, one for who lives.
"""

import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import jax

REASON = "estimators/reason"
END = "estimators/end"
FOREVER = 10**9  # milliseconds; who died in the meantime is found by its heartbeat
SECONDS_BETWEEN = 1.0
# The coordinator is part of process 0. Without it the runtime aborts the others, among them the
# one that failed, before they have said what happened.
SECONDS_TO_LEAVE = 3.0
SECONDS_MORE = 10  # for the runtime, which knows later or says less


class Watch:
    """What this process knows of the others, by the client of `jax.distributed`."""

    def __init__(self, client: Any, index: int, count: int, address: str, timeout: int):
        self.client, self.index, self.count = client, index, count
        self.address, self.timeout = address, timeout
        self.over = threading.Event()
        causes = (self._word, self._seconds_to_leave), (self._losses, 0)
        # Daemons: a process that fails does not wait for them.
        self.threads = [
            threading.Thread(target=self._end_by, args=cause, daemon=True) for cause in causes
        ]
        for thread in self.threads:
            thread.start()

    def finish(self) -> None:
        """Wait until all processes have come to the end, and leave the run."""
        self.client.wait_at_barrier(END, FOREVER)
        self.over.set()
        jax.distributed.shutdown()
        for thread in self.threads:  # Python cannot end with a thread inside the runtime
            thread.join(SECONDS_MORE)

    def failure(self, error: BaseException) -> RuntimeError | None:
        """Tell the others that this process failed; or, if it lost them, wait to be ended.

        Returns:
            What to raise instead of the error; None where it is this process's own.
        """
        if _of_connection(error):
            # Which process was lost only its heartbeat tells; a thread then ends this one.
            time.sleep(self.timeout + SECONDS_MORE)
            self.over.set()
            return RuntimeError(f"{self.name} lost its connection to another one: {error}")
        self.over.set()
        reason = f"{self.name} failed with {type(error).__name__}: {error}"
        try:
            self.client.key_value_set(REASON, reason[:2000])
        except Exception:  # another failed before, or the coordinator is gone
            return None
        time.sleep(self._seconds_to_leave)
        return None

    @property
    def name(self) -> str:
        """Which one this process is."""
        return f"process {self.index} of {self.count}"

    @property
    def _seconds_to_leave(self) -> float:
        return SECONDS_TO_LEAVE if self.index == 0 else 0

    def _end_by(self, cause: Callable[[], str], seconds: float) -> None:
        try:
            reason = cause()
        except Exception as error:
            reason = (
                f"process 0 of {self.count}, the coordinator at {self.address}, was lost: "
                f"{str(error).splitlines()[0]}"
            )
        if not self.over.is_set():
            say(f"{reason}\n{self.name} ends here: the run cannot go on without it")
            time.sleep(seconds)
            leave(1)

    def _word(self) -> str:
        return self.client.blocking_key_value_get(REASON, FOREVER)

    def _losses(self) -> str:
        everyone = list(range(self.count))
        while not (lost := sorted(set(everyone) - set(self.client.get_live_nodes(everyone)))):
            if self.over.wait(SECONDS_BETWEEN):
                return ""
        names = " and ".join(f"process {index} of {self.count}" for index in lost)
        return (
            f"{names} was lost: no sign of life for {self.timeout} s (killed, out of memory, or "
            "its machine or network is gone; its own log may tell)"
        )


def _of_connection(error: BaseException) -> bool:
    """Whether it is the trace that the loss of another process leaves in a collective."""
    signs = ("Gloo", "by peer", "CoordinationService")
    return isinstance(error, jax.errors.JaxRuntimeError) and any(s in str(error) for s in signs)


def say(reason: str) -> None:
    """On stderr, between what the runtime writes there."""
    print(f"\nestimators.sharding: {reason}", file=sys.stderr, flush=True)


def leave(code: int) -> None:
    """End this process at once: no exception reaches a main thread that waits in a collective.

    Nor does the runtime say farewell, for which it would wait for those who are lost.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
