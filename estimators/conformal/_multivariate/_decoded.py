"""Points of the representation, decoded, and how far outcomes are from them."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from estimators._core import Scaling, Stored
from estimators._core._blocks import map_blocks
from estimators.conformal._multivariate._directions import HalfSpaces, unit_vectors
from estimators.conformal._multivariate._representation import Representation

BLOCK = 64  # rows decoded at once
# Of the energy beside the squared distance. Of 0, .1, .3 and 1, on one split each of a curved law
# and of a table, .3 was best or within 1 % of it, and 1 larger by 9 % and more; .25 lies near.
WEIGHT = 0.25
REACH = 1.5  # how far beyond the region points are decoded, so that it can grow


class Decoded(Stored):
    """Networks and the points that they are asked at, the same for all rows.

    Attributes:
        scaling: the units of the training data.
        representation: of the outcome.
        half_spaces: the region in the representation.
        directions: `(directions, r)`, unit vectors that bound the region.
        fractions: `(points,)`, where points lie on the way from zero (0) to the edge of the region
            (1), or beyond it. Point i lies in direction i modulo their number.
    """

    scaling: Scaling
    representation: Representation
    half_spaces: HalfSpaces
    directions: Float[Array, "directions r"]
    fractions: Float[Array, " points"]

    @property
    def energies(self) -> Float[Array, " points"]:
        """What a point adds to squared distances: more, the further out it lies."""
        return WEIGHT * (self.half_spaces.radius * self.fractions) ** 2

    @property
    def unit(self) -> Float[Array, " k"]:
        """The unit of distances: the noise of the representation, in units of y."""
        return self.scaling.y_scale * self.representation.noise

    def centres(self, x: Float[Array, "m d"]) -> Float[Array, "m points k"]:
        """The decoded points, in units of y."""
        features = self.scaling.features(x)
        reach = self.half_spaces.reach(features, self.directions)
        own = jnp.arange(self.fractions.shape[0]) % self.directions.shape[0]
        z = (self.fractions[None] * reach[:, own])[..., None] * self.directions[own][None]
        return self.scaling.undo(self.representation.decoder(features, z))


@jax.jit
def scores(decoded: Decoded, x: Float[Array, "m d"], y: Float[Array, "m k"]) -> Float[Array, " m"]:
    """The least of squared distance and energy over the decoded points; its square root."""

    def block(rows):
        x, y = rows
        gap = (decoded.centres(x) - y[:, None]) / decoded.unit[None, None]
        return jnp.min(jnp.sum(gap**2, -1) + decoded.energies[None], 1)

    return jnp.sqrt(map_blocks(block, (x, y), BLOCK))


@jax.jit
def decoded_centres(decoded: Decoded, x: Float[Array, "m d"]) -> Float[Array, "m points k"]:
    """The decoded points of each row, in units of y."""
    return map_blocks(decoded.centres, x, BLOCK)


def base_points(
    directions: int, points: int, r: int, dtype, key: Key[Array, ""]
) -> tuple[Float[Array, "directions r"], Float[Array, " points"]]:
    """Directions, each with its opposite, and fractions of the way that fill the volume evenly."""
    of_directions, of_order = jax.random.split(key)
    half = unit_vectors(of_directions, (directions // 2, r), dtype)
    shares = (jnp.arange(points, dtype=jnp.float32) + 0.5) / points
    fractions = REACH * jax.random.permutation(of_order, shares) ** (1 / r)
    return jnp.concatenate([half, -half]), fractions.astype(dtype)
