"""Where a function that falls with the noise meets a value."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

_HALVINGS = 60
_TOLERANCE = 1e-2


def crossing(
    falling: Callable, value: Float[Array, ""], low: Float[Array, ""], high: Float[Array, ""]
) -> Float[Array, ""]:
    """The log noise between two bounds at which `falling(log noise)` is `value`.

    NaN where it is at none: one beyond the bounds, or beyond the range of the dtype.
    """

    def halve(_, bounds):
        low, high = bounds
        centre = 0.5 * (low + high)
        above = falling(centre) > value
        return jnp.where(above, centre, low), jnp.where(above, high, centre)

    low, high = jax.lax.fori_loop(0, _HALVINGS, halve, (low, high))
    found = 0.5 * (low + high)
    return jnp.where(jnp.abs(falling(found) - value) <= _TOLERANCE * value, found, jnp.nan)
