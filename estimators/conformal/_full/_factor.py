"""A ridge regression in the coordinates where its Gram matrix is the identity."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Bool, Float

from estimators._core import Stored, checks, product

# Entries of the factor below this many units of rounding are rounding.
NOISE = 100


class Factor(Stored):
    """The regression of n rows; p is d, and one more with an intercept.

    Attributes:
        rows: `(n, p)`, whitened rows Z R^-1, with R'R = Z'Z + penalty.
        residuals: `(n,)`, of y.
        leverage: `(n,)`, squared lengths of the rows.
        effects: `(p,)`, coefficients of the whitened features.
        triangle: `(d, d)`, the part of R that belongs to the features.
        centre: `(d,)`, what is subtracted from features; it leaves residuals as they are.
        offset: what is added to predictions.
        constant: `(p - d,)`, the whitened column of the intercept, in any row.
    """

    rows: Float[Array, "n p"]
    residuals: Float[Array, " n"]
    leverage: Float[Array, " n"]
    effects: Float[Array, " p"]
    triangle: Float[Array, "d d"]
    centre: Float[Array, " d"]
    offset: Float[Array, ""]
    constant: Float[Array, " intercept"]

    def whiten(self, features: Float[Array, "b d"]) -> Float[Array, "b p"]:
        """Rows in these coordinates, where leverage is the squared length."""
        shifted = (features - self.centre[None]).T
        slopes = solve_triangular(self.triangle, shifted, trans="T").T
        constant = jnp.broadcast_to(self.constant[None], (len(features), len(self.constant)))
        return jnp.concatenate([slopes, constant], -1)

    def predict(self, whitened: Float[Array, "b p"]) -> Float[Array, " b"]:
        """The regression at whitened rows."""
        return self.offset + product(whitened, self.effects)


@functools.partial(jax.jit, static_argnums=3)
def factorise(
    features: Float[Array, "n d"], y: Float[Array, " n"], ridge: Float[Array, ""], intercept: bool
) -> Factor:
    """Fit n rows.

    By orthogonal rotations of the rows and of those that stand for the penalty, sqrt(ridge)
    times the identity: the Gram matrix, whose condition is the square of theirs, is not formed.
    """
    n, d = features.shape
    centre = jnp.mean(features, 0) if intercept else jnp.zeros_like(features[0])
    offset = jnp.mean(y) if intercept else jnp.zeros_like(y[0])
    constant = jnp.full(int(intercept), n**-0.5, features.dtype)
    penalty = jnp.sqrt(ridge) * jnp.eye(d, dtype=features.dtype)
    rotated, triangle = jnp.linalg.qr(jnp.concatenate([features - centre[None], penalty]))
    rows = jnp.concatenate([rotated[:n], jnp.broadcast_to(constant[None], (n, len(constant)))], -1)
    effects = product(rows.T, y - offset)
    residuals = y - offset - product(rows, effects)
    leverage = jnp.sum(rows**2, -1)
    return Factor(rows, residuals, leverage, effects, triangle, centre, offset, constant)


def check_columns(factor: Factor, features, ridge) -> Bool[Array, ""]:
    """Refuse a regression that has no single solution, or say so where it is traced."""
    n, coefficients = factor.rows.shape
    if n <= coefficients:
        if checks.is_concrete(ridge) and checks.holds(lambda r: r == 0, ridge):
            raise ValueError(
                f"features must have more rows than there are coefficients ({coefficients}) "
                f"where ridge is 0; got {n} rows. Give a ridge above 0."
            )
        return ridge > 0
    size = jnp.sqrt(jnp.sum(features**2, 0))
    noise = NOISE * jnp.finfo(features.dtype).eps * size
    dependent = (jnp.abs(jnp.diag(factor.triangle)) <= noise) & (ridge == 0)
    if checks.is_concrete(dependent) and checks.holds(jnp.any, dependent):
        raise ValueError(
            "features must not have columns that depend on each other, or constant ones, where "
            f"ridge is 0; column {int(np.argmax(dependent))} follows from those before it. "
            "Leave it out or give a ridge above 0."
        )
    return (ridge >= 0) & ~dependent.any()


def check_leverage(factor: Factor) -> Bool[Array, ""]:
    """Refuse rows that their own response determines, or say so where they are traced."""
    full = 1 - factor.leverage <= NOISE * jnp.finfo(factor.leverage.dtype).eps
    if checks.is_concrete(full) and checks.holds(jnp.any, full):
        raise ValueError(
            f"features must have no row of leverage 1 for residuals that are divided by "
            f"1 - leverage; row {int(np.argmax(full))} has. Give a larger ridge, or "
            f'residuals="ordinary".'
        )
    return ~full.any()
