"""Student pairs: dependent through their common scale, even where they are not correlated."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.special import digamma, gammaln
from jaxtyping import Array, ArrayLike, Float, Real

from estimators._core import checks
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


def student_correction(degrees: Float[Array, "*batch"], dx: int, dy: int) -> Float[Array, "*batch"]:
    """What Student's law has beyond the normal one of equal dispersion, in nats.

    f(v) + f(v + dx + dy) - f(v + dx) - f(v + dy),   f(v) = lnGamma(v/2) - (v/2) psi(v/2)
    """
    v = degrees / 2
    return _f(v) + _f(v + (dx + dy) / 2) - _f(v + dx / 2) - _f(v + dy / 2)


SERIES_FROM = 16.0


def _f(v):
    """`lnGamma(v) - v psi(v) + v`; what is added to f is linear and cancels, digits do not.

    For large v by Stirling's series (Abramowitz & Stegun 6.1.40, 6.3.18), to 1e-13.
    """
    small, large = jnp.minimum(v, SERIES_FROM), jnp.maximum(v, SERIES_FROM)
    direct = gammaln(small) - small * digamma(small) + small
    inverse = 1 / large
    square = inverse**2
    tail = inverse * (1 / 6 - square * (1 / 90 - square * (1 / 210 - square / 210)))
    series = (jnp.log(2 * jnp.pi * inverse) + 1) / 2 + tail
    return jnp.where(v < SERIES_FROM, direct, series)
