"""The driver's end of a worker: requests out, replies in, and a limit on patience."""

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).parents[2]


class WorkerError(Exception):
    """A request failed: what the worker said, or that it is gone."""


class Process:
    """One library's worker.

    Args:
        library: whose process it is.
        folder: for outcomes, and for what the library prints.
        limit: seconds after which a reply is no longer waited for.
        path: folders beyond the repository in which cases are looked for.
    """

    def __init__(self, library: str, folder: Path, limit: float, path: tuple[Path, ...] = ()):
        self.library, self.limit = library, limit
        self.log = folder / f"{library}.log"
        environment = dict(os.environ)
        environment["PYTHONPATH"] = os.pathsep.join(map(str, (ROOT, *path)))
        # A compiled program of an earlier run would make the first call look cheap.
        environment.pop("JAX_COMPILATION_CACHE_DIR", None)
        # One arena of memory for all threads: what lies free in others cannot be given back.
        environment["MALLOC_ARENA_MAX"] = "1"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.harness.worker", library, str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment,
            )
        assert self.process.stdin
        assert self.process.stdout
        self.requests, self.answers = self.process.stdin, self.process.stdout
        self.replies: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        for line in self.answers:
            self.replies.put(line)
        self.replies.put("")  # the worker is gone

    def ask(self, do: str, **request) -> dict:
        """The reply to a request.

        Raises:
            WorkerError: if it fails, takes longer than the limit, or ends the worker.
        """
        try:
            self.requests.write(json.dumps({"do": do, **request}) + "\n")
            self.requests.flush()
            line = self.replies.get(timeout=self.limit)
        except queue.Empty as error:
            self.close()
            raise WorkerError(f"{do} took longer than {self.limit:.0f} s") from error
        except OSError as error:
            raise WorkerError(f"the process had ended before {do}") from error
        if not line:
            code = self.process.wait()
            raise WorkerError(f"the process ended in {do}, with exit status {code}")
        reply = json.loads(line)
        if "failed" in reply:
            raise WorkerError(reply["failed"])
        return reply

    @property
    def is_alive(self) -> bool:
        """Whether it can be asked."""
        return self.process.poll() is None

    def close(self):
        """End the process."""
        if self.is_alive:
            self.process.kill()
        self.process.wait()
        for pipe in (self.requests, self.answers):
            with contextlib.suppress(OSError):
                pipe.close()
