"""A shear along a sine, and an affine map."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from estimators._core import product
from estimators.information.simulate._simulator import parameters
from estimators.information.simulate._transformed import Transformation


class Wave(Transformation):
    """Move the first column by `amplitude sin(frequency x_2)`, x_2 the second column.

    A shear: it keeps volumes and is undone by the negative amplitude.

    Attributes:
        amplitude: in the units of the first column.
        frequency: radians for each unit of the second.

    Reference: Czyż et al. (2025), *On the Properties and Estimation of Pointwise Mutual
    Information Profiles*, the Waves model.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators.information import simulate
        >>> print(simulate.Wave(5.0, jnp.pi / 2)(jnp.array([[1.0, 1.0]])))
        [[6. 1.]]

    When it fails: as `Spiral`, for arguments of the sine beyond about 1e5 (float32).
    """

    amplitude: Float[Array, ""]
    frequency: Float[Array, ""]

    def __init__(self, amplitude: Real[ArrayLike, ""], frequency: Real[ArrayLike, ""]):
        self.amplitude, self.frequency = parameters(amplitude=amplitude, frequency=frequency)

    def width(self, dimension: int) -> int:
        """The number of columns, which stays.

        Raises:
            ValueError: if there are fewer than two.
        """
        if dimension < 2:
            raise ValueError(f"Wave takes two columns or more; got {dimension}")
        return dimension

    def __call__(self, points: Float[Array, "n d"]) -> Float[Array, "n d"]:
        """Shear every row."""
        self.width(points.shape[1])
        amplitude, frequency = (a.astype(points.dtype) for a in (self.amplitude, self.frequency))
        return points.at[:, 0].add(amplitude * jnp.sin(frequency * points[:, 1]))


class Affine(Transformation):
    """Rows to `matrix x + offset`.

    Attributes:
        matrix: `(d, d)`, invertible.
        offset: `(d,)`.

    Raises:
        ValueError: if the shapes do not fit each other.

    Reference: none needed; a linear map with an inverse.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators.information import simulate
        >>> print(simulate.Affine(2 * jnp.eye(2), jnp.array([0.0, 1.0]))(jnp.ones((1, 2))))
        [[2. 3.]]

    When it fails: a singular matrix is not refused, and then information is lost.
    """

    matrix: Float[Array, "d d"]
    offset: Float[Array, " d"]

    def __init__(self, matrix: Real[ArrayLike, "d d"], offset: Real[ArrayLike, " d"]):
        self.matrix, self.offset = parameters(matrix=matrix, offset=offset)
        if self.matrix.ndim != 2 or self.matrix.shape != 2 * self.offset.shape:
            raise ValueError(
                f"matrix must have shape (d, d) and offset (d,); got shapes {self.matrix.shape} "
                f"and {self.offset.shape}"
            )

    def width(self, dimension: int) -> int:
        """The number of columns, which stays.

        Raises:
            ValueError: if the matrix is made for another number.
        """
        if dimension != self.offset.shape[-1]:
            raise ValueError(
                f"Affine of a matrix of shape {self.matrix.shape} does not fit {dimension} columns"
            )
        return dimension

    def __call__(self, points: Float[Array, "n d"]) -> Float[Array, "n d"]:
        """Map every row."""
        matrix, offset = (a.astype(points.dtype) for a in (self.matrix, self.offset))
        return product(points, matrix.T) + offset[None]
