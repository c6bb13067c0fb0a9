"""A unit interval rolled up in the plane."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from estimators.information.simulate._transformed import Transformation


class SwissRoll(Transformation):
    """One column in [0, 1] onto a curve in the plane: `(t cos t, t sin t) / 21`.

    `t = 1.5 pi (1 + 2 u)`: the radius grows with u, so that u can be read off it.

    Reference: Czyż et al. (2023), *Beyond Normal*, the Swiss roll embedding.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators.information import simulate
        >>> curve = simulate.SwissRoll()(jnp.linspace(0, 1, 5)[:, None])
        >>> print(curve.shape, bool((jnp.diff(jnp.sum(curve**2, 1)) > 0).all()))
        (5, 2) True

    When it fails: below u = -1/2 the radius grows again, and the map is no longer injective.
    """

    def width(self, dimension: int) -> int:
        """Two columns from one.

        Raises:
            ValueError: if `dimension` is not 1.
        """
        if dimension != 1:
            raise ValueError(f"SwissRoll takes one column; got {dimension}")
        return 2

    def __call__(self, points: Float[Array, "n 1"]) -> Float[Array, "n 2"]:
        """Roll up every row."""
        self.width(points.shape[1])
        t = 1.5 * jnp.pi * (1 + 2 * points)
        return jnp.concatenate([t * jnp.cos(t), t * jnp.sin(t)], 1) / 21
