"""Simulated training data on disk: features of random data sets, shard after shard.

Features have no parameters, so a data set is simulated once and serves every network. A shard
depends on its seed and its number alone: a run that was cut off resumes where it stopped, and
several processes with seeds of their own fill one folder together.
"""

import functools
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import jax
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


@functools.partial(jax.jit, static_argnames=("rows", "width", "laws", "shares", "plain", "parts"))
def simulate(keys, rows: int, width: int, laws=LAWS, shares=SHARES, plain=PLAIN, parts: int = 1):
    """Features `(m, parts, F)`, information, rows and columns, and law of a data set for each key.

    A data set of several parts has so many times the rows, which are dealt out in turn, and every
    part has as many.
    """

    def one(key):
        data = draw(key, parts * rows, width, laws=laws, shares=shares, plain=plain)
        count = -(-data.count // parts)
        x, y = (side.reshape(rows, parts, -1).swapaxes(0, 1) for side in (data.x, data.y))
        read = jax.lax.map(lambda part: features(part[0], part[1], count, data.columns), (x, y))
        return read, data.information, parts * count, data.columns, data.law

    return jax.lax.map(one, keys)


def write_shard(folder: Path, seed: int, number: int) -> int:
    """Simulate one shard, and return how many data sets it has."""
    root = jax.random.fold_in(jax.random.key(seed), number)

    def batches():
        for i, ((rows, width), several) in enumerate(SHAPES.items()):
            for j in range(several):
                key = jax.random.fold_in(jax.random.fold_in(root, i), j)
                yield simulate(jax.random.split(key, BATCH), rows, width)

    arrays = _kept(batches())
    _io.write_arrays(_path(folder, seed, number), arrays, {"seed": seed, "shard": number})
    return len(arrays["information"])


def _kept(batches: Iterable) -> dict[str, np.ndarray]:
    """What `simulate` gave, joined, but for data sets that overflowed.

    A law of extreme parameters may overflow, and has no features to learn from.
    """
    on_host = [[np.asarray(a) for a in batch] for batch in batches]
    read, information, count, columns, law = map(np.concatenate, zip(*on_host, strict=True))
    kept = np.isfinite(read).all((1, 2)) & np.isfinite(information)
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


PARTS = 8


def large(folder: Path, seed: int, rows: int = 512, sizes=((5, 4000), (16, 1200))):
    """Data sets of `PARTS` parts, so many of each width; simulated once."""

    def batches():
        root = jax.random.fold_in(jax.random.key(seed), 2**30 + 2)
        for width, size in sizes:
            keys = jax.random.split(jax.random.fold_in(root, width), size)
            yield simulate(keys, rows, width, parts=PARTS)

    return _once(Path(folder) / f"large_{seed:04d}.safetensors", seed, batches)


EQUAL = (1 / len(UNSEEN),) * len(UNSEEN)


def beyond(folder: Path, seed: int, rows=(512, 256, 128, 64), width: int = 5, size: int = 1500):
    """Data sets as in a shard, of laws that no network is trained on; simulated once.

    So many for each number of rows that they are filled up to, in turn.
    """

    def batches():
        root = jax.random.fold_in(jax.random.key(seed), 2**30 + 1)
        for i, most in enumerate(rows):
            keys = jax.random.split(jax.random.fold_in(root, i), size)
            yield simulate(keys, most, width, UNSEEN, EQUAL, 0.0)

    return _once(Path(folder) / f"beyond_{seed:04d}.safetensors", seed, batches)


def large_beyond(folder: Path, seed: int, rows: int = 512, width: int = 5, size: int = 2000):
    """Data sets of `PARTS` parts, of laws that no network is trained on; simulated once."""

    def batches():
        keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), 2**30 + 3), size)
        yield simulate(keys, rows, width, UNSEEN, EQUAL, 0.0, parts=PARTS)

    return _once(Path(folder) / f"large_beyond_{seed:04d}.safetensors", seed, batches)


def _once(path: Path, seed: int, batches: Callable[[], Iterable]) -> dict[str, np.ndarray]:
    """The data sets in a file, which is written if it is not there yet."""
    if not path.exists():
        _io.write_arrays(path, _kept(batches()), {"seed": seed})
    return _io.read_arrays(path)[0]


def read(folder: Path, seeds, shards: int) -> list[dict[str, np.ndarray]]:
    """The shards of some seeds: neither more nor fewer, whatever else the folder holds."""
    return [_io.read_arrays(_path(folder, s, i))[0] for s in seeds for i in range(shards)]


def _path(folder: Path, seed: int, number: int) -> Path:
    return Path(folder) / f"shard_{seed:04d}_{number:05d}.safetensors"
