"""The host's part of training: chunk after chunk, until there is a reason to stop."""

import os
from collections.abc import Callable
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Key, PyTree

from estimators._core import checks
from estimators.sharding import on_any_process
from estimators.training import _checkpoint
from estimators.training._interrupt import deferred_interrupt
from estimators.training._progress import Clock, Report, as_progress
from estimators.training._record import Record
from estimators.training._result import Result, make_result
from estimators.training._step import Problem, State, advance, evaluate, history_dtype

ADAM = optax.adam(1e-3)


def minimise(
    loss: Callable,
    parameters: PyTree,
    data: PyTree = None,
    *,
    key: Key[Array, ""],
    steps: int,
    optimiser: optax.GradientTransformation | None = None,
    validation: PyTree = None,
    validation_loss: Callable | None = None,
    patience: int | None = None,
    chunk: int = 100,
    checkpoint: str | os.PathLike | None = None,
    progress: bool | Callable[[Report], object] | None = None,
) -> Result:
    """Minimise `loss(parameters, data, key)` by an optax optimiser.

    Step i differentiates the loss with the key `jax.random.fold_in(key, i)`. Neither the
    length of the chunks nor any interruption changes the result: a run resumed from its
    checkpoint equals an uninterrupted one to the last bit (on one kind of machine, and where
    the loss itself is reproducible there).

    Args:
        loss: a pure function that returns a real scalar. Pass the same function object again
            to reuse its compiled program; other data of equal shapes then cost no compilation.
        parameters: a pytree, an equinox module for example. Its float arrays are trained; all
            else in it is handed to the loss as it is.
        data: a pytree of arrays for the loss; it may be None. `sharding.Rows` with a loss of
            `mean_over_rows` trains over their mesh.
        key: a new-style key.
        steps: the number of updates.
        optimiser: any optax optimiser; None means Adam at the rate 1e-3. As with the loss, the
            same object compiles once. It also receives `value`, `grad` and `value_fn`, so
            `optax.lbfgs` works.
        validation: data for the validation loss, evaluated after each chunk, every time with
            the same key. With it, the parameters of the least validation loss are returned.
        validation_loss: what to evaluate on them; None means `loss`.
        patience: stop after this many validation losses in a row without a new least one.
        chunk: the number of steps between two visits of the host.
        checkpoint: a file, replaced after each chunk. If it exists, training resumes there, on
            as many devices as there are then; after a finished run, that is with nothing left to
            do, unless `steps` has grown. Several processes must see the same file; the first
            writes it.
        progress: True prints to stderr; a callable receives a `Report` after each chunk, and
            may raise KeyboardInterrupt to stop.

    Returns:
        A `Result`. Ctrl-C ends training after the running chunk, with status "interrupted"; a
        loss or an update that is not finite ends it with "diverged". Neither raises.

    Raises:
        ValueError: for an argument out of its range, a loss that is not a real scalar,
            parameters without float arrays, or a checkpoint of another problem, key or chunk.

    Example:
        >>> import jax, jax.numpy as jnp, optax
        >>> from estimators import training
        >>> def loss(slope, data, key):
        ...     return jnp.mean((data["y"] - slope * data["x"]) ** 2)
        >>> x = jnp.arange(4.0)
        >>> result = training.minimise(
        ...     loss, jnp.zeros(()), {"x": x, "y": 3 * x}, key=jax.random.key(0), steps=300,
        ...     optimiser=optax.adam(0.1),
        ... )
        >>> print(result.status, f"{result.parameters:.2f}")
        finished 3.00

    When it fails: a checkpoint knows shapes, key and chunk, but neither the loss nor the data;
    resuming with others goes unnoticed. Where `steps` grows, the parameters at its former end were
    judged too, also in the midst of a chunk. A loss that draws its batch from the key has a noisy
    validation loss too, unless `validation_loss` looks at all rows.
    """
    steps = checks.integer("steps", steps, at_least=1)
    chunk = checks.integer("chunk", chunk, at_least=1)
    if patience is not None:
        checks.integer("patience", patience, at_least=1)
        if validation is None:
            raise ValueError(f"patience={patience} needs validation data; validation is None")
    first = jax.process_index() == 0
    report = as_progress(None if progress is True and not first else progress)
    trainable, frozen = _trainable(parameters)
    optimiser = ADAM if optimiser is None else optimiser
    if not (hasattr(optimiser, "init") and hasattr(optimiser, "update")):
        raise ValueError(
            f"optimiser must be an optax optimiser, as optax.adam(1e-3); got {optimiser!r}"
        )
    problem = Problem(loss, optimiser, frozen, _on_device("data", data), checks.as_key(key))
    validation = _on_device("validation", validation)
    validation_loss = loss if validation_loss is None else validation_loss

    state = State(trainable, trainable, optimiser.init(trainable), jnp.zeros((), jnp.int32))
    best = None if validation is None else trainable
    record = Record(steps, chunk, history_dtype(trainable))
    if checkpoint is not None:
        checkpoint = Path(checkpoint)
        exists = checkpoint.exists()
        if on_any_process(exists) and on_any_process(not exists):
            raise ValueError(
                f"checkpoint must be one file that all processes see; {checkpoint} "
                f"{'exists' if exists else 'does not exist'} on process {jax.process_index()}, "
                "unlike on another"
            )
        if exists:
            state, best = _checkpoint.read(checkpoint, state, best, record, key)
        elif not checkpoint.parent.is_dir():
            raise ValueError(f"checkpoint must lie in an existing folder; got {checkpoint}")
    # A chunk donates its state: no two leaves may share a buffer, nor one with the caller's.
    state = _copy(state)

    clock = Clock()
    status = record.status(patience)
    with deferred_interrupt() as interruption:
        while status == "running":
            stop = jnp.asarray(record.stop(), jnp.int32)
            state, losses, finite = advance((problem, stop, min(chunk, steps)), state)
            record.add_losses(np.asarray(losses), int(state.step), bool(finite))
            if validation is not None and record.finite:
                value = evaluate(validation_loss, state.parameters, frozen, validation, key)
                if record.add_validation(float(value)):
                    best = _copy(state.parameters)
            status = record.status(patience)
            if checkpoint is not None and first:
                _checkpoint.write(checkpoint, state, best, record, key)
            running = status == "running"
            # One process that stops while others go on would leave them waiting for ever.
            if running and on_any_process(interruption.requested):
                status = "interrupted"
            pressed = False
            try:
                report(_report(record, clock, status, validation is not None))
            except KeyboardInterrupt:
                pressed = True
            if running and on_any_process(pressed):
                status = "interrupted"

    chosen, best_step = _choose(state, best, record)
    return make_result(
        eqx.combine(chosen, frozen),
        (record.training, record.validation),
        record.step,
        best_step,
        status,
    )


