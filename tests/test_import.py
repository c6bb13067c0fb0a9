"""`import estimators` costs no more than `import jax`, and brings in nothing heavy."""

import subprocess
import sys

import pytest

import estimators

HEAVY = ("numpyro", "matplotlib", "sklearn", "pandas", "jinja2")
PROBE = """
import sys, time
before = time.process_time()
import jax
jax_only = time.process_time() - before
import estimators
total = time.process_time() - before
loaded = [name for name in {heavy} if name in sys.modules]
print(total - jax_only, loaded)
for room in estimators._ROOMS:
    getattr(estimators, room)
loaded = [name for name in {heavy} if name in sys.modules]
print(loaded)
"""


def test_importing_is_light():
    probe = PROBE.format(heavy=repr(HEAVY))
    run = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    first, every_room = run.stdout.strip().splitlines()
    cost, loaded = first.split(maxsplit=1)
    assert loaded == "[]"
    assert float(cost) < 0.3  # CPU seconds beyond those of `import jax`
    assert every_room == "[]"  # nor does any room import a plotting or learning library


def test_every_room_is_named():
    assert set(estimators._ROOMS) < set(dir(estimators))
    for room in estimators._ROOMS:
        assert getattr(estimators, room).__doc__


def test_a_room_that_is_not_there_says_so():
    with pytest.raises(AttributeError, match="no attribute 'clustering'"):
        getattr(estimators, "clustering")  # noqa: B009
