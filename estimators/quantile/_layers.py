"""Linear maps of a fully connected network, with random weights."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Key


def random_layers(sizes, dtype, key: Key[Array, ""]) -> list:
    """One `equinox.nn.Linear` from each size to the next.

    Drawn in float32 always: one key gives the same weights in both precisions.
    """
    keys = jax.random.split(key, len(sizes) - 1)
    layers = [
        eqx.nn.Linear(inputs, outputs, dtype=jnp.float32, key=of_layer)
        for inputs, outputs, of_layer in zip(sizes[:-1], sizes[1:], keys, strict=True)
    ]
    return jax.tree.map(lambda weights: weights.astype(dtype), layers)
