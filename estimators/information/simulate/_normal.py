"""Normal pairs: the information is a log-determinant."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from estimators._core import checks, product, whitening
from estimators.information.simulate._simulator import (
    Information,
    Simulator,
    as_covariance,
    exactly,
)


class Normal(Simulator):
    """A normal law with mean zero, of `dx` columns of x followed by those of y.

    I = (log det C_x + log det C_y - log det C) / 2 nats, here by the Cholesky factor of C.

    Attributes:
        covariance: `(dx + dy, dx + dy)`, positive definite; see `dense_correlation`,
            `sparse_correlation` and `latent_correlation`.
        dx: number of columns of x, static.

    Raises:
        ValueError: if `covariance` is not square or has no column left for y; outside jit if
            it is not symmetric and positive definite. Inside jit the information is then NaN.

    Reference: Gelfand & Yaglom (1959).

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from estimators.information import simulate
        >>> law = simulate.Normal(jnp.array([[1.0, 0.75], [0.75, 1.0]]), dx=1)
        >>> print(law.dimensions, f"{law.mutual_information:.4f}")
        (1, 1) 0.4133
        >>> x, y = law.sample(jax.random.key(0), 100)
        >>> print(x.shape, y.shape)
        (100, 1) (100, 1)

    When it fails: a column that the others explain up to a fraction of about 1e-4 (float32) of
    its variance loses the digits of the information; such a covariance counts as singular.
    """

    covariance: Float[Array, "d d"]
    dx: int = eqx.field(static=True)

    def __init__(self, covariance: Real[ArrayLike, "d d"], *, dx: int):
        self.covariance = as_covariance("covariance", covariance, dx)
        self.dx = dx

    @property
    def dimensions(self) -> tuple[int, int]:
        """The numbers of columns `(dx, dy)`."""
        return self.dx, self.covariance.shape[-1] - self.dx

    def _information(self) -> Information:
        return exactly(normal_information(self.covariance, self.dx))

    def _draw(self, key, n):
        return normal_pairs(key, n, self.covariance, self.dx)


def normal_information(covariance: Float[Array, "d d"], dx: int) -> Float[Array, ""]:
    """Mutual information in nats of a normal law; NaN for what is no covariance.

    The last dy pivots of the factor are those of y given x: no determinant of x is needed.
    """
    factor, _, definite = whitening(covariance)
    _, of_y, _ = whitening(covariance[dx:, dx:])
    given_x = jnp.sum(jnp.log(jnp.diagonal(factor)[dx:]))
    return checks.poison(of_y - given_x, definite)


@functools.partial(jax.jit, static_argnames=("n", "dx"))
def normal_pairs(
    key, n: int, covariance: Float[Array, "d d"], dx: int
) -> tuple[Float[Array, "n dx"], Float[Array, "n dy"]]:
    """Draws with mean zero."""
    noise = jax.random.normal(key, (n, covariance.shape[0]), covariance.dtype)
    rows = product(noise, jnp.linalg.cholesky(covariance).T)
    return rows[:, :dx], rows[:, dx:]
