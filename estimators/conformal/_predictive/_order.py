"""A p-value from counts."""

import jax
from jaxtyping import Array, Float, Key


def counted_p_values(
    beyond: Float[Array, "*batch"],
    tied: Float[Array, "*batch"],
    total: Float[Array, "*batch"],
    own: Float[Array, "*batch"] | Float[Array, ""],
    key: Key[Array, ""] | None,
) -> Float[Array, "*batch"]:
    """The share `(beyond + u (tied + own)) / (total + own)`.

    Args:
        beyond: weight of the calibration scores that are more extreme than the new one.
        tied: weight of those equal to it.
        total: weight of all.
        own: weight of the new row.
        key: for u, uniform on (0, 1]; None takes u = 1.
    """
    at_value = tied + own
    if key is not None:
        # Not on [0, 1): a p-value of 0 would be an event of probability 0.
        at_value = (1 - jax.random.uniform(key, beyond.shape, beyond.dtype)) * at_value
    # Division by a constant is compiled as a product with its inverse, which rounds twice.
    return (beyond + at_value) / jax.lax.optimization_barrier(total + own)
