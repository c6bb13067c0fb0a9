"""The bets of Waudby-Smith and Ramdas against a mean that is as large as claimed.

    K_t = prod_{i <= t} (1 + b_i (risk - L_i)),   p = 1 / max_t K_t

The stake b_i depends on the rows before i alone, and not on the risk: it is found once, and the
capital for many risks is products and comparisons.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from estimators._core._blocks import into_blocks

TURN = 16  # rows whose factors, each from 0 to 2, are multiplied before a logarithm is taken
COLUMNS = 128  # parameters at a time: losses and stakes of them stay in cache

Bets = tuple[Float[Array, "turns rows parameters"], Float[Array, "turns rows parameters"]]


def place_bets(losses: Float[Array, "n parameters"], failure: Float[Array, ""]) -> Bets:
    """Losses and stakes, in turns of some rows.

        b_i = min(1, sqrt(2 log(1 / failure) / (n v_i)))

    with v_i the variance of the rows before i, shrunk to 1/4: stakes that do well where p is
    compared with `failure`. P-values are valid at any level.
    """
    n, parameters = losses.shape
    aim = 2 * -jnp.log(failure) / n

    def bet(state, row):
        seen, total, squares = state
        stake = jnp.minimum(1, jnp.sqrt(aim * (seen + 1) / (0.25 + squares)))
        total = total + row
        squares = squares + (row - (0.5 + total) / (seen + 2)) ** 2
        return (seen + 1, total, squares), stake

    none = jnp.zeros(parameters, losses.dtype)
    start = jnp.zeros((), losses.dtype), none, none
    stakes = jax.lax.scan(bet, start, losses, unroll=8)[1]
    # Rows that fill the last turn have no stake, and change no capital.
    return jax.tree.map(functools.partial(into_blocks, size=TURN), (losses, stakes))


def betting_p_values(bets: Bets, n: int, risk: Float[Array, "..."]) -> Float[Array, " parameters"]:
    """One over the largest capital that there was, started with one."""

    def turn(state, rows):
        capital, highest = state
        losses, stakes = rows
        product = best = jnp.ones_like(capital)
        for row in range(losses.shape[0]):
            product = product * (1 + stakes[row] * (risk - losses[row]))
            best = jnp.maximum(best, product)
        # In logarithms from turn to turn: the product of all has no place in float32.
        highest = jnp.maximum(highest, capital + jnp.log(best))
        return (capital + jnp.log(product), highest), None

    none = jnp.zeros(bets[0].shape[2], bets[0].dtype)
    (_, highest), _ = jax.lax.scan(turn, (none, none), bets)
    return jnp.exp(-highest)
