"""Increasing maps of every column: the ranks stay, the shapes of the marginals change."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from estimators._core import checks
from estimators.information.simulate._transformed import Transformation


def half_cube(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """`sign(x) |x|^(3/2)`: longer tails, no density at zero but a limit of it."""
    return jnp.sign(x) * jnp.abs(x) ** 1.5


def wiggly_x(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """The map of x of the wiggly tasks: bumps on the marginal density."""
    bumps = 0.4 * jnp.sin(x) + 0.2 * jnp.sin(1.7 * x + 1) + 0.03 * jnp.sin(3.3 * x - 2.5)
    return x + bumps


def wiggly_y(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """The map of y of the wiggly tasks."""
    bumps = 0.17 * jnp.sin(1.3 * x + 3.5) + 0.02 * jnp.sin(4.3 * x - 2.5) - 0.4 * jnp.sin(0.4 * x)
    return x + bumps


def normal_cdf(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """The standard normal distribution function: normal columns become uniform."""
    return jax.scipy.special.ndtr(x)


ELEMENTWISE = {
    "asinh": jnp.arcsinh,
    "half_cube": half_cube,
    "normal_cdf": normal_cdf,
    "wiggly_x": wiggly_x,
    "wiggly_y": wiggly_y,
}


class Elementwise(Transformation):
    """An increasing map of every column, by its name.

    Attributes:
        name: "asinh", which shortens tails; "half_cube", `sign(x) |x|^(3/2)`, which lengthens
            them; "normal_cdf"; "wiggly_x" or "wiggly_y", the identity plus three sines. Static.

    Raises:
        ValueError: for another name.

    Reference: Czyż et al. (2023), *Beyond Normal*, appendix on the tasks.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators.information import simulate
        >>> print(simulate.Elementwise("half_cube")(jnp.array([[4.0, -9.0]])))
        [[  8. -27.]]

    When it fails: "normal_cdf" maps everything above 5.5 (float32) to one.
    """

    name: str = eqx.field(static=True)

    def __init__(self, name: str):
        self.name = checks.one_of("name", name, tuple(ELEMENTWISE))

    def __call__(self, points: Float[Array, "n d"]) -> Float[Array, "n d"]:
        """Map every entry."""
        return ELEMENTWISE[self.name](points)
