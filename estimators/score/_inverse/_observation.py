"""What was seen of a point: some linear functions of it, with noise."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from estimators._core import Stored, checks


class Observation(Stored):
    """`value = operator @ x0 + noise`, the noise normal and independent.

    Args:
        operator: `(k, d)`.
        value: `(k,)`.
        noise: its standard deviation, `()` or `(k,)`, positive.

    Raises:
        ValueError: for shapes that do not fit, values that are not finite, or noise that is not
            positive. Inside jit such noise gives NaN.
    """

    operator: Float[Array, "k d"]
    value: Float[Array, " k"]
    noise: Float[Array, " k"]

    def __init__(
        self,
        operator: Real[ArrayLike, "k d"],
        value: Real[ArrayLike, " k"],
        noise: Real[ArrayLike, "..."],
    ):
        self.operator = checks.as_points("operator", operator)
        count = self.operator.shape[0]
        self.value = checks.as_vector("value", value, length=count).astype(self.operator.dtype)
        noise = checks.positive("noise", checks.as_float("noise", noise))
        if noise.shape not in ((), (count,)):
            raise ValueError(f"noise must have shape () or ({count},); got shape {noise.shape}")
        noise = jnp.where(jnp.isfinite(noise) & (noise > 0), noise, jnp.nan)
        self.noise = jnp.broadcast_to(noise, (count,)).astype(self.operator.dtype)


def as_observation(observation, dimension: int) -> Observation:
    """Check an observation of points with so many columns."""
    if not isinstance(observation, Observation):
        raise ValueError(
            f"observation must be a score.Observation; got {type(observation).__name__}"
        )
    if observation.operator.shape[1] != dimension:
        raise ValueError(
            f"operator must have {dimension} columns, as the model's points have; got shape "
            f"{observation.operator.shape}"
        )
    return observation
