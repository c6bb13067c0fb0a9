"""A piecewise linear distribution function through nodes, and its inverse, with jumps.

Equal nodes are a jump of the function: it has all the levels between there. Beyond its ends the
first and the last piece go on, so both functions are defined everywhere and every level below or
above those given is reached.
"""

from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Float


def level_at(
    nodes: Float[Array, " L"],
    levels: Float[Array, " L"],
    value: Float[Array, ""],
    side: Literal["left", "right"],
) -> Float[Array, ""]:
    """The level at a value: the lowest at a jump, or with `side="right"` the highest.

    Infinite beyond an end whose last piece is a jump.

    Args:
        nodes: not decreasing, finite.
        levels: not decreasing.
        value: where to read.
        side: which end of a jump.
    """
    found = jnp.searchsorted(nodes, value, side=side, method="compare_all")
    piece = jnp.clip(found - 1, 0, nodes.shape[0] - 2)
    offset = value - nodes[piece]
    width = nodes[piece + 1] - nodes[piece]
    slope = (levels[piece + 1] - levels[piece]) / jnp.where(width > 0, width, 1)
    direction = jnp.where(offset == 0, 1 if side == "right" else -1, jnp.sign(offset))
    return jnp.where(width > 0, levels[piece] + offset * slope, jnp.inf * direction)


def value_at(
    nodes: Float[Array, " L"], levels: Float[Array, " L"], level: Float[Array, ""]
) -> Float[Array, ""]:
    """The least value at which the level is reached; -inf and +inf for infinite levels."""
    found = jnp.searchsorted(levels, level, method="compare_all")
    piece = jnp.clip(found - 1, 0, nodes.shape[0] - 2)
    rise = levels[piece + 1] - levels[piece]
    slope = (nodes[piece + 1] - nodes[piece]) / jnp.where(rise > 0, rise, 1)
    finite = jnp.where(jnp.isinf(level), 0, level - levels[piece])
    # The node is added to an infinite level too: a node that is NaN must not be lost.
    return nodes[piece] + finite * slope + jnp.where(jnp.isinf(level), level, 0)
