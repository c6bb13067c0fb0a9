"""Runs of equal values in a sorted array: what ranks, labels and cells are made of."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Shaped


class Runs(NamedTuple):
    """Of each place of a sorted column: whether it opens its run of equal values, and that run.

    Attributes:
        first: whether a place is the first of its run.
        start: the first place of the run.
        stop: the last place of the run.
    """

    first: Bool[Array, " n"]
    start: Int[Array, " n"]
    stop: Int[Array, " n"]


def runs(ordered: Shaped[Array, " n"]) -> Runs:
    """The runs of equal values in a sorted column."""
    n = ordered.shape[0]
    place = jnp.arange(n, dtype=jnp.int32)
    edge = jnp.full(1, True)
    first = jnp.concatenate([edge, ordered[1:] != ordered[:-1]])
    last = jnp.concatenate([first[1:], edge])
    start = jax.lax.cummax(jnp.where(first, place, 0))
    return Runs(first, start, jax.lax.cummin(jnp.where(last, place, n), reverse=True))
