"""The fully connected network that all network models share."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from estimators._core import Stored
from estimators.quantile._layers import random_layers


def rectified_square(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """ReQU, `max(x, 0)^2`: a continuous derivative, which a penalty on it needs."""
    return jnp.maximum(x, 0) ** 2


ACTIVATIONS = {"silu": jax.nn.silu, "requ": rectified_square}


class Trunk(Stored):
    """A network `(m, inputs) -> (m, outputs)`.

    Attributes:
        layers: linear maps; between two of them lies the activation.
        activation: "silu" or "requ".
    """

    layers: tuple[eqx.nn.Linear, ...]
    activation: str = eqx.field(static=True)

    def __call__(self, rows: Float[Array, "m inputs"]) -> Float[Array, "m outputs"]:
        """The network at each row."""
        *hidden, last = self.layers
        for layer in hidden:
            rows = ACTIVATIONS[self.activation](jax.vmap(layer)(rows))
        return jax.vmap(last)(rows)


@eqx.filter_jit
def random_trunk(sizes: tuple[int, ...], activation: str, dtype, key: Key[Array, ""]) -> Trunk:
    """Random weights; those of the last layer are zero, so that all outputs start at zero."""
    layers = random_layers(sizes, dtype, key)
    layers[-1] = jax.tree.map(jnp.zeros_like, layers[-1])
    return Trunk(tuple(layers), activation)
