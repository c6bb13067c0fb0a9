"""The units in which a network of features and outcomes is trained."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from estimators._core._base import Stored
from estimators._core._moments import constant_columns


class Scaling(Stored):
    """Centres and spreads of the training rows.

    Attributes:
        centre: `(d,)`, means of the features.
        inverse: `(d,)`, one over their standard deviations; 0 for a constant column, which
            says nothing, so that a new value in it says nothing either.
        y_centre: means of the outcomes, `()` or `(k,)`.
        y_scale: their standard deviations; 1 where they are constant.
    """

    centre: Float[Array, " d"]
    inverse: Float[Array, " d"]
    y_centre: Float[Array, "*k"]
    y_scale: Float[Array, "*k"]

    @classmethod
    def of(cls, features: Float[Array, "n d"], y: Float[Array, "n *k"]) -> "Scaling":
        """Those of training rows."""
        y_centre, y_spread = _centre_and_spread(y)
        constant = constant_columns(y.reshape(y.shape[0], -1)).reshape(y_centre.shape)
        return cls(*centre_and_inverse(features), y_centre, jnp.where(constant, 1, y_spread))

    def features(self, features: Float[Array, "m d"]) -> Float[Array, "m d"]:
        """Features of zero mean and unit spread."""
        return (features - self.centre[None]) * self.inverse[None]

    def outcomes(self, y: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
        """Outcomes of zero mean and unit spread; several of a row stand on the last axis."""
        return (y - _beside(self.y_centre, y)) / _beside(self.y_scale, y)

    def undo(self, outcomes: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
        """What has zero mean and unit spread, in the unit of y."""
        return _beside(self.y_centre, outcomes) + _beside(self.y_scale, outcomes) * outcomes


def power_of_two(largest: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """What brings numbers of at most this size to at most one, and rounds nothing."""
    _, exponent = jnp.frexp(jax.lax.stop_gradient(largest))
    # Beyond these one over a power of two is no normal float32.
    return jnp.ldexp(jnp.ones_like(largest), -jnp.clip(exponent, -120, 120))


def centre_and_inverse(
    features: Float[Array, "n d"],
) -> tuple[Float[Array, " d"], Float[Array, " d"]]:
    """Mean, and one over the standard deviation, of each column; see `Scaling`."""
    centre, spread = _centre_and_spread(features)
    constant = constant_columns(features)
    return centre, jnp.where(constant, 0, 1 / jnp.where(constant, 1, spread))


def _centre_and_spread(values):
    # Relative to the first row: far from the origin a plain sum loses the digits that vary.
    shifted = values - values[:1]
    return values[0] + jnp.mean(shifted, 0), jnp.std(shifted, 0)


def _beside(unit, values):
    return unit.reshape((1,) * (values.ndim - unit.ndim) + unit.shape)
