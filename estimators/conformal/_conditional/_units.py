"""Features in units in which rounding is small: another basis of the functions, the same span."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from estimators._core import Stored, power_of_two


class Units(Stored):
    """What is subtracted from each column, in units of one that is constant, and its scale.

    Both are exact: a column is moved by one of its own values, and only where all of them lie
    within twice the least; and it is scaled by a power of two. So indicators stay what they are.

    Attributes:
        constant: which column is constant over the calibration rows.
        level: its value; infinite where there is none, and then no column is moved.
        centre: `(d,)`.
        scale: `(d,)`.
    """

    constant: Int[Array, ""]
    level: Float[Array, ""]
    centre: Float[Array, " d"]
    scale: Float[Array, " d"]

    @classmethod
    def of(cls, features: Float[Array, "n d"]) -> "Units":
        """Those of calibration rows."""
        features = jax.lax.stop_gradient(features)
        low, high = jnp.min(features, 0), jnp.max(features, 0)
        fixed = (low == high) & (low != 0)
        constant = jnp.argmax(fixed)
        level = jnp.where(fixed[constant], low[constant], jnp.inf)
        nearest = jnp.minimum(jnp.abs(low), jnp.abs(high))
        far = ((low > 0) | (high < 0)) & (high - low <= nearest) & ~fixed & jnp.any(fixed)
        centre = jnp.where(far, features[0], 0)
        return cls(
            constant, level, centre, power_of_two(jnp.max(jnp.abs(features - centre[None]), 0))
        )

    def __call__(self, features: Float[Array, "m d"]) -> Float[Array, "m d"]:
        """Rows in these units."""
        times = jnp.take(features, self.constant, 1) / self.level
        return (features - times[:, None] * self.centre[None]) * self.scale[None]
