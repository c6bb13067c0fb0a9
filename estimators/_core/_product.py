"""The matrix product at full precision: accelerators would round float32 to fewer bits."""

import jax
import jax.numpy as jnp


def product(a, b):
    """`a @ b`, every bit of it."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
