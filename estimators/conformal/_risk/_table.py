"""Losses of rows over parameters: a table, or a function of the parameter that is scanned.

Either is reduced to something for every parameter, and checked in the same pass.
"""

import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from estimators._core import checks

BLOCK = 32  # parameters of a function that are evaluated together

Order = Literal["any", "falling", "made to fall"]


def as_losses(losses, parameters, *, rows: int = 1) -> tuple[Any, Array, int]:
    """Check the shapes of losses and of the parameters that they are of, and find the rows."""
    parameters = checks.finite("parameters", checks.as_float("parameters", parameters))
    if parameters.ndim == 0 or parameters.shape[0] == 0:
        raise ValueError(
            f"parameters must have shape (parameters, ...); got shape {parameters.shape}"
        )
    if callable(losses):
        shape = jnp.shape(jax.eval_shape(losses, parameters[0]))
        good, wanted = len(shape) == 1, "give one loss a row, shape (n,)"
    else:
        losses = checks.as_float("losses", losses)
        shape, count = losses.shape, parameters.shape[0]
        good = len(shape) == 2 and shape[1] == count
        wanted = f"have shape (n, {count}), one column a parameter"
    if not good:
        raise ValueError(f"losses must {wanted}; got shape {shape}")
    if shape[0] < rows:
        raise ValueError(f"losses must have at least {rows} rows; got shape {shape}")
    return losses, parameters, shape[0]


def reduce_parameters(
    statistic: Callable,
    losses,
    parameters: Float[Array, "parameters ..."],
    arguments: tuple,
    *,
    largest_loss: float,
    order: Order = "any",
) -> Float[Array, " parameters"]:
    """`statistic(table, *arguments)`; where losses are a function, of blocks of parameters.

    Losses must lie in [0, largest_loss] and, where the order is "falling", not rise from one
    parameter to the next in any row; "made to fall" replaces each by the largest from there on.
    What is wrong is refused, or gives NaN where it is not known.
    """
    step = functools.partial(_reduce, statistic=statistic, order=order)
    if callable(losses):
        found = _scan(step, losses, parameters, arguments, largest_loss)
    else:
        right = jnp.zeros(losses.shape[0], losses.dtype)
        found = step(right, losses, arguments, largest_loss)[1]
    value, outside, rising = found
    if checks.is_concrete(outside):
        _refuse(losses, parameters, np.asarray(outside), np.asarray(rising), largest_loss)
    return checks.poison(value, ((outside < 0) & (rising < 0)).all())


def _scan(step, loss, parameters, arguments, largest_loss):
    count = parameters.shape[0]
    size = min(BLOCK, count)
    # Filled up with the last parameter, which breaks no order.
    padding = jnp.broadcast_to(parameters[-1:], (-count % size, *parameters.shape[1:]))
    blocks = jnp.concatenate([parameters, padding]).reshape(-1, size, *parameters.shape[1:])

    def block(right, some):
        table = checks.as_float("losses", jax.vmap(loss, out_axes=1)(some))
        return step(right, table, arguments, largest_loss)

    one = checks.as_float("losses", loss(parameters[-1]))
    _, found = jax.lax.scan(block, jnp.zeros_like(one), blocks, reverse=True)
    return jax.tree.map(lambda a: a.reshape(-1)[:count], found)


@functools.partial(jax.jit, static_argnames=("statistic", "order"))
def _reduce(right, table, arguments, largest_loss, *, statistic, order):
    """What there is of each column, given the losses `right` of the table."""
    outside = _row(~((table >= 0) & (table <= largest_loss)))  # NaN is neither
    rising = jnp.full_like(outside, -1)
    if order == "falling":
        last = _row(table[:, -1:] < right[:, None])
        rising = jnp.concatenate([_row(table[:, :-1] < table[:, 1:]), last])
    if order == "made to fall":
        table = jax.lax.cummax(table.at[:, -1].max(right), 1, reverse=True)
    return table[:, 0], (statistic(table, *arguments), outside, rising)


def _row(bad) -> Int[Array, " parameters"]:
    """A row of each column where it is bad, -1 where there is none."""
    rows = jnp.arange(bad.shape[0], dtype=jnp.int32)
    return jnp.max(jnp.where(bad, rows[:, None], -1), 0)


def _refuse(losses: Any, parameters, outside, rising, largest_loss):
    """Name the row and the parameter, the first where there are several."""

    def entry(row, column):
        values = losses(parameters[column]) if callable(losses) else losses[:, column]
        return f"{np.asarray(values)[row]} at parameter {np.asarray(parameters[column])}"

    if (outside >= 0).any():
        column = int(np.argmax(outside >= 0))
        row = int(outside[column])
        raise ValueError(
            f"losses must lie between 0 and {largest_loss:g}; row {row} has {entry(row, column)}"
        )
    if (rising >= 0).any():
        column = int(np.argmax(rising >= 0))
        row = int(rising[column])
        raise ValueError(
            f"losses must not rise from one parameter to the next; row {row} has "
            f"{entry(row, column)} and {entry(row, column + 1)}. Reverse the order of the "
            "parameters, or ask for monotonise=True: each loss is then the largest from its "
            "parameter on"
        )
