import csv

import jax
import numpy as np
import pytest
from scipy import stats

from estimators.report import _base_models

NAMES = ("<script>alert(1)</script>", "a&\"b'", "$x_$é$")


@pytest.fixture(autouse=True)
def precision_of_before():
    """The command line turns 64 bits on for its process; the tests share one."""
    before = jax.config.jax_enable_x64
    yield
    jax.config.update("jax_enable_x64", before)


@pytest.fixture
def table(tmp_path):
    """Write a .csv from rows of cells, or from text or bytes as they are."""

    def write(content, name="table.csv", **options):
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif isinstance(content, str):
            path.write_text(content, encoding="utf-8", newline="")
        else:
            with path.open("w", newline="", encoding="utf-8") as file:
                csv.writer(file, **options).writerows(content)
        return path

    return write


def rows(n=60, columns=3, seed=0):
    """A table of normal columns; the last depends on the first."""
    values = np.random.default_rng(seed).standard_normal((n, columns))
    values[:, -1] += values[:, 0]
    return values


def least_squares(x, y, new, levels, seed):
    """A linear mean with normal noise: a base model that costs nothing."""
    x, new = (np.column_stack([np.ones(len(part)), part]) for part in (x, new))
    slope, *_ = np.linalg.lstsq(x, y, rcond=None)
    return (new @ slope)[:, None] + np.std(y - x @ slope) * stats.norm.ppf(levels)


def cheap_models(patch):
    """Leave one of the three models, and add one that costs nothing."""
    models = {"least squares": least_squares, "nearest neighbours": _base_models.neighbours}
    patch.setattr(_base_models, "MODELS", models)
