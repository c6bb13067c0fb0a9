"""Directional quantiles of the representation: half-spaces that together cut out a region."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.stats import norm
from jaxtyping import Array, Float, Key

from estimators import training
from estimators._core import Stored
from estimators.conformal._multivariate._network import PointNetwork

OFFSET = 0.5413248546129181  # softplus of it is 1: an output of zero is the quantile of N(0, I)
DRAWN = 16  # directions of a row in one step


class HalfSpaces(Stored):
    """Given x, the region of all z with `u z >= quantile(x, u)` for every direction u.

    Attributes:
        network: of u.
        radius: that of the ball about zero which holds a standard normal z with the coverage.
            The quantiles are those of level `Phi(-radius)`: there the half-spaces of a normal
            law are this ball.
    """

    network: PointNetwork
    radius: float = eqx.field(static=True)

    def quantiles(
        self, features: Float[Array, "m d"], directions: Float[Array, "m q r"]
    ) -> Float[Array, "m q"]:
        """The quantile of u z for each direction u; negative, so that zero is in the region."""
        outputs = self.network(features, directions)[..., 0]
        return -self.radius * jax.nn.softplus(outputs + OFFSET)

    def reach(
        self, features: Float[Array, "m d"], directions: Float[Array, "q r"]
    ) -> Float[Array, "m q"]:
        """How far from zero the region reaches in each of the directions that bound it."""
        each = jnp.broadcast_to(directions[None], (features.shape[0], *directions.shape))
        quantiles = self.quantiles(features, each)
        cosines = directions @ directions.T
        # Where a direction looks away from a half-space's edge it never meets it.
        meets = cosines < 0
        distances = quantiles[:, :, None] / jnp.where(meets, cosines, -1)[None]
        return jnp.min(jnp.where(meets[None], distances, jnp.inf), 1)


def pinball_loss(half_spaces: HalfSpaces, data, key) -> Float[Array, ""]:
    """The pinball loss in random directions, over its level, a mean over rows."""
    of_draw, of_directions = jax.random.split(key)
    features, y = data["rows"]
    z, _ = data["representation"].encode(features, y, of_draw)
    directions = unit_vectors(of_directions, (z.shape[0], DRAWN, z.shape[1]), z.dtype)
    projected = jnp.sum(directions * z[:, None], -1)
    error = projected - half_spaces.quantiles(features, directions)
    level = norm.cdf(-half_spaces.radius).astype(z.dtype)
    return jnp.mean(jnp.maximum(error, (1 - 1 / level) * error))


class BatchPinballLoss(eqx.Module):
    """The same on rows that are drawn anew."""

    batch_size: int = eqx.field(static=True)

    def __call__(self, half_spaces, data, key) -> Float[Array, ""]:
        of_batch, of_loss = jax.random.split(key)
        rows = training.batch(data["rows"], of_batch, self.batch_size)
        return pinball_loss(half_spaces, {**data, "rows": rows}, of_loss)


def unit_vectors(key: Key[Array, ""], shape: tuple[int, ...], dtype) -> Float[Array, "..."]:
    """Random directions; drawn in float32, so that a key gives the same in both precisions."""
    draws = jax.random.normal(key, shape, jnp.float32).astype(dtype)
    return draws / jnp.linalg.norm(draws, axis=-1, keepdims=True)
