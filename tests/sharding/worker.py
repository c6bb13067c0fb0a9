"""One process of a run of two, which `test_processes.py` starts: `worker.py TASK TIMEOUT FOLDER`.

The names of what to compute follow. Who it is, is in the environment.
"""

import os
import signal
import sys
from pathlib import Path

import jax
import numpy as np

import estimators
from estimators import sharding


def put(tree):
    """Lay out what this process has of the rows: of 10, the first has 7."""

    def own(leaf):
        cut = round(0.7 * len(leaf))
        return leaf[:cut] if jax.process_index() == 0 else leaf[cut:]

    return sharding.split(jax.tree.map(own, tree))


def compute(index, folder, names):
    """What is asked for, each as `dtype: name`; all numbers into one file a process."""
    import computations  # it makes arrays, which starts jax

    found = {}
    for asked in names:
        dtype, name = asked.split(": ")
        with jax.enable_x64(dtype == "float64"):
            result = computations.COMPUTATIONS[name](put, np.dtype(dtype))
            for place, leaf in enumerate(jax.tree.leaves(result)):
                found[f"{asked}, {place}"] = np.asarray(leaf)
    np.savez(folder / f"{index}.npz", **found)


def killed_while_training(index, folder, names):
    """The second process is killed after some steps; the checkpoint of the first stays."""
    import computations

    def kill(report):
        if index == 1 and report.step >= 10:
            os.kill(os.getpid(), signal.SIGKILL)

    train = computations.training_by(30, checkpoint=folder / "run.safetensors", progress=kill)
    with jax.enable_x64(True):
        train(put, np.float64)


def failing(index, folder, names):
    """The second process raises, while the first waits for it."""
    if index == 1:
        raise ValueError("a row is not a number")
    put(np.ones(10, np.float32))


def alone(index, folder, names):
    """It never comes to this: the other process is not started."""


TASKS = {task.__name__: task for task in (compute, killed_while_training, failing, alone)}

if __name__ == "__main__":
    task, timeout, folder, *names = sys.argv[1:]
    if task == "compute":
        for room in estimators._ROOMS:  # none of them starts jax
            getattr(estimators, room)
    with sharding.processes(timeout=int(timeout)) as index:
        assert (jax.local_device_count(), jax.device_count()) == (2, 4)
        TASKS[task](index, Path(folder), names)
    print("ended as it should")
