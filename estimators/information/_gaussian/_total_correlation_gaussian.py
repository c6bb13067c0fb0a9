"""Total correlation of the Gaussian copula, from one log-determinant."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from estimators._core import Spec, checks
from estimators.information._estimate import Estimate, as_columns
from estimators.information._gaussian._log_determinants import (
    refuse_collinear,
    signed_log_determinants,
)


class TotalCorrelationGaussianCopula(Spec):
    """Total correlation of the Gaussian copula with the data's rank correlations.

    With C the correlations of the normal scores of m columns, `T = -log det C / 2 - bias`, in
    nats. The bias is exact for Gaussian samples of unknown mean and covariance. The standard
    error is `sqrt(var(log density ratio) / n + m (m - 1) / (4 n^2))`; the second term is what
    is left where all columns are independent. Cost is O(n log n m + n m^2).

    Example:
        >>> import jax
        >>> from estimators import information
        >>> shared, *own = jax.random.normal(jax.random.key(0), (4, 600, 1))
        >>> data = shared + jax.numpy.concatenate(own, 1)
        >>> estimate = information.TotalCorrelationGaussianCopula().estimate(data)
        >>> bool(abs(estimate.value - jax.numpy.log(2) / 2) < 0.1)  # -log det(I / 2 + 1 / 2) / 2
        True

    When it fails: as `GaussianCopula`: it sees what pairs of columns say. A column that is the
    product of two others has total correlation with them, but none of a Gaussian copula.
    """

    def estimate(self, data: Real[ArrayLike, "n m"]) -> Estimate:
        """Estimate the total correlation of the columns of `data (n, m)`, in nats.

        Raises:
            ValueError: if n <= m + 1, for fewer than 2 columns or, outside jit, a constant
                column, collinear columns or a value that is not finite. Inside jit those three
                give NaN and a status.
        """
        return refuse_collinear(_estimate(_columns(data)), COLLINEAR_DATA)


def total_correlation_gaussian_copula(data: Real[ArrayLike, "n m"]) -> Float[Array, ""]:
    """Total correlation in nats: the value of `TotalCorrelationGaussianCopula`.

    Args:
        data: `(n, m)`, float32 or float64; rows are joint samples.

    Raises:
        ValueError: as `TotalCorrelationGaussianCopula.estimate`; inside jit bad values give NaN.

    Reference: Ince et al. (2017) for the copula; Watanabe (1960) for total correlation.

    Example:
        >>> import jax
        >>> from estimators import information
        >>> data = jax.random.normal(jax.random.key(0), (8, 100, 3))
        >>> jax.vmap(information.total_correlation_gaussian_copula)(data).shape
        (8,)
    """
    return refuse_collinear(_estimate(_columns(data)), COLLINEAR_DATA).value


COLLINEAR_DATA = (
    "data must have linearly independent columns; their normal scores are collinear, and the "
    "total correlation of such columns is infinite"
)


def _columns(data):
    data = checks.as_points("data", data)
    return as_columns(data, at_least=data.shape[1] + 2)


@jax.jit
def _estimate(data):
    m = data.shape[1]
    everything = tuple(range(m))
    parts = (*((1, (column,)) for column in everything), (-1, everything))
    columns = tuple(jnp.split(data, m, axis=1))
    return signed_log_determinants(columns, parts, m * (m - 1) / 4)
