"""A fully connected network of points, told the features of their row."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from estimators._core import Stored


class PointNetwork(Stored):
    """A network of several points a row: the part that sees the features is computed once.

    Attributes:
        of_features: first layer, the columns that all points of a row share.
        of_points: first layer, the columns of the points.
        layers: the others; before each lies a SiLU.
    """

    of_features: eqx.nn.Linear
    of_points: eqx.nn.Linear
    layers: tuple[eqx.nn.Linear, ...]

    def __call__(
        self, features: Float[Array, "m d"], points: Float[Array, "m q p"]
    ) -> Float[Array, "m q outputs"]:
        """The network at each point of each row."""
        hidden = jax.vmap(self.of_features)(features)[:, None] + _each(self.of_points, points)
        for layer in self.layers:
            hidden = _each(layer, jax.nn.silu(hidden))
        return hidden


@eqx.filter_jit
def random_network(
    features: int,
    dimension: int,
    outputs: int,
    *,
    width: int,
    depth: int,
    dtype,
    key: Key[Array, ""],
) -> PointNetwork:
    """Random weights; those of the last layer are zero, so that all outputs start at zero.

    They are drawn in float32: one key gives the same weights in both precisions.
    """
    keys = iter(jax.random.split(key, depth + 2))

    def layer(inputs, outputs):
        return eqx.nn.Linear(inputs, outputs, dtype=jnp.float32, key=next(keys))

    first = layer(features, width), layer(dimension, width)
    hidden = [layer(width, width) for _ in range(depth - 1)]
    last = jax.tree.map(jnp.zeros_like, layer(width, outputs))
    network = PointNetwork(*first, (*hidden, last))
    return jax.tree.map(lambda weights: weights.astype(dtype), network)


def _each(layer, points):
    return jax.vmap(jax.vmap(layer))(points)
