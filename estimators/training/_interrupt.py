"""Ctrl-C, deferred to a moment when the state is whole."""

import contextlib
import signal
import threading


class Interruption:
    """Whether Ctrl-C was pressed."""

    requested = False


@contextlib.contextmanager
def deferred_interrupt():
    """Turn the first Ctrl-C into a flag; a second one interrupts as usual.

    While a chunk runs, its old state has been donated and its new one is not there yet: a
    KeyboardInterrupt raised then would leave nothing to return. Signals belong to the main
    thread, so in any other, and under a handler that is not Python's own, nothing changes.
    """
    interruption = Interruption()
    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if not ours:
        yield interruption
        return

    def handle(number, frame):
        interruption.requested = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, handle)
    try:
        yield interruption
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
