"""Checkpoints: all that the rest of a run depends on, in one safetensors file."""

from pathlib import Path

import jax
import numpy as np
from jaxtyping import PyTree

from estimators._core import _io
from estimators.training._record import Record
from estimators.training._step import State

SCHEMA = "estimators.training 1"


def write(path: Path, state: State, best: PyTree, record: Record, key) -> None:
    """Replace the checkpoint at `path`; it is the old one or the new one, never a part."""
    arrays = _io.tree_to_arrays({"state": state, "best": best})
    arrays["training"] = record.training
    arrays["validation"] = record.validation
    header = {
        "schema": SCHEMA,
        "key": _key(key),
        "chunk": record.chunk,
        "step": record.step,
        "best_step": record.best_step,
        "best_loss": record.best_loss,
    }
    _io.write_arrays(path, arrays, header)


def read(path: Path, state: State, best: PyTree, record: Record, key) -> tuple[State, PyTree]:
    """Fill `record`, and return the state and the best parameters, from a checkpoint.

    Args:
        path: a file that `write` wrote.
        state: a fresh state of this problem, for its structure, shapes and dtypes.
        best: likewise; None without validation data.
        record: a fresh record; changed in place.
        key: the key of this run.

    Raises:
        ValueError: if the file is no checkpoint, or one of another problem, key or chunk.
    """
    arrays, header = _io.read_arrays(path)
    if header.get("schema") != SCHEMA:
        raise ValueError(f"checkpoint {path} was not written by estimators.training.minimise")
    training, validation = (arrays.pop(name) for name in ("training", "validation"))
    tree = {"state": state, "best": best}
    expected = _io.tree_to_arrays(tree)
    refusal = f"checkpoint {path} is of another problem"
    if set(arrays) != set(expected):
        differing = sorted(set(arrays) ^ set(expected))
        raise ValueError(f"{refusal}: only one of the two has the arrays {differing}")
    try:
        tree = _io.tree_from_arrays(tree, arrays)
    except ValueError as error:
        raise ValueError(f"{refusal}: {error}") from error
    if header["key"] != _key(key):
        raise ValueError(
            f"checkpoint {path} was written with another key; pass that key to resume, or "
            "another path to start anew"
        )
    if best is not None and header["chunk"] != record.chunk:
        raise ValueError(
            f"checkpoint {path} was written with chunk={header['chunk']}, and the validation "
            f"loss is evaluated once a chunk; got chunk={record.chunk}"
        )
    if header["step"] > len(record.training):
        raise ValueError(
            f"steps must be at least {header['step']}, the number that the checkpoint {path} "
            f"has made; got {len(record.training)}"
        )
    record.step, record.best_step = header["step"], header["best_step"]
    record.best_loss = header["best_loss"]
    for ours, stored in ((record.training, training), (record.validation, validation)):
        kept = min(len(ours), len(stored))
        ours[:kept] = stored[:kept]
    return tree["state"], tree["best"]


def _key(key) -> list:
    return [str(jax.random.key_impl(key)), *np.asarray(jax.random.key_data(key)).tolist()]
