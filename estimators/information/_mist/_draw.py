"""What a random law returns, and what all laws need."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class Draw(NamedTuple):
    """A data set of one law.

    Attributes:
        x: `(rows, width)`.
        y: `(rows, width)`.
        information: nats.
    """

    x: Float[Array, "rows width"]
    y: Float[Array, "rows width"]
    information: Float[Array, ""]


def log_uniform(key, low, high, shape=()):
    """A draw whose logarithm is uniform."""
    return jnp.exp(jax.random.uniform(key, shape, minval=jnp.log(low), maxval=jnp.log(high)))


def live(columns: Int[Array, ""], width: int):
    """1 for the columns in use."""
    return (jnp.arange(width) < columns).astype(float)


def put(side, part, used):
    """The first `used` columns of a side come from the part."""
    width, c = side.shape[1], part.shape[1]
    part = jnp.pad(part, ((0, 0), (0, max(0, width - c))))[:, :width]
    return jnp.where((jnp.arange(width) < used)[None], part, side)
