"""A fitted product-kernel density, and what it can answer."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Key, Real

from estimators._core import Fitted, Stored, checks
from estimators.density._product import _product_bandwidth
from estimators.density._product._columns import Column


class ProductKDEInfo(Stored):
    """Diagnostics of a fit; never used to predict.

    Attributes:
        effective_sample_size: Kish's effective number of rows under the weights.
        log_likelihood: leave-one-out log-likelihood a row at the chosen bandwidths, nats; NaN
            unless the rule is "loo".
        steps: evaluations of that likelihood; 0 for other rules.
        status: 0 ok; 1 not finite; 2 a value outside its column's domain; 3 a constant
            continuous column; 4 a bandwidth outside its range; 5 a bandwidth fell to zero;
            6 leave-one-out did not converge. Where it is not 0 every density is NaN.
    """

    effective_sample_size: Float[Array, ""]
    log_likelihood: Float[Array, ""]
    steps: Int[Array, ""]
    status: Int[Array, ""]


class FittedProductKDE(Fitted):
    """A product-kernel density estimate; see `ProductKDE`.

    Attributes:
        columns: the kinds of the columns.
        bandwidth: `(c,)`; in data units for a continuous column (in units of the log or logit
            where it is transformed), the probability to move for a categorical one, and the
            ratio of neighbouring levels for an ordered one.
        coordinates: `(n, c)`, the fitted rows where the kernels work.
        log_jacobian: `(n,)`, log of the derivative of these coordinates by the data.
        log_weights: `(n,)`, of weights that sum to one.
        info: diagnostics, see `ProductKDEInfo`.
    """

    columns: tuple[Column, ...]
    bandwidth: Float[Array, " c"]
    coordinates: Float[Array, "n c"]
    log_jacobian: Float[Array, " n"]
    log_weights: Float[Array, " n"]
    info: ProductKDEInfo

    def log_density(self, x: Real[ArrayLike, "*batch c"]) -> Float[Array, "*batch"]:
        """Log density at `x`, `(*batch, c) -> (*batch,)`, in nats.

        The density is per unit of volume of the continuous columns and per level of the
        discrete ones. It is -inf outside a bounded column's bounds. `jax.grad` through it is
        the score in the continuous columns, and zero in the discrete ones.

        Raises:
            ValueError: if the last axis is not c, or (outside jit) `x` is not finite or not a
                code of a discrete column. Inside jit such a row gives NaN.
        """
        x = checks.as_queries("x", x, len(self.columns))
        for j, column in enumerate(self.columns):
            if not column.continuous:
                refuse_values("x", j, column, x[..., j])
        return _log_density(self, x)

    def leave_one_out_log_density(self) -> Float[Array, " n"]:
        """Log density of each fitted row given all the others, `(n,)`.

        Rows that equal it in every continuous column are left out with it; -inf where none
        differs. Costs n^2 products of kernels in O(block) memory.
        """
        return _leave_one_out(self)

    def sample(self, n: int, *, key: Key[Array, ""]) -> Float[Array, "n c"]:
        """Draw `n` independent rows from the estimate, each column in its domain."""
        checks.integer("n", n, at_least=1)
        return _sample(self, n, checks.as_key(key))


def refuse_values(name: str, j: int, column: Column, values) -> None:
    """Refuse values outside a column's domain, where they are known."""
    if not checks.is_concrete(values) or checks.holds(lambda v: column.holds(v).all(), values):
        return
    bad = np.asarray(values)[~np.asarray(column.holds(values))]
    raise ValueError(
        f"column {j} of {name} must hold values {column.wanted}, as {column!r}; got {bad[0]}"
    )


def to_coordinates(columns, points):
    """Where the kernels work, and the log-Jacobian of it: `(n, c)` and `(n,)`."""
    pairs = [(column, points[:, j]) for j, column in enumerate(columns)]
    coordinates = jnp.stack([column.coordinate(values) for column, values in pairs], 1)
    jacobians = jnp.stack([column.log_jacobian(values) for column, values in pairs], 1)
    return coordinates, jnp.sum(jacobians, 1)


@jax.jit
def _log_density(fitted: FittedProductKDE, x):
    columns = fitted.columns
    queries = x.reshape(-1, len(columns))
    coordinates, log_jacobian = to_coordinates(columns, queries)
    value = _product_bandwidth.log_sum_of_products(
        columns, fitted.bandwidth, coordinates, fitted.coordinates, fitted.log_weights
    )
    value = value + log_jacobian
    for j, column in enumerate(columns):
        nowhere = -jnp.inf if column.continuous else jnp.nan
        known = column.supports(queries[:, j]) if column.continuous else column.holds(queries[:, j])
        known |= jnp.isnan(queries[:, j])
        value = jnp.where(known, value, nowhere)
    return value.reshape(x.shape[:-1])


@jax.jit
def _leave_one_out(fitted: FittedProductKDE):
    value, _ = _product_bandwidth.leave_one_out_log_densities(
        fitted.columns, fitted.bandwidth, fitted.coordinates, fitted.log_weights
    )
    return value + fitted.log_jacobian


@functools.partial(jax.jit, static_argnums=1)
def _sample(fitted: FittedProductKDE, n, key):
    of_points, *of_columns = jax.random.split(key, 1 + len(fitted.columns))
    weights = jnp.exp(fitted.log_weights)
    centres = fitted.coordinates[jax.random.choice(of_points, weights.shape[0], (n,), p=weights)]
    draws = [
        column.sample(key, centres[:, j], fitted.bandwidth[j])
        for j, (column, key) in enumerate(zip(fitted.columns, of_columns, strict=True))
    ]
    return jnp.stack(draws, 1)
