"""An exact order statistic of numbers that are read a block at a time.

One pass counts how many lie below a range and keeps a sample of those within; where all of them
fit, the one sought is among them. Otherwise the sample says where it must be, up to its error,
and the next pass looks there (Munro & Paterson 1980). With room for a million, one pass does for
a million numbers, two up to about a hundred million, three beyond.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from estimators.sharding._blocks import Blocks

ROOM = 1 << 20
ERRORS = 5  # standard errors of the sample's quantile by which the next range extends


def order_statistic_of_blocks(scores: Blocks, rank_of: Callable[[int], int]) -> Float[Array, ""]:
    """The `rank_of(n)`-th smallest of all n numbers, counted from 1; +inf for a rank above n.

    Args:
        scores: the numbers; infinities are allowed.
        rank_of: from their number, known only after a pass, to the rank; at least 1.
    """
    whole = low, high = -np.inf, np.inf
    first = found = _look(scores, whole)
    rank, n = rank_of(first.read), first.read
    if rank > n:
        return jnp.asarray(jnp.inf, first.sample.dtype)
    below, within = 0, first.within  # of the numbers: below `low`, from `low` to `high`
    sample = first.sample  # of those from `low` to `high`
    while found.within != found.sample.size or not found.below < rank <= found.below + found.within:
        asked = _proposed(sample, rank - below, within, (low, high))
        found = _look(scores, asked, n)
        if rank <= found.below:
            high, within = _before(asked[0], sample.dtype), found.below - below
        elif rank > found.below + found.within:
            low = _after(asked[1], sample.dtype)
            below, within = found.below + found.within, below + within - found.below - found.within
        elif asked[0] == asked[1]:
            return jnp.asarray(asked[0], sample.dtype)
        else:
            (low, high), below, within, sample = asked, found.below, found.within, found.sample
        sample = sample[(sample >= low) & (sample <= high)]
    index = rank - found.below - 1
    return jnp.asarray(np.partition(found.sample, index)[index])


class _Seen(NamedTuple):
    """One pass: how many numbers were read, lay below a range, and within; a sample of these."""

    read: int
    below: int
    within: int
    sample: np.ndarray


def _look(scores: Blocks, asked: tuple, length: int | None = None) -> _Seen:
    low, high = asked
    read = below = within = kept = 0
    share, parts = 1.0, []
    # At random: every k-th would be of one column, where numbers come row by row. What is found
    # does not depend on it, only after how many passes.
    generator = np.random.default_rng(0)
    for block in scores.read("scores", dimensions=1, infinite=True, length=length):
        values = block.values[: block.count] + 0.0  # -0 is 0, as it is in memory
        read += values.size
        below += int(np.count_nonzero(values < low))
        values = values[(values >= low) & (values <= high)]
        within += values.size
        if share < 1:
            values = values[generator.random(values.size) < share]
        parts.append(values)
        kept += values.size
        while kept > ROOM:  # half of those that were kept, and so from here on
            values = np.concatenate(parts)
            parts = [values[generator.random(values.size) < 0.5]]
            share, kept = share / 2, parts[0].size
    return _Seen(read, below, within, np.concatenate(parts))


def _proposed(sample: np.ndarray, rank: int, within: int, bracket: tuple) -> tuple:
    """The range to look at next, inside one that is known to hold the number sought."""
    if not sample.size:
        return bracket
    place = (rank - 0.5) / within * sample.size
    error = ERRORS * np.sqrt(max(place * (1 - place / sample.size), 0)) + 2
    ordered = np.sort(sample)
    low, high = (
        ordered[int(np.clip(at, 0, sample.size - 1))] for at in (place - error, place + error)
    )
    # At either end of the range lies the end of the bracket, which the sample does not know.
    low = bracket[0] if place - error < 0 else low
    high = bracket[1] if place + error > sample.size - 1 else high
    if (low, high) != bracket:
        return low, high
    middle = ordered[int(np.clip(place, 0, sample.size - 1))]
    return middle, middle  # one value many times: it, or what lies on one side of it, is left


def _before(value, dtype):
    return np.nextafter(np.asarray(value, dtype), np.asarray(-np.inf, dtype))


def _after(value, dtype):
    return np.nextafter(np.asarray(value, dtype), np.asarray(np.inf, dtype))
