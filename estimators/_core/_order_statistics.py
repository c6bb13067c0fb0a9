"""Exact order statistics without a sort.

A float is mapped to an unsigned integer of the same order, and the integer is found by narrowing
its range. One pass over the values counts how many lie below each of four guesses; about five
passes do, from the bracket of a sample. Sorting to read one entry is 10 to 30 times slower on
XLA's CPU backend; this works under jit and vmap, on any device, in O(1) extra memory.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Integer

from estimators._core._collect import everywhere, greatest, least, total


@functools.partial(jax.jit, static_argnames="axis_name")
def order_statistic(
    values: Float[Array, " n"], rank: Integer[ArrayLike, ""], *, axis_name: str | None = None
) -> Float[Array, ""]:
    """The `rank`-th smallest of `values`, counted from 1.

    Returns -inf for a rank below 1, +inf for a rank above n: no such value exists, and the
    only bound that holds is the infinite one. NaN among the values gives NaN. The
    derivative is that of the value found (the mean, where several are equal). Inside
    `jax.shard_map`, `axis_name` is the mesh axis over which the values are split: one all-reduce
    of four counts a pass.
    """
    n, rank = values.shape[0], jnp.asarray(rank)
    n = n if axis_name is None else n * jax.lax.axis_size(axis_name)
    found = _select(values, rank, n, axis_name) if n else jnp.inf
    found = jnp.where(rank > n, jnp.inf, jnp.where(rank < 1, -jnp.inf, found))
    known = everywhere(~jnp.isnan(values).any(), axis_name)
    return _with_derivative(jnp.where(known, found, jnp.nan), values, axis_name)


@functools.partial(jax.jit, static_argnames="axis_name")
def grouped_order_statistics(
    values: Float[Array, " n"],
    groups: Integer[Array, " n"],
    ranks: Integer[Array, " groups"],
    *,
    axis_name: str | None = None,
) -> Float[Array, " groups"]:
    """In each group the order statistic of its own rank; see `order_statistic`.

    All groups are searched together, digit by digit: 8 or 16 passes of one scattered count
    each, in O(n + groups) memory. A value whose group is not 0 to `len(ranks) - 1` belongs to
    none. `axis_name` is as in `order_statistic`.
    """
    count = ranks.shape[0]
    known = (groups >= 0) & (groups < count)
    groups = jnp.where(known, groups, count)

    def per_group(array):
        return total(jax.ops.segment_sum(array, groups, count + 1)[:-1], axis_name)

    sizes = per_group(jnp.ones_like(groups, jnp.int32))
    invalid = per_group(jnp.isnan(values).astype(jnp.int32)) > 0
    wanted = jnp.clip(ranks, 1, jnp.maximum(sizes, 1))
    found = _smallest_of_groups(values, groups, wanted, axis_name)
    found = jnp.where(ranks > sizes, jnp.inf, jnp.where(ranks < 1, -jnp.inf, found))
    return _with_derivatives(jnp.where(invalid, jnp.nan, found), values, groups, axis_name)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _with_derivative(found, values, axis_name):
    return found.astype(values.dtype)


@_with_derivative.defjvp
def _with_derivative_jvp(axis_name, primals, tangents):
    # The bits were found by counting, which has no derivative; the value is one of `values`.
    found = _with_derivative(*primals, axis_name)
    share = (primals[1] == found).astype(found.dtype)
    equal = total(jnp.sum(share), axis_name)
    return found, total(jnp.sum(share / jnp.maximum(equal, 1) * tangents[1]), axis_name)


SAMPLE = 256
GUESSES = 4  # a pass; one that counts below four numbers takes as long as one for a single number
SEARCHED = 10  # passes; where values are left that these have not told apart, many are equal


def _select(values, rank, n, axis_name):
    """The value whose rank it is, by narrowing a bracket until it holds one."""
    values = jax.lax.stop_gradient(values)
    lowest, highest = _ordered(jnp.asarray([-jnp.inf, jnp.inf], values.dtype))
    one = jnp.asarray(1, lowest.dtype)

    # Fewer than `rank` values lie at or below `low`, and at least `rank` at or below `high`.
    def narrow(bracket, guesses):
        low, high, below, reached = bracket
        inside = (guesses > low) & (guesses < high)
        guesses = jnp.where(inside, guesses, low + (high - low) // 2)
        counts = total(_counts_up_to(values, _unordered(guesses, values.dtype)), axis_name)
        enough = counts >= rank
        return (
            jnp.max(jnp.where(enough, low, guesses)),
            jnp.min(jnp.where(enough, guesses, high)),
            jnp.max(jnp.where(enough, below, counts)),
            jnp.min(jnp.where(enough, counts, reached)),
        )

    def search(state):
        step, bracket = state
        _, _, below, reached = bracket
        # As if the values in the bracket lay evenly: where the one sought should then be, and
        # by how many standard errors of that the guesses miss it.
        size = (reached - below).astype(values.dtype)
        share = (rank - below - 0.5).astype(values.dtype) / size
        error = jnp.sqrt(jnp.maximum(share * (1 - share) / size, 0))
        parts = jnp.clip(share + jnp.asarray([-1.5, -0.4, 0.4, 1.5]) * error, 0.02, 0.98)
        return step + 1, narrow(bracket, within(bracket, parts))

    def snap(state):
        # To the values within: one that is there many times is then all that is left.
        step, (low, high, *counts) = state
        above = jnp.where(values >= _unordered(low + one, values.dtype), values, jnp.inf)
        next_one = least(jnp.min(above), axis_name)
        bracket = _ordered(next_one[None])[0] - one, largest(high), *counts
        parts = jnp.arange(1, GUESSES + 1) / (GUESSES + 1)
        return step + 1, narrow(bracket, within(bracket, parts))

    def within(bracket, parts):
        low, high, *_ = bracket
        distances = parts.astype(values.dtype) * (high - low).astype(values.dtype)
        return low + distances.astype(low.dtype)

    def largest(high):
        up_to = jnp.where(values <= _unordered(high, values.dtype), values, -jnp.inf)
        return _ordered(greatest(jnp.max(up_to), axis_name)[None])[0]

    def until(steps):
        def unfinished(state):
            step, (low, high, below, reached) = state
            return (step < steps) & (high - low > one) & (reached - below > 1)

        return unfinished

    bracket = lowest - one, highest, jnp.zeros((), jnp.int32), jnp.asarray(n, jnp.int32)
    state = jnp.asarray(0), narrow(bracket, _ordered(_guesses(values, rank / n, axis_name)))
    state = jax.lax.while_loop(until(SEARCHED), search, state)
    # NaN is in no bracket: then, and only then, it is not the bits that end this.
    state = jax.lax.while_loop(until(SEARCHED + jnp.iinfo(one.dtype).bits), snap, state)
    return _unordered(largest(state[1][1]), values.dtype)


def _counts_up_to(values, limits):
    """How many values lie at or below each limit, in one pass over the values."""
    # One reduction of several operands is one loop; a sum for each would be as many.
    each = tuple((values <= limit).astype(jnp.int32) for limit in limits)
    zeros = (jnp.zeros((), jnp.int32),) * len(each)
    return jnp.stack(jax.lax.reduce(each, zeros, _add, (0,)))


def _add(left, right):
    return tuple(a + b for a, b in zip(left, right, strict=True))


def _guesses(values, share, axis_name):
    """Numbers about the one sought, which need not be right."""
    n = values.shape[0]
    if n < 64 * SAMPLE:  # to sort a sample takes longer than it saves
        lowest, highest = jnp.min(values), jnp.max(values)
        return jnp.linspace(least(lowest, axis_name), greatest(highest, axis_name), GUESSES)
    sample = jnp.sort(values[:: n // SAMPLE][:SAMPLE])
    place = share * SAMPLE
    error = jnp.sqrt(jnp.maximum(place * (1 - share), 0)) + 1
    places = (place + jnp.asarray([-2.5, -0.7, 0.7, 2.5]) * error).astype(jnp.int32)
    guesses = sample[jnp.clip(places, 0, SAMPLE - 1)]
    return guesses if axis_name is None else jax.lax.pmean(guesses, axis_name)


@functools.partial(jax.custom_jvp, nondiff_argnums=(3,))
def _with_derivatives(found, values, groups, axis_name):
    return found.astype(values.dtype)


@_with_derivatives.defjvp
def _with_derivatives_jvp(axis_name, primals, tangents):
    found = _with_derivatives(*primals, axis_name)
    _, values, groups = primals
    count = found.shape[0]
    # The group past the end is that of values that belong to none.
    share = (values == jnp.append(found, jnp.nan)[groups]).astype(found.dtype)
    equal = jax.ops.segment_sum(share, groups, count + 1)
    moved = jax.ops.segment_sum(share * tangents[1], groups, count + 1)
    equal, moved = total((equal, moved), axis_name)
    return found, (moved / jnp.maximum(equal, 1))[:-1]


DIGIT = 4  # bits; 8 are no faster and need 16 times the memory


def _smallest_of_groups(values, groups, ranks, axis_name):
    """Radix selection: of each group's candidates, the next digit is counted, and one is kept."""
    keys, base = _ordered(values), 1 << DIGIT
    bits, count = jnp.iinfo(keys.dtype).bits, ranks.shape[0]
    groups = jnp.minimum(groups, count)
    digit_bits = jnp.asarray(DIGIT, keys.dtype)

    def step(i, state):
        prefix, left = state
        shift = (bits - DIGIT * (i + 1)).astype(keys.dtype)
        own = jnp.append(prefix, prefix[:1])[groups]
        # In two shifts: one by all the bits of a number is not defined.
        alive = (keys >> shift >> digit_bits) == (own >> shift >> digit_bits)
        digit = (keys >> shift & jnp.asarray(base - 1, keys.dtype)).astype(jnp.int32)
        cell = jnp.where(alive & (groups < count), groups * base + digit, count * base)
        counts = total(jnp.zeros(count * base + 1, jnp.int32).at[cell].add(1), axis_name)
        reached = jnp.cumsum(counts[:-1].reshape(count, base), 1)
        below = reached < left[:, None]
        passed = jnp.max(jnp.where(below, reached, 0), 1)
        return prefix | jnp.sum(below, 1).astype(keys.dtype) << shift, left - passed

    start = jnp.zeros(count, keys.dtype), ranks.astype(jnp.int32)
    prefix, _ = jax.lax.fori_loop(0, bits // DIGIT, step, start)
    return _unordered(prefix, values.dtype)


def _ordered(values):
    """Unsigned integers in the order of the floats; -0 and +0 give the same one."""
    integer = jnp.uint64 if values.dtype == jnp.float64 else jnp.uint32
    bits = jax.lax.bitcast_convert_type(values + 0.0, integer)
    sign = jnp.asarray(1, integer) << (jnp.iinfo(integer).bits - 1)
    return jnp.where(bits & sign != 0, ~bits, bits | sign)


def _unordered(key, dtype):
    sign = jnp.asarray(1, key.dtype) << (jnp.iinfo(key.dtype).bits - 1)
    bits = jnp.where(key & sign != 0, key ^ sign, ~key)
    return jax.lax.bitcast_convert_type(bits, dtype)
