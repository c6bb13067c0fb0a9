"""The units in which networks of several outcomes are trained."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from estimators._core import Stored, checks, constant_columns


class Scaling(Stored):
    """Centres and spreads of the training rows.

    Attributes:
        centre: `(d,)`, means of the features.
        inverse: `(d,)`, one over their standard deviations; 0 for a constant column, which
            says nothing, so that a new value in it says nothing either.
        y_centre: `(k,)`, means of the outcomes.
        y_scale: `(k,)`, their standard deviations.
    """

    centre: Float[Array, " d"]
    inverse: Float[Array, " d"]
    y_centre: Float[Array, " k"]
    y_scale: Float[Array, " k"]

    def features(self, x: Float[Array, "m d"]) -> Float[Array, "m d"]:
        """Features of zero mean and unit spread."""
        return (x - self.centre[None]) * self.inverse[None]

    def outcomes(self, y: Float[Array, "m k"]) -> Float[Array, "m k"]:
        """Outcomes of zero mean and unit spread."""
        return (y - self.y_centre[None]) / self.y_scale[None]

    def undo(self, points: Float[Array, "*batch k"]) -> Float[Array, "*batch k"]:
        """Points in the units of y."""
        shape = (1,) * (points.ndim - 1) + (-1,)
        return self.y_centre.reshape(shape) + self.y_scale.reshape(shape) * points


def scaling(x: Float[Array, "n d"], y: Float[Array, "n k"]) -> Scaling:
    """Means and standard deviations of training rows."""
    constant = constant_columns(y)
    if checks.holds(jnp.any, constant):
        raise ValueError(
            f"y must vary in every column; column {int(jnp.argmax(constant))} is constant"
        )
    inverse = jnp.where(constant_columns(x), 0, 1 / jnp.std(x - x[:1], 0))
    return Scaling(_mean(x), inverse, _mean(y), jnp.std(y - y[:1], 0))


def _mean(values):
    # Relative to the first row: far from the origin a plain sum loses the digits that vary.
    return values[0] + jnp.mean(values - values[:1], 0)
