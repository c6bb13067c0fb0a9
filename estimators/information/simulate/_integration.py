"""Means over the standard normal law, by points that fill space evenly."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

SHIFTS = 16
BLOCK = 1024


def integrate_over_normal(
    function: Callable, dimension: int, draws: int, dtype
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Mean of `function(z)` over standard normal z, and its standard error.

    The points are multiples of the square roots of primes modulo one (Richtmyer 1951), shifted
    at random, 16 times (Cranley & Patterson 1976), and folded (Hickernell 2002): each shift
    alone gives an unbiased mean, the spread of the 16 gives the error. For smooth functions of
    few variables it falls almost as `1 / draws`: after 2^20 points it was 2e-5 to 4e-5 nats for
    the mixtures among the benchmark tasks, where random points leave about 1e-3. The shifts are
    always the same, so that a truth is one number.

    Args:
        function: `(n, d) -> (n,)`.
        dimension: d, static.
        draws: points in all, static; rounded up to whole blocks for each shift.
        dtype: float32 or float64.
    """
    each = -(-draws // SHIFTS)
    rows = min(each, BLOCK)
    blocks = -(-each // rows)
    steps = jnp.asarray(directions(dimension))
    shifts = jax.random.bits(jax.random.key(0), (SHIFTS, dimension), jnp.uint32)

    @jax.checkpoint
    def of_block(first, shift):
        index = first + jnp.arange(rows, dtype=jnp.uint32)
        # Fractions of one as whole numbers below 2^32: they wrap around exactly.
        uniform = _in_unit_interval(index[:, None] * steps[None] + shift[None], dtype)
        folded = jnp.where(uniform < 0.5, 2 * uniform, 2 - 2 * uniform)
        return jnp.mean(function(jax.scipy.special.ndtri(folded)))

    def of_shift(shift):
        starts = rows * jnp.arange(blocks, dtype=jnp.uint32)
        return jnp.mean(jax.lax.map(lambda first: of_block(first, shift), starts))

    means = jax.lax.map(of_shift, shifts)
    return jnp.mean(means), jnp.std(means, ddof=1) / np.sqrt(SHIFTS).astype(dtype)


def directions(dimension: int) -> np.ndarray:
    """Fractional parts of the square roots of the first primes, in units of 2^-32."""
    primes: list[int] = []
    candidate = 2
    while len(primes) < dimension:
        if all(candidate % prime for prime in primes):
            primes.append(candidate)
        candidate += 1
    fractions = np.sqrt(np.array(primes, np.float64)) % 1
    return np.floor(fractions * 2.0**32).astype(np.uint32)


def _in_unit_interval(place, dtype):
    """Whole numbers below 2^32 to the middle of their place in (0, 1), never its ends."""
    bits = min(jnp.finfo(dtype).nmant, 32)
    kept = jnp.right_shift(place, jnp.uint32(32 - bits)) if bits < 32 else place
    return (kept.astype(dtype) + 0.5) * 2.0**-bits
