"""P-values of many new rows from calibration scores that are in order already."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from estimators.conformal._predictive._order import counted_p_values
from estimators.conformal._search import search
from estimators.conformal._weighted import WeighedScores


def below_and_tied(
    weighed: WeighedScores, values: Float[Array, " m"]
) -> tuple[Float[Array, " m"], Float[Array, " m"], Float[Array, " m"]]:
    """The weight of the scores below each value, of those equal to it, and of all; no groups."""
    start = jnp.zeros(values.shape, jnp.int32)
    end = jnp.full_like(start, weighed.scores.shape[0])
    first = search(weighed.scores, values, start, end, "left")
    last = search(weighed.scores, values, first, end, "right")
    reached = jnp.concatenate([jnp.zeros(1, weighed.reached.dtype), weighed.reached])
    return reached[first], reached[last] - reached[first], reached[end]


@jax.jit
def low_p_values(
    weighed: WeighedScores,
    values: Float[Array, " m"],
    own: Float[Array, " m"] | Float[Array, ""],
    key: Key[Array, ""] | None,
) -> Float[Array, " m"]:
    """The share of weight at or below each value, its own included; a small value is extreme.

    Args:
        weighed: calibration scores.
        values: of new rows.
        own: their weights, in units of `weighed.unit`.
        key: breaks ties at random; None counts them in full.
    """
    found = counted_p_values(*below_and_tied(weighed, values), own, key)
    broken = jnp.isnan(values) | jnp.isnan(weighed.scores[0])
    return jnp.where(broken, jnp.nan, found)
