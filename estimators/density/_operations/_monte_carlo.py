"""A number found by drawing, with the error of the draws."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from estimators._core import Stored, normal_interval


class MonteCarloEstimate(Stored):
    """A mean over independent draws.

    Attributes:
        value: the mean.
        standard_error: the draws' standard deviation over the root of their number. It is the
            error of the drawing alone: what it is drawn from is taken as given.
        samples: number of draws.
    """

    value: Float[Array, ""]
    standard_error: Float[Array, ""]
    samples: Int[Array, ""]

    def interval(
        self, coverage: float | Float[Array, ""] = 0.9
    ) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        """Normal interval `value -+ z * standard_error`.

        Raises:
            ValueError: if `coverage` is not strictly between 0 and 1.
        """
        return normal_interval(self.value, self.standard_error, coverage)


def mean_of(values: Float[Array, " samples"]) -> MonteCarloEstimate:
    """The mean of independent draws."""
    n = values.shape[0]
    error = jnp.std(values, ddof=1) / jnp.sqrt(jnp.asarray(n, values.dtype))
    return MonteCarloEstimate(jnp.mean(values), error, jnp.asarray(n, jnp.int32))
