"""A network for vectors: residual layers that know the noise level."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from estimators._core import Stored, checks

FREQUENCIES = 16


class ResidualNetwork(Stored):
    """`depth` residual blocks of two layers each, told the noise level in every block.

    Called with `(inputs (m, d), times (m,))`; the last layer starts at zero, so that training
    starts from the closed form.

    Args:
        columns: d.
        width: of the hidden layers.
        depth: number of blocks.
        key: for the weights.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from estimators import score
        >>> network = score.ResidualNetwork(3, width=16, depth=2, key=jax.random.key(0))
        >>> print(network(jnp.ones((5, 3)), jnp.zeros(5)).shape)
        (5, 3)
    """

    into: eqx.nn.Linear
    of_time: eqx.nn.Linear
    blocks: tuple[tuple[eqx.nn.Linear, eqx.nn.Linear, eqx.nn.Linear], ...]
    out: eqx.nn.Linear

    def __init__(self, columns: int, *, width: int = 256, depth: int = 3, key: Key[Array, ""]):
        columns = checks.integer("columns", columns, at_least=1)
        width = checks.integer("width", width, at_least=1)
        depth = checks.integer("depth", depth, at_least=1)
        keys = iter(jax.random.split(checks.as_key(key), 3 * depth + 3))

        def layer(inputs, outputs):
            return eqx.nn.Linear(inputs, outputs, key=next(keys))

        self.into = layer(columns, width)
        self.of_time = layer(2 * FREQUENCIES, width)
        self.blocks = tuple(
            (layer(width, width), layer(width, width), layer(width, width)) for _ in range(depth)
        )
        self.out = silent(layer(width, columns))

    def __call__(
        self, inputs: Float[Array, "m d"], times: Float[Array, " m"]
    ) -> Float[Array, "m d"]:
        """The network at each row."""
        time = jax.nn.silu(jax.vmap(self.of_time)(features(times)))
        hidden = jax.vmap(self.into)(inputs)
        for first, of_time, second in self.blocks:
            inner = jax.vmap(first)(jax.nn.silu(_normalised(hidden))) + jax.vmap(of_time)(time)
            hidden = hidden + jax.vmap(second)(jax.nn.silu(inner))
        return jax.vmap(self.out)(jax.nn.silu(_normalised(hidden)))


def features(times: Float[Array, " m"]) -> Float[Array, "m features"]:
    """Sines and cosines of the time, from a quarter of a turn a unit to sixteen."""
    frequencies = jnp.geomspace(0.25, 16.0, FREQUENCIES, dtype=times.dtype)
    angles = 2 * jnp.pi * times[:, None] * frequencies[None]
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], -1)


def silent(layer):
    """The layer with weights and bias of zero."""
    zeros = jnp.zeros_like(layer.weight), jnp.zeros_like(layer.bias)
    return eqx.tree_at(lambda layer: (layer.weight, layer.bias), layer, zeros)


def _normalised(hidden):
    """Layer normalisation without parameters of its own: the next layer has them."""
    centred = hidden - jnp.mean(hidden, -1, keepdims=True)
    return centred * jax.lax.rsqrt(jnp.mean(centred**2, -1, keepdims=True) + 1e-6)
