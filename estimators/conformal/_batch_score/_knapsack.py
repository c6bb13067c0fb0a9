"""The largest batch score within a budget of steps, by dynamic programming."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

Combine = Callable[[Float[Array, "..."], Float[Array, "..."]], Float[Array, "..."]]


@functools.partial(jax.jit, static_argnames=("test", "budget"))
def largest_sum(best: Float[Array, " k"], test: int, budget: int) -> Float[Array, ""]:
    """The largest sum of `test` scores, where `best[s]` is the largest that s steps can buy.

    The steps add up to `budget`. The tables for 2, 4, .. scores are max-plus powers of `best`;
    the steps of each score are then traced back, and the sum has the derivative of those
    scores. O((test k)^2 / 4) time and O(test k) memory.
    """
    scores = jax.lax.stop_gradient(best)

    @functools.cache
    def table(count):
        if count == 1:
            return scores[: budget + 1]
        half = count // 2 if count % 2 == 0 else 1
        return _combined(table(half), table(count - half))[: budget + 1]

    def steps(count, budgets):
        if count == 1:
            return budgets
        half = count // 2 if count % 2 == 0 else 1
        tables = table(half), table(count - half)
        some = jax.lax.map(lambda b: _best_split(*tables, b), budgets)
        if half == count - half:
            return steps(half, jnp.concatenate([some, budgets - some]))
        return jnp.concatenate([some, steps(count - half, budgets - some)])

    return best[steps(test, jnp.full(1, budget))].sum()


@functools.partial(jax.jit, static_argnames=("test", "budget", "combine", "start"))
def largest_composition(
    best: Float[Array, " k"], test: int, budget: int, combine: Combine, start: float
) -> Float[Array, ""]:
    """The largest `combine(s_m, combine(.., combine(s_1, start)))`, with `best` as above.

    O(test k budget) time; it holds a table of `test` rows and `budget + 1` columns.
    """
    scores = jax.lax.stop_gradient(best[: budget + 1])
    empty = jnp.asarray(start, best.dtype)
    # One score with more steps than the table has takes the last of it.
    first = combine(jnp.pad(scores, (0, budget + 1 - scores.size), mode="edge"), empty)

    def add_score(table, _):
        return _combined(scores, table, combine)[: budget + 1], table

    _, tables = jax.lax.scan(add_score, first, length=test - 1)

    def trace_back(left, table):
        steps = _best_split(scores, table, left, combine)
        return left - steps, steps

    left, steps = jax.lax.scan(trace_back, jnp.asarray(budget), tables, reverse=True)
    chosen = best[jnp.append(jnp.minimum(left, scores.size - 1), steps)]
    return jax.lax.scan(lambda total, score: (combine(score, total), None), empty, chosen)[0]


def _combined(first, second, combine: Combine = jnp.add) -> Float[Array, " k"]:
    """`out[s] = max over a + b = s of combine(first[a], second[b])`."""

    def place(a, out):
        window = jax.lax.dynamic_slice(out, (a,), second.shape)
        window = jnp.maximum(window, combine(first[a], second))
        return jax.lax.dynamic_update_slice(out, window, (a,))

    empty = jnp.full(first.size + second.size - 1, -jnp.inf, first.dtype)
    return jax.lax.fori_loop(0, first.size, place, empty)


def _best_split(first, second, budget, combine: Combine = jnp.add) -> Int[Array, ""]:
    """The a that attains `_combined` at `budget`."""
    a = jnp.arange(first.size)
    rest = budget - a
    possible = (rest >= 0) & (rest < second.size)
    value = combine(first, second[jnp.clip(rest, 0, second.size - 1)])
    return jnp.argmax(jnp.where(possible, value, -jnp.inf))
