"""What a training set must not contain, so that the tests are tests."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from estimators.information.simulate._benchmark import BEND_AND_MIX, TASKS, benchmark_tasks
from estimators.information.simulate._mist_families import SPLITS
from estimators.information.simulate._shear import Wave
from estimators.information.simulate._simulator import Simulator
from estimators.information.simulate._swiss_roll import SwissRoll

TRANSFORMATIONS = {"swiss_roll": SwissRoll, "wave": Wave}

# Every name that a generator of training sets must not use, and why.
HELD_OUT = {
    "swiss_roll": "an embedding of the benchmark, in no form",
    "wave": "a shear of the benchmark, in no form",
    **{
        name: "a model of the benchmark's second version, in no form"
        for name in ("bend_and_mix", "x", "ai", "waves", "galaxy", "concentric", "inliers")
    },
    **{
        name: "a task of the benchmark's second version"
        if name in BEND_AND_MIX
        else "a task of the benchmark, with its parameters"
        for name in TASKS
    },
    **{
        f"mist-{split}-{name}": "a test family of MIST, with its distribution of parameters"
        for split in ("in_meta", "out_of_meta")
        for name in SPLITS[split]
    },
}


def held_out(law: Simulator) -> str | None:
    """Why a law must not be trained on: a name of `HELD_OUT`, or None where it may be.

    A law is held out if it contains a transformation that is, or if it is a task of the
    benchmark: of the same structure with parameters equal to 1e-6. Families that are held out
    for the distribution of their parameters (MIST's) cannot be told from one law; a generator
    that names its families must avoid the names.

    Args:
        law: one law, not a batch; its parameters must be known, so not inside `jax.jit`.

    Example:
        >>> from estimators.information import simulate
        >>> simulate.held_out(simulate.Normal(simulate.dense_correlation(2, 2), dx=2))
        'multinormal-dense-2-2-0.5'
        >>> simulate.held_out(
        ...     simulate.Normal(simulate.dense_correlation(2, 2, correlation=0.3), dx=2)
        ... )

    When it fails: a task under another parametrisation, scaled or with its columns in another
    order, is not recognised.
    """
    inside = jax.tree.leaves(law, is_leaf=lambda node: isinstance(node, tuple(_KINDS)))
    for node in inside:
        if type(node) in _KINDS:
            return _KINDS[type(node)]
    tasks = _tasks(jnp.result_type(float)).items()
    return next((name for name, task in tasks if _same(law, task)), None)


@functools.cache
def _tasks(dtype) -> dict[str, Simulator]:
    """The tasks as they are while `dtype` is the default float."""
    return benchmark_tasks()


_KINDS = {kind: name for name, kind in TRANSFORMATIONS.items()}


def _same(one, other) -> bool:
    """Equal up to rounding, whatever the effort that goes into the information."""
    if type(one) is not type(other):
        return False
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if dataclasses.is_dataclass(one):
        names = [field.name for field in dataclasses.fields(one) if field.name != "draws"]
        return all(_same(getattr(one, name), getattr(other, name)) for name in names)
    if isinstance(one, jax.Array):
        return one.shape == other.shape and bool(np.allclose(one, other, rtol=1e-6, atol=1e-6))
    return one == other
