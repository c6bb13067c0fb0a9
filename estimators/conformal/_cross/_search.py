"""Selection among the sums of K shifted sorted lists, without forming the sums."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Integer


def select(
    centres: Float[Array, "rows folds"],
    residuals: Float[Array, " n"],
    starts: Int[Array, " folds+1"],
    rank: Integer[Array, ""],
) -> Float[Array, " rows"]:
    """The `rank`-th smallest of the n sums of each row; infinite for a rank outside 1 to n.

    Each list keeps a bracket of positions, where the answer is if the list has it. A round
    takes the middle of the widest bracket as pivot, counts what lies before it in every list,
    and drops one side everywhere. Equal sums are ordered by list, then by position: no two
    entries tie, and every round halves the widest bracket. What is compared are the sums
    themselves, so their rounding is that of forming them all.

    Args:
        centres: what list k is shifted by.
        residuals: list after list, each sorted.
        starts: where each list begins, and n.
        rank: counted from 1.
    """
    n = residuals.shape[0]
    inside = jnp.clip(rank, 1, n)
    lists = _Lists(centres, residuals, starts[:-1])
    fixed = jax.lax.stop_gradient(lists)  # positions have no derivative
    sizes = jnp.broadcast_to(jnp.diff(starts)[None], centres.shape)

    def wide(bracket):
        low, high = bracket
        return jnp.any(high - low > 1)

    def narrow(bracket):
        low, high = bracket
        before = _count_to_pivot(fixed, low, high)
        enough = before.sum(1, keepdims=True) >= inside
        return jnp.where(enough, low, before), jnp.where(enough, before, high)

    low, high = jax.lax.while_loop(wide, narrow, (jnp.zeros_like(sizes), sizes))
    # At most one entry a list is left. A list without one comes after every sum, also +inf.
    empty = high <= low
    order = jnp.lexsort((fixed.at(low), empty))
    found = jnp.take_along_axis(order, inside - low.sum(1, keepdims=True) - 1, 1)
    # Read from what has a derivative, which is then that of the sum found.
    sums = jnp.take_along_axis(lists.at(low), found, 1)[:, 0]
    sums = jnp.where(rank > n, jnp.inf, jnp.where(rank < 1, -jnp.inf, sums))
    return jnp.where(_undefined(fixed, sizes), jnp.nan, sums)


class _Lists(NamedTuple):
    """One sorted list a fold, shifted for each row."""

    centres: Float[Array, "rows folds"]
    residuals: Float[Array, " n"]
    starts: Int[Array, " folds"]

    def at(self, positions: Int[Array, "rows folds"]) -> Float[Array, "rows folds"]:
        """The sum at a position of each list."""
        return self.centres + self.residuals.at[self.starts[None] + positions].get(mode="clip")


def _count_to_pivot(lists, low, high) -> Int[Array, "rows folds"]:
    """How many entries of each list come no later than the middle of the widest bracket."""
    widest = jnp.argmax(high - low, 1, keepdims=True)
    middle = (low + high - 1) // 2
    pivot = jnp.take_along_axis(lists.at(middle), widest, 1)
    number = jnp.arange(low.shape[1])[None]

    def halve(_, ends):
        low, high = ends
        position = (low + high) // 2
        sums = lists.at(position)
        before = (low < high) & ((sums < pivot) | ((sums == pivot) & (number < widest)))
        return jnp.where(before, position + 1, low), jnp.where(before, high, position)

    steps = 32 - jax.lax.clz(jnp.max(high - low, initial=0))  # the bits of the largest width
    count, _ = jax.lax.fori_loop(0, steps, halve, (low, high))
    return jnp.where(number == widest, middle + 1, count)


def _undefined(lists, sizes) -> Bool[Array, " rows"]:
    """Whether any sum of a row is NaN; in a sorted list one at the ends is, if any."""
    first, last = lists.at(jnp.zeros_like(sizes)), lists.at(sizes - 1)
    return jnp.any((jnp.isnan(first) | jnp.isnan(last)) & (sizes > 0), 1)
