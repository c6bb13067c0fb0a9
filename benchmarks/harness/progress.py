"""What runs now, how long it has run, and about how long it will."""

import sys
import time


class Progress:
    """A line on standard error.

    Args:
        tasks: how many cases and growths there are.
        expected: seconds that each took in a run before, by position; empty where unknown.
        stream: where to write; standard error unless given.
    """

    def __init__(self, tasks: int, expected: tuple[float, ...] = (), stream=None):
        self.tasks, self.expected = tasks, expected
        self.stream = sys.stderr if stream is None else stream
        self.done, self.began, self.task = 0, time.perf_counter(), ""

    def start(self, task: str):
        """A task begins."""
        self.task = task
        self.step("")

    def step(self, what: str):
        """Something within the task begins."""
        gone = time.perf_counter() - self.began
        text = f"[{self.done + 1}/{self.tasks}] {clock(gone)} gone, {self.left(gone)}  {self.task}"
        text = f"{text}: {what}" if what else text
        if self.stream.isatty():
            self.stream.write(f"\r\x1b[2K{text[:150]}")
        elif not what:
            self.stream.write(f"{text}\n")
        self.stream.flush()

    def finish(self):
        """The task is done."""
        self.done += 1
        if self.stream.isatty() and self.done == self.tasks:
            self.stream.write("\n")

    def left(self, gone: float) -> str:
        """The time that is left, from the last run or from the tasks so far."""
        if len(self.expected) == self.tasks and self.done:
            share = sum(self.expected[: self.done]) / sum(self.expected)
        else:
            share = self.done / self.tasks
        return f"about {clock(gone / share - gone)} left" if share else "time left not known yet"


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
