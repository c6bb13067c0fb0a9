"""When squared distances made of a matrix product are too coarse for a Gaussian kernel sum."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from estimators._core._log_sum_exp import anywhere

# Where rounding could exceed this many nats, distances are differences: two to ten times slower.
TOLERANCE = {"float32": 1e-2, "float64": 1e-10}


def product_rounding(
    points: Float[Array, "n d"], log_weights: Float[Array, " n"], precision: Float[Array, "..."]
) -> Float[Array, "..."]:
    """Bound of a log kernel's error: about `4 eps (R / h)^2`, R the radius of the points."""
    squares = jnp.max(jnp.where(log_weights > -jnp.inf, jnp.sum(points**2, -1), 0))
    return 4 * jnp.finfo(points.dtype).eps * squares * precision


def too_coarse(rounding: Float[Array, "..."]) -> Bool[Array, ""]:
    """Whether a bound exceeds `TOLERANCE`; under `jax.vmap`, anywhere in the batch."""
    return anywhere(rounding > TOLERANCE[rounding.dtype.name])
