"""Smoothed p-values of a stream: the rank of each score among itself and its past."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Key, Real

from estimators._core import checks, runs
from estimators.conformal._quantile import as_scores


def online_p_values(scores: Real[ArrayLike, " n"], *, key: Key[Array, ""]) -> Float[Array, " n"]:
    """P-values of a stream: how extreme each score is among itself and those before it.

        p_i = (#{j <= i : S_j > S_i} + u_i #{j <= i : S_j = S_i}) / i,   u_i uniform on (0, 1]

    Large scores are extreme. If the scores are exchangeable, p_1, p_2, .. are independent and
    exactly uniform, however many are equal. O(n log n) time and O(n) memory for all of them.

    Args:
        scores: `(n,)`, in order of time. Infinite ones are allowed.
        key: draws u.

    Returns:
        `(n,)`, in (0, 1].

    Raises:
        ValueError: for a shape other than `(n,)` or NaN. Inside jit NaN makes all of them NaN.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> p_values = conformal.online_p_values(jnp.arange(1000.0), key=jax.random.key(0))
        >>> print(bool((p_values * jnp.arange(1, 1001) <= 1.001).all()))  # each is the largest yet
        True

    Reference: Vovk, Gammerman & Shafer 2005, chapter 8.

    When it fails: the scores must come from one model that has seen none of the rows, or treats
    all rows alike; a model that is trained along the stream breaks the exchangeability.
    """
    scores = as_scores("scores", scores)
    return _online_p_values(scores, checks.as_key(key))


@jax.jit
def _online_p_values(scores, key):
    n = scores.shape[0]
    ordered, time = jax.lax.sort((scores, jnp.arange(n, dtype=jnp.int32)), num_keys=1)
    rank = jnp.arange(n, dtype=jnp.int32)
    # Equal scores are in order of time, so the places before one in its run are its equals.
    tied = rank - runs(ordered).start + 1
    above = time - earlier_and_lower(jnp.zeros_like(time).at[time].set(rank))
    # Drawn in 32 bits, so that a key draws the same in either precision; not 0.
    u = (1 - jax.random.uniform(key, (n,), jnp.float32)).astype(scores.dtype)[time]
    p_values = (above + u * tied) / (time + 1)
    p_values = jnp.zeros_like(scores).at[time].set(p_values.astype(scores.dtype))
    return checks.poison(p_values, ~jnp.isnan(scores).any())


def earlier_and_lower(ranks: Int[Array, " n"]) -> Int[Array, " n"]:
    """How many lower ranks come before each rank 0 to n - 1 in time; in order of rank.

    Ranks are sorted by their bits, the highest first, and rows keep the order of time within
    those that agree so far. Two rows part at the first bit in which they differ, so each pair
    is counted once: a row with bit 1 counts the rows with bit 0 before it. Ranks that agree so
    far lie where their lowest has its place, so no list of groups is kept.
    """
    n = ranks.shape[0]
    bits = max(n - 1, 0).bit_length()
    place = jnp.arange(n, dtype=jnp.int32)

    def part(i, state):
        ranks, counts = state
        bit = bits - 1 - i
        start = (ranks >> bit >> 1) << bit << 1
        high = (ranks >> bit) & 1
        lows = jnp.cumsum(1 - high)
        before = lows - (1 - high) - jnp.where(start > 0, lows[start - 1], 0)
        # Those with bit 0 come first: all ranks of the group up to that of the bit.
        goal = jnp.where(high == 1, place - before + (1 << bit), start + before)
        counts = counts + high * before
        return tuple(jnp.zeros_like(a).at[goal].set(a) for a in (ranks, counts))

    return jax.lax.fori_loop(0, bits, part, (ranks, jnp.zeros_like(ranks)))[1]
