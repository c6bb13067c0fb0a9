"""The interval of an estimate that strays normally from what it estimates."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from estimators._core import _checks as checks


def normal_interval(
    value: Float[Array, "*shape"],
    standard_error: Float[Array, "*shape"],
    coverage: float | Float[Array, ""],
) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """`value -+ z * standard_error`, with z the normal quantile at `(1 + coverage) / 2`.

    Raises:
        ValueError: if `coverage` is not strictly between 0 and 1. Inside jit it gives NaN.
    """
    checks.probability("coverage", coverage)
    coverage = jnp.asarray(coverage, value.dtype)
    reach = jax.scipy.special.ndtri((1 + jnp.where(coverage > 0, coverage, jnp.nan)) / 2)
    reach = reach * standard_error
    return value - reach, value + reach
