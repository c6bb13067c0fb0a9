"""Student pairs: dependent through their common scale, even where they are not correlated."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from estimators._core import checks
from estimators.information._closed_forms import student_correction
from estimators.information.simulate._normal import normal_information, normal_pairs
from estimators.information.simulate._simulator import (
    Information,
    Simulator,
    as_covariance,
    exactly,
    parameter,
)


class Student(Simulator):
    """Student's multivariate t, centred at zero.

    `(X, Y) = sqrt(v / chi^2_v) N(0, dispersion)`. Its information is that of the normal law
    with the same dispersion plus `student_correction`.

    Attributes:
        dispersion: `(dx + dy, dx + dy)`, positive definite.
        degrees: v > 0, the degrees of freedom; any real number.
        dx: number of columns of x, static.

    Raises:
        ValueError: as `Normal`; outside jit if `degrees` is not positive.

    Reference: Arellano-Valle, Contreras-Reyes & Genton (2013), *Shannon entropy and mutual
    information for multivariate skew-elliptical distributions*.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators.information import simulate
        >>> law = simulate.Student(jnp.eye(4), 2.0, dx=2)
        >>> print(f"{law.mutual_information:.4f}")
        0.1931

    When it fails: below about half a degree of freedom, float32 overflows in the tails.
    """

    dispersion: Float[Array, "d d"]
    degrees: Float[Array, ""]
    dx: int = eqx.field(static=True)

    def __init__(
        self, dispersion: Real[ArrayLike, "d d"], degrees: Real[ArrayLike, ""], *, dx: int
    ):
        self.dispersion = as_covariance("dispersion", dispersion, dx)
        checks.positive("degrees", checks.as_number("degrees", degrees))
        self.degrees = parameter("degrees", degrees, self.dispersion.dtype)
        self.dx = dx

    @property
    def dimensions(self) -> tuple[int, int]:
        """The numbers of columns `(dx, dy)`."""
        return self.dx, self.dispersion.shape[-1] - self.dx

    def _information(self) -> Information:
        value = normal_information(self.dispersion, self.dx)
        value = value + student_correction(self.degrees, *self.dimensions)
        return exactly(checks.poison(value, self.degrees > 0))

    def _draw(self, key, n):
        of_rows, of_scales = jax.random.split(key)
        x, y = normal_pairs(of_rows, n, self.dispersion, self.dx)
        scales = student_scales(of_scales, n, self.degrees)[:, None]
        return x * scales, y * scales


@functools.partial(jax.jit, static_argnames="n")
def student_scales(key, n: int, degrees: Float[Array, ""]) -> Float[Array, " n"]:
    """Draws of `sqrt(v / chi^2_v)`, by the logarithm: a small chi^2 would round to zero."""
    log_gamma = jax.random.loggamma(key, degrees / 2, (n,), degrees.dtype)
    return jnp.exp((jnp.log(degrees / 2) - log_gamma) / 2)
