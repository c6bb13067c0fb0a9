"""Simulated data that train nothing: each data set decides, calibrates or is reported, not two.

Data sets of more rows than the network reads at once are of several parts. The first two parts
of one, the first four and all of them are data sets of three sizes.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from estimators.information._mist import _simulate
from estimators.information._mist._calibrate import DataSets
from estimators.information._mist._laws import LAWS, normal
from estimators.information._mist._train import Rows
from estimators.information._mist._unseen import UNSEEN

Arrays = dict[str, np.ndarray]
NUMBERS_OF_PARTS = (2, 4, _simulate.PARTS)


class HeldOut(NamedTuple):
    """What data that trained nothing are for.

    Attributes:
        decide: of the training's laws: which step of the training is kept.
        calibrate: of the same laws, by number of parts.
        several: those of them with all their parts.
        widen: of laws that no network is trained on, by number of parts.
        report: title, data by number of parts, and the laws that their numbers are of. Each data
            set is there once.
    """

    decide: Rows
    calibrate: list[DataSets]
    several: DataSets
    widen: list[DataSets]
    report: list[tuple[str, list[Arrays], tuple[Callable[..., Any], ...]]]


def held_out(folder: Path, seed: int, shards: int) -> HeldOut:
    """Read the shards of a folder, simulate there what else is needed, and share all of it out."""
    # Every shard holds all shapes.
    quarters = [[] for _ in range(4)]
    for i, shard in enumerate(_simulate.read(folder, (seed,), shards)):
        quarters[i % 4].append(shard)
    calibrate, final = joined(quarters[2]), joined(quarters[3])
    calibrate_large, final_large = _alternate(_simulate.large(folder, seed))
    widen, beyond = _alternate(_simulate.beyond(folder, seed))
    widen_large, beyond_large = _alternate(_simulate.large_beyond(folder, seed))
    laws = (*LAWS, normal)
    return HeldOut(
        decide=as_rows(joined(quarters[0] + quarters[1])),
        calibrate=[_data_sets(of) for of in (calibrate, *_of_every_size(calibrate_large))],
        several=_data_sets(calibrate_large),
        widen=[_data_sets(of) for of in (widen, *_of_every_size(widen_large))],
        report=[
            ("laws of the training, in one part", [final], laws),
            ("in several parts", list(_of_one_size_each(final_large)), laws),
            ("laws unlike them, in one part", [beyond], UNSEEN),
            ("in several parts", list(_of_one_size_each(beyond_large)), UNSEEN),
        ],
    )


def joined(groups: list[Arrays]) -> Arrays:
    """Several groups of data sets as one."""
    return {name: np.concatenate([of[name] for of in groups]) for name in groups[0]}


def as_rows(arrays: Arrays) -> Rows:
    """Data sets of one part, for training."""
    return Rows(jnp.asarray(arrays["features"][:, 0]), jnp.asarray(arrays["information"]))


def _data_sets(arrays: Arrays) -> DataSets:
    return DataSets(arrays["features"], arrays["information"])


def _alternate(arrays: Arrays, ways: int = 2) -> list[Arrays]:
    return [{name: values[i::ways] for name, values in arrays.items()} for i in range(ways)]


def _of_every_size(arrays: Arrays) -> list[Arrays]:
    return [_first(arrays, parts) for parts in NUMBERS_OF_PARTS]


def _of_one_size_each(arrays: Arrays) -> Iterator[Arrays]:
    return map(_first, _alternate(arrays, len(NUMBERS_OF_PARTS)), NUMBERS_OF_PARTS)


def _first(arrays: Arrays, parts: int) -> Arrays:
    features, count = arrays["features"], arrays["count"]
    count = count // features.shape[1] * parts
    return arrays | {"features": features[:, :parts], "count": count}
