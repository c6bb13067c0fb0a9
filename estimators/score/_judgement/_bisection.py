"""Where a function that falls with the noise meets a value."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

_HALVINGS = 60
_REACH = 20.0


def crossing(
    falling: Callable, value: Float[Array, ""], about: Float[Array, ""]
) -> Float[Array, ""]:
    """The log noise within 20 of `about` at which `falling(log noise)` is `value`."""

    def halve(_, bounds):
        low, high = bounds
        centre = 0.5 * (low + high)
        above = falling(centre) > value
        return jnp.where(above, centre, low), jnp.where(above, high, centre)

    low, high = jax.lax.fori_loop(0, _HALVINGS, halve, (about - _REACH, about + _REACH))
    return 0.5 * (low + high)
