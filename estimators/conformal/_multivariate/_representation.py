"""A conditional variational auto-encoder: outcomes as decoded points of a normal law."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from estimators import training
from estimators._core import Stored
from estimators.conformal._multivariate._network import PointNetwork

FLOOR = 0.03  # of the noise, in standard deviations of y: below it the likelihood has no bound


class Representation(Stored):
    """Given x, y is `decoder(x, z)` and noise, with z standard normal. All in unit spreads.

    Attributes:
        encoder: from y to the mean of z and the logarithm of its spread, given x and y.
        decoder: from z to y.
        log_noise: `(k,)`, logarithms of the standard deviations of the noise, but for `FLOOR`.
    """

    encoder: PointNetwork
    decoder: PointNetwork
    log_noise: Float[Array, " k"]

    @property
    def noise(self) -> Float[Array, " k"]:
        """Standard deviations of the noise."""
        return jnp.sqrt(jnp.exp(2 * self.log_noise) + FLOOR**2)

    def encode(
        self, features: Float[Array, "m d"], y: Float[Array, "m k"], key: Key[Array, ""]
    ) -> tuple[Float[Array, "m r"], Float[Array, " m"]]:
        """A draw of z given x and y, and the divergence of its law from the normal one, nats."""
        mean, log_spread = jnp.split(self.encoder(features, y[:, None])[:, 0], 2, 1)
        # In float32, so that a key gives the same in both precisions.
        draws = jax.random.normal(key, mean.shape, jnp.float32).astype(mean.dtype)
        divergence = 0.5 * (mean**2 + jnp.exp(2 * log_spread) - 1) - log_spread
        return mean + jnp.exp(log_spread) * draws, jnp.sum(divergence, 1)


def evidence_loss(representation: Representation, rows, key) -> Float[Array, ""]:
    """Minus the evidence lower bound, a mean over rows, less a constant."""
    features, y = rows
    z, divergence = representation.encode(features, y, key)
    error = (y - representation.decoder(features, z[:, None])[:, 0]) / representation.noise[None]
    return jnp.mean(0.5 * jnp.sum(error**2, 1) + divergence) + jnp.sum(
        jnp.log(representation.noise)
    )


class BatchEvidenceLoss(eqx.Module):
    """The same on rows that are drawn anew."""

    batch_size: int = eqx.field(static=True)

    def __call__(self, representation, rows, key) -> Float[Array, ""]:
        of_batch, of_draw = jax.random.split(key)
        return evidence_loss(
            representation, training.batch(rows, of_batch, self.batch_size), of_draw
        )
