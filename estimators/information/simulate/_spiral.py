"""A rotation that grows with the distance from the origin."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from estimators._core import checks
from estimators.information.simulate._simulator import parameter
from estimators.information.simulate._transformed import Transformation


class Spiral(Transformation):
    """Rotate two columns by the angle `speed |x|^2`, the norm that of all columns.

    It keeps norms and volumes and is undone by the negative speed.

    Attributes:
        speed: radians for each unit of squared distance.
        plane: the two columns, static; a positive angle turns the first towards the second.

    Raises:
        ValueError: if `plane` is not two different columns.

    Reference: Czyż et al. (2023), *Beyond Normal*, the spiral diffeomorphism.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators.information import simulate
        >>> print(simulate.Spiral(jnp.pi / 2)(jnp.array([[1.0, 0.0]])).round(3))
        [[-0.  1.]]

    When it fails: at large distances a small step turns many times: beyond angles of about
    1e5 (float32) the direction is noise.
    """

    speed: Float[Array, ""]
    plane: tuple[int, int] = eqx.field(static=True)

    def __init__(self, speed: Real[ArrayLike, ""], *, plane: tuple[int, int] = (0, 1)):
        self.speed = parameter("speed", speed)
        first, second = (checks.integer("plane", column, at_least=0) for column in plane)
        if first == second:
            raise ValueError(f"plane must be two different columns; got {plane}")
        self.plane = (first, second)

    def width(self, dimension: int) -> int:
        """The number of columns, which stays.

        Raises:
            ValueError: if a column of the plane is not there.
        """
        if dimension <= max(self.plane):
            raise ValueError(f"Spiral in the plane {self.plane} does not fit {dimension} columns")
        return dimension

    def __call__(self, points: Float[Array, "n d"]) -> Float[Array, "n d"]:
        """Rotate every row."""
        self.width(points.shape[1])
        return spiral(points, self.speed.astype(points.dtype), self.plane)


def spiral(
    points: Float[Array, "n d"], speed: Float[Array, ""], plane: tuple[int, int]
) -> Float[Array, "n d"]:
    """Rotate two columns of every row by the angle `speed |x|^2`."""
    first, second = plane
    angle = speed * jnp.sum(points**2, 1)
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    a, b = points[:, first], points[:, second]
    turned = points.at[:, first].set(cosine * a - sine * b)
    return turned.at[:, second].set(sine * a + cosine * b)
