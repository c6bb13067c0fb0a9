"""The rows that stand for all: systematic sampling of those that have weight."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from estimators._core._collect import Part, every, total


def places_with_weight(weights: Float[Array, " n"], stride: int) -> Int[Array, " m"]:
    """Each `stride`-th row; where some have no weight, as many evenly among the others.

    Where the others are fewer than that, rows without weight fill up the rest.
    """
    n = weights.shape[0]
    counts = weights > 0
    step = _step(jnp.sum(counts), n, stride)
    those_with_weight_first = jnp.argsort(~counts, stable=True)
    return those_with_weight_first[jnp.minimum(jnp.arange(-(-n // stride)) * step, n - 1)]


def every_with_weight(
    rows: PyTree[Array], weights: Float[Array, " n"], stride: int, part: Part | None = None
) -> tuple[PyTree[Array], Float[Array, " m"]]:
    """The rows at `places_with_weight`, and their weights; the same on every device."""
    if part is None:
        places = places_with_weight(weights, stride)
        return jax.tree.map(lambda leaf: leaf[places], (rows, weights))
    counts = (weights > 0) & (part.number >= 0)
    rank, number = _ranks(counts, part.axis_name)
    step = _step(number, part.count, stride)
    chosen = counts & (rank % step == 0)
    return every(
        (rows, weights),
        stride,
        part._replace(number=jnp.where(chosen, rank // step * stride, -1)),
    )


def _step(with_weight: Int[Array, ""], count: int, stride: int) -> Int[Array, ""]:
    """From one row with weight to the next that is taken."""
    size = -(-count // stride)
    return jnp.where(with_weight == count, stride, jnp.maximum(-(-with_weight // size), 1))


def _ranks(counts: Bool[Array, " n"], axis_name: str) -> tuple[Int[Array, " n"], Int[Array, ""]]:
    """The rank of each row among those that count on all devices, and how many there are."""
    mine = jax.lax.axis_index(axis_name)
    devices = jnp.arange(jax.lax.psum(1, axis_name))
    own = jnp.sum(counts)
    of_devices = total(jnp.where(devices == mine, own, 0), axis_name)
    before = jnp.sum(jnp.where(devices < mine, of_devices, 0))
    return before + jnp.cumsum(counts) - 1, jnp.sum(of_devices)