def _choose(state: State, best: PyTree, record: Record) -> tuple[PyTree, int]:
    """The parameters to return, and the number of updates that they had."""
    if record.best_step > 0:
        return best, record.best_step
    if record.finite:
        return state.parameters, record.step
    # The step that failed is undone; if it was its loss that was not finite, then so is the
    # loss of the parameters that the step before it left.
    failed_in_loss = not np.isfinite(record.training[record.step])
    return state.good, max(record.step - failed_in_loss, 0)


def _report(record: Record, clock: Clock, status: str, validated: bool) -> Report:
    steps = len(record.training)
    loss = float(record.training[record.step - record.finite])
    last = record.last_validation() if validated and record.step else None
    return Report(record.step, steps, loss, last, *clock.read(record.step, steps), status)


def _trainable(parameters: PyTree) -> tuple[PyTree, PyTree]:
    parameters = _on_device("parameters", parameters)
    trainable, frozen = eqx.partition(parameters, eqx.is_inexact_array)
    if any(jnp.iscomplexobj(leaf) for leaf in jax.tree.leaves(trainable)):
        raise ValueError(
            "parameters must be real; some are complex. Train their real and imaginary parts"
        )
    if not jax.tree.leaves(trainable):
        kinds = sorted({type(leaf).__name__ for leaf in jax.tree.leaves(parameters)})
        raise ValueError(f"parameters must hold a float array to train; its leaves are {kinds}")
    return trainable, frozen


def _on_device(name: str, tree: PyTree) -> PyTree:
    """Move numpy arrays to the device once, rather than at every chunk."""

    def move(leaf):
        if not isinstance(leaf, np.ndarray | np.generic):
            return leaf
        if np.issubdtype(leaf.dtype, np.floating):
            return checks.as_float(name, leaf)
        if not checks.whole_numbers_fit(np.asarray(leaf)):
            raise ValueError(
                f"{name} must hold whole numbers of 32 bits where jax does; got one of "
                f"{max(abs(int(leaf.min())), abs(int(leaf.max())))}. Make them floats"
            )
        return jnp.asarray(leaf)

    return jax.tree.map(move, tree)


def _copy(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: jnp.array(leaf, dtype=leaf.dtype), tree)
