"""The memory of a process that reads blocks does not grow with the file."""

import subprocess
import sys
from pathlib import Path

import pytest

STATUS = Path("/proc/self/status")
# The peak of this address space. That of `getrusage` is at least what the parent process had.
MEMORY = """
import re, sys
import numpy as np
from estimators import conformal, density, score
from estimators.sharding._blocks import Blocks

ROWS = 1 << 13

def peak():
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])

def work(path, blocks):
    generator = np.random.default_rng(0)
    with open(path, "wb") as file:  # not through a mapping, which would be memory of this process
        for _ in range(blocks):
            generator.standard_normal((ROWS, 16), np.float32).tofile(file)
    before = peak()
    mapped = np.memmap(path, np.float32, "r", shape=(blocks * ROWS, 16))
    points = Blocks(mapped, rows=ROWS)
    fitted = density.KDE("scott").fit(points)
    queries = np.zeros((10, 16), np.float32)
    fitted.log_density(queries)
    fitted.score(queries)
    score.Gaussian().fit(points)
    conformal.conformal_quantile(Blocks(mapped[:, 0], rows=ROWS), 0.9)
    return mapped.nbytes, peak() - before

work(sys.argv[1] + "/few", 12)  # what import and compilation take
print(*work(sys.argv[1] + "/many", 120))
"""


@pytest.mark.skipif(not STATUS.exists(), reason="needs /proc/self/status for a process's memory")
def test_memory_does_not_grow_with_the_file(tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path)], capture_output=True, text=True, check=True
    )
    size, grown = map(int, run.stdout.split())
    assert size == 60 * 2**20
    assert grown < 20 * 2**20  # most of it the million scores that a quantile keeps
