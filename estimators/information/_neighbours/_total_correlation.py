"""Total correlation of several columns from nearest neighbours (Kraskov et al. 2004)."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.special import digamma
from jaxtyping import Array, ArrayLike, Float, Real

from estimators._core import Spec, checks
from estimators.information._estimate import OK, Estimate, as_columns, conclude, status_of
from estimators.information._neighbours import _counting as counting
from estimators.information._neighbours._ksg import comparable
from estimators.sharding import Rows, whole


class TotalCorrelationKSG(Spec):
    """Total correlation of several columns, `sum_j H(X_j) - H(X_1, ..., X_m)`.

    Kraskov, Stögbauer & Grassberger (2004), equation 8 for m variables: with `in_j` the number
    of other points that lie, in column j alone, strictly within the joint maximum-norm distance
    to the k-th neighbour,

        T = psi(k) + (m - 1) psi(n) - mean(sum_j psi(in_j + 1))        [nats]

    For two columns it is their mutual information, as `KSG` has it. It is zero where all
    columns are independent, and no pair of them need be dependent for it to be positive.

    The columns are standardised first. The standard error is the exact delete-one jackknife.
    Cost is O(n^2 (m + k)) time, O(m block) memory.

    Args:
        neighbours: k, static. More neighbours: less variance, more bias.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from estimators import information
        >>> x, y, noise = jax.random.normal(jax.random.key(0), (3, 600))
        >>> data = jnp.stack([x, y, x * y + 0.1 * noise], 1)  # no two columns are correlated
        >>> estimate = information.TotalCorrelationKSG().estimate(data)
        >>> bool(estimate.value > 1)
        True

    When it fails: as `KSG`; the bias is towards zero and grows with the number of columns.
    Repeated values break the assumption of a density: use `normal_scores(..., key=key)` first.
    """

    neighbours: int = eqx.field(default=5, static=True)

    def __check_init__(self):
        checks.integer("neighbours", self.neighbours, at_least=1)

    def estimate(self, data: Real[ArrayLike, "n m"] | Rows) -> Estimate:
        """Estimate the total correlation of the columns of `data (n, m)`, in nats.

        Raises:
            ValueError: for fewer than k + 2 rows or 2 columns or, outside jit, a constant
                column or a value that is not finite. Inside jit those two give NaN and a
                status.
        """
        (data,), layout = whole(data=data)
        data = as_columns(data, at_least=self.neighbours + 2)
        return _estimate(data, self.neighbours, layout)


def total_correlation_ksg(
    data: Real[ArrayLike, "n m"] | Rows, *, neighbours: int = 5
) -> Float[Array, ""]:
    """Total correlation in nats of several columns: the value of `TotalCorrelationKSG`.

    Args:
        data: `(n, m)`, float32 or float64; rows are joint samples. Or `sharding.Rows`.
        neighbours: k, static.

    Raises:
        ValueError: as `TotalCorrelationKSG.estimate`; inside jit bad values give NaN.

    Reference: Kraskov et al. (2004), equation 8. See `TotalCorrelationKSG` for when it fails.

    Example:
        >>> import jax
        >>> from estimators import information
        >>> data = jax.random.normal(jax.random.key(0), (8, 100, 3))
        >>> jax.vmap(information.total_correlation_ksg)(data).shape  # eight data sets
        (8,)
    """
    checks.integer("neighbours", neighbours, at_least=1)
    (data,), layout = whole(data=data)
    return _value(as_columns(data, at_least=neighbours + 2), neighbours, layout)


def _of_columns(data):
    columns = jnp.split(comparable(data), data.shape[1], axis=1)
    recipe = counting.Recipe(
        lambda away: (functools.reduce(jnp.maximum, away), away), (-1,) * len(columns)
    )
    constant = (len(columns) - 1) * digamma(jnp.asarray(data.shape[0], data.dtype))
    return recipe, tuple(columns), constant


@functools.partial(jax.jit, static_argnames=("neighbours", "layout"))
def _value(data, neighbours, layout):
    recipe, columns, constant = _of_columns(data)
    value = constant + counting.mean(recipe, columns, neighbours, layout)
    return checks.poison(value, status_of(data, data) == OK)


@functools.partial(jax.jit, static_argnames=("neighbours", "layout"))
def _estimate(data, neighbours, layout):
    recipe, columns, constant = _of_columns(data)
    average, error = counting.jackknife(recipe, columns, neighbours, layout)
    return conclude(constant + average, error, data, data, status_of(data, data))
