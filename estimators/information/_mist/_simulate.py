"""Simulated training data on disk: features of random data sets, shard after shard.

Features have no parameters, so a data set is simulated once and serves every network. A shard
depends on its seed and its number alone: a run that was cut off resumes where it stopped, and
several processes with seeds of their own fill one folder together.
"""

import functools
import os
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from estimators._core import _io
from estimators.information._mist._features import features
from estimators.information._mist._generator import PLAIN, SHARES, draw
from estimators.information._mist._laws import LAWS
from estimators.information._mist._unseen import UNSEEN

# Rows and columns that data sets are filled up to, and batches of each in a shard.
SHAPES = {
    (512, 5): 10,
    (512, 16): 5,
    (256, 5): 7,
    (256, 16): 4,
    (128, 5): 6,
    (128, 16): 3,
    (64, 5): 4,
    (64, 16): 2,
}
BATCH = 100
MOST = 6e4  # of float16


@functools.partial(jax.jit, static_argnames=("rows", "width", "laws", "shares", "plain"))
def simulate(keys, rows: int, width: int, laws=LAWS, shares=SHARES, plain=PLAIN):
    """Features, information, numbers of rows and columns, and law of a data set for each key."""

    def one(key):
        data = draw(key, rows, width, laws=laws, shares=shares, plain=plain)
        read = features(data.x, data.y, data.count, data.columns)
        return read, data.information, data.count, data.columns, data.law

    return jax.lax.map(one, keys)


def write_shard(folder: Path, seed: int, number: int) -> int:
    """Simulate one shard, and return how many data sets it has."""
    root = jax.random.fold_in(jax.random.key(seed), number)
    parts = []
    for i, ((rows, width), batches) in enumerate(SHAPES.items()):
        for j in range(batches):
            key = jax.random.fold_in(jax.random.fold_in(root, i), j)
            drawn = simulate(jax.random.split(key, BATCH), rows, width)
            parts.append([np.asarray(a) for a in drawn])
    arrays = _kept(*(np.concatenate(part) for part in zip(*parts, strict=True)))
    _io.write_arrays(_path(folder, seed, number), arrays, {"seed": seed, "shard": number})
    return len(arrays["information"])


def _kept(read, information, count, columns, law):
    # A law of extreme parameters may overflow: such a data set has no features to learn from.
    kept = np.isfinite(read).all(1) & np.isfinite(information)
    return {
        "features": np.clip(read[kept], -MOST, MOST).astype(np.float16),
        "information": information[kept].astype(np.float32),
        "count": count[kept].astype(np.int32),
        "columns": columns[kept].astype(np.int32),
        "law": law[kept].astype(np.int32),
    }


def fill(
    folder: Path, seed: int, shards: int, report: Callable[[int, int], object] | None = None
) -> None:
    """Write the shards of a seed that are not there yet."""
    os.makedirs(folder, exist_ok=True)
    for number in range(shards):
        if not _path(folder, seed, number).exists():
            size = write_shard(folder, seed, number)
            if report is not None:
                report(number, size)


@functools.partial(jax.jit, static_argnames=("rows", "width"))
def _halves(keys, rows: int, width: int):
    """Features of both halves of a data set of `2 rows` rows, and the information."""

    def one(key):
        data = draw(key, 2 * rows, width)
        read = [
            features(data.x[i::2], data.y[i::2], jnp.asarray(rows), data.columns) for i in (0, 1)
        ]
        return jnp.stack(read), data.information

    return jax.lax.map(one, keys)


def halves(folder: Path, seed: int, rows: int = 512, width: int = 5, size: int = 1000):
    """Features `(size, 2, F)` of the halves of data sets, and their information; simulated once."""
    path = Path(folder) / f"halves_{seed:04d}.safetensors"
    if not path.exists():
        keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), 2**30), size)
        read, information = _halves(keys, rows, width)
        _io.write_arrays(
            path,
            {"features": np.asarray(read), "information": np.asarray(information)},
            {"seed": seed},
        )
    arrays = _io.read_arrays(path)[0]
    return arrays["features"], arrays["information"]


def beyond(folder: Path, seed: int, rows=(512, 256, 128, 64), width: int = 5, size: int = 1500):
    """Data sets as in a shard, of laws that no network is trained on; simulated once.

    So many for each number of rows that they are filled up to, in turn.
    """
    path = Path(folder) / f"beyond_{seed:04d}.safetensors"
    if not path.exists():
        root = jax.random.fold_in(jax.random.key(seed), 2**30 + 1)
        equal = (1 / len(UNSEEN),) * len(UNSEEN)
        parts = []
        for i, most in enumerate(rows):
            keys = jax.random.split(jax.random.fold_in(root, i), size)
            parts.append(map(np.asarray, simulate(keys, most, width, UNSEEN, equal, 0.0)))
        arrays = _kept(*map(np.concatenate, zip(*parts, strict=True)))
        _io.write_arrays(path, arrays, {"seed": seed})
    return _io.read_arrays(path)[0]


def read(folder: Path, seeds, shards: int) -> list[dict[str, np.ndarray]]:
    """The shards of some seeds: neither more nor fewer, whatever else the folder holds."""
    return [_io.read_arrays(_path(folder, s, i))[0] for s in seeds for i in range(shards)]


def _path(folder: Path, seed: int, number: int) -> Path:
    return Path(folder) / f"shard_{seed:04d}_{number:05d}.safetensors"
