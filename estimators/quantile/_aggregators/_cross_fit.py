"""Gates trained on all folds but one, and judged on that one: bags that nothing is lost to."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key

from estimators import training
from estimators._core._blocks import map_blocks
from estimators.quantile._aggregators._data import Rows
from estimators.quantile._aggregators._gate import Dropout, Gate
from estimators.quantile._aggregators._start import Folds
from estimators.quantile._monotone._crossing import crossing_penalty
from estimators.quantile._monotone._sort import sort_levels
from estimators.quantile._scores._pinball import weighted_interval_score


class Schedule(NamedTuple):
    """How gates are trained; see `LocalWeights`."""

    steps: int
    batch_size: int
    learning_rate: float
    patience: int | None
    crossing: float
    dropout: Dropout | None


EVALUATE_EVERY = 200


def cross_fit(
    gates: Gate,
    rows: Rows,
    folds: Folds,
    schedule: Schedule,
    *,
    key: Key[Array, ""],
    progress: bool | Callable | None = None,
) -> tuple[Gate, Float[Array, "n levels"], training.Result]:
    """Train one gate a fold, and predict every row by the gate that did not see it.

    All gates stop at one step, that of least score on held-out rows: one choice from all rows,
    so that the score of the held-out predictions stays all but honest.
    """
    data = (rows, folds)
    result = training.minimise(
        _Loss(schedule.batch_size, schedule.crossing, schedule.dropout),
        gates,
        data,
        key=key,
        steps=schedule.steps,
        optimiser=_optimiser(schedule.learning_rate, schedule.steps),
        validation=data,
        validation_loss=held_out_score,
        patience=schedule.patience,
        chunk=min(EVALUATE_EVERY, schedule.steps),
        progress=progress,
    )
    return result.parameters, held_out(result.parameters, rows, folds), result


class _Loss(eqx.Module):
    """The loss of one batch a gate, of rows outside its fold."""

    batch_size: int = eqx.field(static=True)
    crossing: float = eqx.field(static=True)
    dropout: Dropout | None = eqx.field(static=True)

    def __call__(self, gates, data, key) -> Float[Array, ""]:
        rows, folds = data

        def one(gate, outside, count, key):
            draw, drop = jax.random.split(key)
            places = jax.random.randint(draw, (self.batch_size,), 0, count, jnp.int32)
            batch = _take(rows, outside[places])
            combined = gate.combine(
                batch.inputs, batch.predictions, batch.mask, key=drop, dropout=self.dropout
            )
            score = jnp.mean(weighted_interval_score(batch.y, combined, rows.levels))
            if self.crossing > 0:
                penalty = crossing_penalty(combined, rows.levels)
                score += self.crossing * jnp.mean(penalty)
            return score

        keys = jax.random.split(key, folds.counts.shape[0])
        return jnp.mean(eqx.filter_vmap(one)(gates, folds.outside, folds.counts, keys))


def held_out_score(gates, data, key) -> Float[Array, ""]:
    """Mean score of the held-out predictions; the key is not used."""
    rows, folds = data
    combined = held_out(gates, rows, folds)
    return jnp.mean(weighted_interval_score(rows.y, combined, rows.levels))


@jax.jit
def held_out(gates: Gate, rows: Rows, folds: Folds) -> Float[Array, "n levels"]:
    """Sorted predictions of each row by the gate that was trained without it.

    By the mean of several, where there are several partitions.
    """

    def one(arguments):
        gate, inside = arguments
        return by_blocks(gate, _take(rows, inside))

    combined = jax.lax.map(one, (gates, folds.inside))
    places = folds.inside.reshape(-1)
    total = jnp.zeros_like(rows.predictions[:, 0])
    total = total.at[places].add(combined.reshape(len(places), -1), mode="drop")
    times = jnp.zeros_like(rows.y).at[places].add(1, mode="drop")
    return total / times[:, None]


def by_blocks(gate: Gate, rows: Rows) -> Float[Array, "n levels"]:
    """Sorted predictions of one gate, in O(block) memory."""

    def block(arrays):
        return sort_levels(gate.combine(*arrays))

    return map_blocks(block, (rows.inputs, rows.predictions, rows.mask), 256)


def _take(rows: Rows, places) -> Rows:
    # A place past the end, that fills up a fold, repeats the last row.
    take = functools.partial(jnp.take, indices=places, axis=0, mode="clip")
    mask = None if rows.mask is None else take(rows.mask)
    return Rows(take(rows.inputs), take(rows.predictions), take(rows.y), rows.levels, mask)


@functools.lru_cache
def _optimiser(rate: float, steps: int) -> optax.GradientTransformation:
    warm = min(100, steps // 2)
    schedule = optax.warmup_cosine_decay_schedule(0.0, rate, warm, max(steps, warm + 1), rate / 50)
    return optax.adam(schedule)


SLOPE = 0.5
BASE = Schedule(600, 512, 0.05, None, 0.0, None)


def fit_base(
    resolution: str, rows: Rows, folds: Folds, *, key: Key[Array, ""], progress=None
) -> tuple[Gate, Float[Array, "n levels"], training.Result]:
    """Gates without a network, one a fold, and their held-out predictions."""
    models, levels = rows.predictions.shape[1:]
    distance = jnp.abs(jnp.arange(levels)[:, None] - jnp.arange(levels)[None])
    # A fine base starts near the average too: each level mostly from its own.
    start = {
        "coarse": jnp.zeros((models,)),
        "medium": jnp.zeros((models, levels)),
        "fine": jnp.broadcast_to(-SLOPE * distance[None], (models, levels, levels)),
    }[resolution].astype(rows.y.dtype)
    base = jnp.broadcast_to(start[None], (len(folds.counts), *start.shape))
    gates = Gate(base, (), resolution)
    return cross_fit(gates, rows, folds, BASE, key=key, progress=progress)


@jax.jit
def mean_over_gates(gates: Gate, rows: Rows) -> Float[Array, "n levels"]:
    """Mean of the gates' averages, sorted; all in O(block) memory."""
    each = jax.lax.map(lambda gate: by_blocks(gate, rows), gates)
    return sort_levels(jnp.mean(each, 0))
