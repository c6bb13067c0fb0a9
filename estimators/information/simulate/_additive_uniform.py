"""Uniform noise added to a uniform variable, one or many columns."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from estimators._core import checks
from estimators.information._closed_forms import additive_uniform_information
from estimators.information.simulate._simulator import (
    Information,
    Simulator,
    exactly,
    parameter,
)


class AdditiveUniform(Simulator):
    """`Y_j = X_j + N_j` with X_j uniform on [0, 1] and N_j on [-epsilon_j, epsilon_j].

    The columns are independent of each other; their informations add up.

    Attributes:
        epsilon: `(d,)`, half the width of the noise of each column, positive; a single number
            is one column. dx = dy = d.

    Raises:
        ValueError: if `epsilon` has more than one axis or (outside jit) is not positive.

    Reference: Czyż et al. (2023), *Beyond Normal*, the additive-noise task.

    Example:
        >>> from estimators.information import simulate
        >>> law = simulate.AdditiveUniform(0.1)
        >>> print(f"{law.mutual_information:.4f}")
        1.7094

    When it fails: float32 draws are multiples of 2^-23; two in 4000 rows may be equal.
    """

    epsilon: Float[Array, " d"]

    def __init__(self, epsilon: Real[ArrayLike, "*d"]):
        array = parameter("epsilon", epsilon)
        if array.ndim > 1 or array.size == 0:
            raise ValueError(
                f"epsilon must be a number or have shape (d,), d >= 1; got shape {array.shape}"
            )
        self.epsilon = checks.positive("epsilon", jnp.atleast_1d(array))

    @property
    def dimensions(self) -> tuple[int, int]:
        """The numbers of columns `(dx, dy)`."""
        return self.epsilon.shape[-1], self.epsilon.shape[-1]

    def _information(self) -> Information:
        value = jnp.sum(additive_uniform_information(self.epsilon))
        return exactly(checks.poison(value, jnp.all(self.epsilon > 0)))

    @functools.partial(jax.jit, static_argnames="n")
    def _draw(self, key, n):
        of_x, of_noise = jax.random.split(key)
        shape = (n, self.epsilon.shape[0])
        x = jax.random.uniform(of_x, shape, self.epsilon.dtype)
        noise = jax.random.uniform(of_noise, shape, self.epsilon.dtype, -1, 1)
        return x, x + self.epsilon[None] * noise
