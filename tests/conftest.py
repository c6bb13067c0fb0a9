"""Test settings: 8 host devices, rank promotion refused, a persistent compile cache."""

import os
from pathlib import Path

import jax
import pytest

CACHE = os.environ.get("ESTIMATORS_TEST_CACHE", str(Path(__file__).parents[1] / ".test-cache"))

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
# Compiling dominates the suite. The default threshold of 1 s would cache almost nothing.
jax.config.update("jax_compilation_cache_dir", CACHE)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

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
