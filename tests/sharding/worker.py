"""One process of a run of several, which `test_processes.py` starts: `worker.py TASK FOLDER`."""

import os
import signal
import sys
import time
from pathlib import Path

import computations
import jax
import numpy as np

import estimators
from estimators import sharding

TIMEOUT = 20


def put(tree):
    """Lay out what this process has of the rows: 7 of 10 are on the first."""

    def own(leaf):
        cut = round(0.7 * len(leaf))
        return leaf[:cut] if jax.process_index() == 0 else leaf[cut:]

    return sharding.split(jax.tree.map(own, tree))


def compute(folder, index):
    """Everything in the table, in both precisions."""
    found = {}
    for dtype in (np.float32, np.float64):
        with jax.enable_x64(dtype == np.float64):
            for name, function in computations.COMPUTATIONS.items():
                t=time.time()
                leaves = jax.tree.leaves(function(put, dtype))
                print(name, round(time.time()-t,1), flush=True)
                for place, leaf in enumerate(leaves):
                    found[f"{name}, {dtype.__name__}, {place}"] = np.asarray(leaf)
    np.savez(folder / f"{index}.npz", **found)


def main(task, folder):
    for room in estimators._ROOMS:  # none of them starts jax
        getattr(estimators, room)
    with sharding.processes(timeout=TIMEOUT) as index:
        assert jax.device_count() == 4
        {"compute": compute}[task](folder, index)

if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
