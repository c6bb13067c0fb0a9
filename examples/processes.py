"""Many processes, here on one machine: each reads its own rows, all answer as one would.

A kernel density with the bandwidth of leave-one-out, log densities, and a conformal threshold for
"is this row unusual?" from 2000 rows in a file. Two processes of two devices each open the file
and read their part; the numbers are compared with those of one process that reads it whole.

Without ESTIMATORS_PROCESS_INDEX in its environment this script is the launcher: it starts itself
once for each process, and sees that none is left behind. Slurm, Kubernetes or ssh take its place
on a cluster; what the processes run stays the same.

Run: python examples/processes.py
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np

from estimators import conformal, density, sharding

COUNT, ROWS, SECONDS = 2, 2000, 300


def answers(rows, scores):
    """What is asked of the data, in arrays or split over devices."""
    fitted = density.KDE("loo").fit(rows)
    asked = np.array([[0.0, 0.0], [1.0, -1.0], [2.0, 2.0]], np.float32)
    threshold = conformal.conformal_quantile(scores, 0.9)
    found = {"bandwidth factor": fitted.info.factor, "threshold": threshold}
    names = [f"log density at ({x:g}, {y:g})" for x, y in asked]
    found |= zip(names, fitted.log_density(asked), strict=True)
    return {name: float(value) for name, value in found.items()}


def distance(rows):
    """A score of how unusual a row is."""
    return np.linalg.norm(rows, axis=1)


def work(folder):
    """One process: it knows from the environment which one it is."""
    with sharding.processes(timeout=60) as index:
        count = jax.process_count()
        stored = np.load(folder / "rows.npy", mmap_mode="r")
        rows = np.array(stored[index * len(stored) // count : (index + 1) * len(stored) // count])
        found = answers(sharding.split(rows), sharding.split(distance(rows)))
        if index == 0:  # all of them have the numbers; one writes
            (folder / "answers.json").write_text(json.dumps(found))


def start(index, address, folder):
    """This script again, as one of the processes, with two devices."""
    mine = {
        "ESTIMATORS_ADDRESS": address,
        "ESTIMATORS_PROCESS_COUNT": str(COUNT),
        "ESTIMATORS_PROCESS_INDEX": str(index),
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
    }
    return subprocess.Popen([sys.executable, __file__, str(folder)], env=os.environ | mine)


def watch(processes, seconds):
    """Wait until all have ended well; when one fails, or time is up, end them all."""
    deadline = time.monotonic() + seconds
    try:
        while None in (codes := [process.poll() for process in processes]) or any(codes):
            for index, code in enumerate(codes):
                if code:
                    how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
                    raise SystemExit(f"process {index} of {len(codes)} ended {how}; so do all")
            if time.monotonic() > deadline:
                raise SystemExit(f"not done after {seconds} s; all processes are ended")
            time.sleep(0.1)
    finally:
        for process in processes:
            process.kill()
            process.wait()


def launch(folder):
    """Write the rows, start the processes, return what they found."""
    rows = np.random.default_rng(0).normal(size=(ROWS, 2)).astype(np.float32)
    np.save(folder / "rows.npy", rows)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    watch([start(index, address, folder) for index in range(COUNT)], SECONDS)
    return json.loads((folder / "answers.json").read_text()), answers(rows, distance(rows))


if "ESTIMATORS_PROCESS_INDEX" in os.environ:
    work(Path(sys.argv[1]))
else:
    with tempfile.TemporaryDirectory() as folder:
        of_all, of_one = launch(Path(folder))
    results = {name: (of_all[name], of_one[name]) for name in of_one}
    print(f"{ROWS} rows            {COUNT} processes    one process    difference")
    for name, (several, one) in results.items():
        print(f"{name:<24} {several:>10.6f}     {one:>10.6f}    {abs(several - one):.1e}")
