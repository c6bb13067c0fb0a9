"""The lower tail of the binomial law, to the precision of its dtype.

Through `betainc`, whose factor is a difference of log-gammas, half a percent would be lost in
float32 at n = 1e4. Written by relative entropy the large terms cancel before they are rounded.
"""

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln, xlog1py, xlogy
from jaxtyping import Array, Float


def relative_entropy(mean: Float[Array, "*batch"], risk: Float[Array, "*batch"]):
    """That of a coin of probability `mean` to one of `risk`, in nats."""
    gap = mean - risk
    return xlog1py(mean, gap / risk) + xlog1py(1 - mean, -gap / (1 - risk))


def binomial_tail(
    count: Float[Array, "*batch"], n: int, risk: Float[Array, "*batch"]
) -> Float[Array, "*batch"]:
    """`P(X <= count)` for X binomial of n trials, and a whole `count` below the mean; 1 above.

    The probability of `count`, times the series of the ratios of those below it.
    """
    trials = jnp.asarray(n, count.dtype)
    rest = trials - count
    log_top = _stirling(trials) - _stirling(count) - _stirling(rest)
    log_top = log_top - trials * relative_entropy(count / trials, risk)
    odds = (1 - risk) / risk
    small = jnp.finfo(count.dtype).eps

    def unfinished(state):
        _, term, total = state
        return (term > small * total).any()

    def add(state):
        place, term, total = state
        term = term * jnp.maximum(count - place, 0) / (rest + 1 + place) * odds
        return place + 1, term, total + term

    below = count < trials * risk
    start = jnp.where(below, 1, 0).astype(count.dtype)
    _, _, total = jax.lax.while_loop(unfinished, add, (jnp.zeros((), count.dtype), start, start))
    tail = jnp.where(below, jnp.exp(log_top) * total, 1)
    return jnp.where(jnp.isnan(count + risk), jnp.nan, jnp.minimum(tail, 1))


def _stirling(x):
    """`log(x!) - x log(x) + x`, which grows as `log(x) / 2` only."""
    large = jnp.maximum(x, 16)
    square = large**-2
    series = 1 / 12 - square * (1 / 360 - square * (1 / 1260 - square / 1680))
    low = jnp.minimum(x, 16)
    direct = gammaln(low + 1) - xlogy(low, low) + low
    return jnp.where(x < 16, direct, 0.5 * jnp.log(2 * jnp.pi * large) + series / large)
