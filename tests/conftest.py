"""Test settings: 8 host devices, rank promotion refused, a persistent compile cache."""

import itertools
import os
from pathlib import Path

import jax
import pytest

CACHE = Path(os.environ.get("ESTIMATORS_TEST_CACHE", Path(__file__).parents[1] / ".test-cache"))
# Two workers that write one entry at once would leave a broken one: each has its own folder.
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")

# A fifth less time to compile. From 0.11 on it is not known, and XLA dies of what it does not know.
if jax.__version_info__ < (0, 11):
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_use_fusion_emitters=false".strip()
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
# Compiling dominates the suite. The default threshold of 1 s would cache almost nothing.
jax.config.update("jax_compilation_cache_dir", str(CACHE / WORKER))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


MAPPINGS = Path("/proc/self/maps")
MOST_MAPPINGS = 30_000


TESTS_RUN = itertools.count()


@pytest.fixture(autouse=True)
def _forget_compiled_programs():
    """Drop the compiled programs of the tests before, once they are many.

    XLA's CPU backend maps memory for each; some thousands of them reach the kernel's limit
    (65 530 mappings), and the process dies in the middle of a compilation. Counting takes
    milliseconds: every tenth test does.
    """
    if next(TESTS_RUN) % 10 == 0 and MAPPINGS.exists():
        if MAPPINGS.read_bytes().count(b"\n") > MOST_MAPPINGS:
            jax.clear_caches()


SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture
def x64():
    """Run the test with 64-bit floats."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def shared_data():
    """The folder of oracle files and real tables that lies beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("needs the data folder ../shared/data beside the checkout")
    return SHARED


SLOW = {
    "validation": "minutes of simulation: pytest -m validation -s",
    "thorough": "minutes of compiling: pytest -m thorough",
}


def pytest_configure(config):
    """Compile quickly rather than well, unless a suite is run that computes for minutes."""
    jax.config.update("jax_disable_most_optimizations", not config.option.markexpr)


def pytest_collection_modifyitems(config, items):
    """Leave slow tests out, by name, unless they are asked for."""
    for mark, reason in SLOW.items():
        if mark not in config.option.markexpr:
            for item in items:
                if item.get_closest_marker(mark):
                    item.add_marker(pytest.mark.skip(reason=reason))
