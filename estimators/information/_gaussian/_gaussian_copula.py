"""Mutual information of the Gaussian copula (Ince et al. 2017), from one log-determinant."""

import jax
from jaxtyping import Array, ArrayLike, Float, Real

from estimators._core import Spec, checks
from estimators.information._estimate import Estimate, as_pair
from estimators.information._gaussian._log_determinants import (
    refuse_collinear,
    signed_log_determinants,
)


class GaussianCopula(Spec):
    """Mutual information of the Gaussian copula with the data's rank correlations.

    With C the correlations of the normal scores (Ince, Giordano, Kayser, Rousselet, Gross &
    Schyns 2017),

        I = (log det C_x + log det C_y - log det C_xy) / 2 - bias        [nats]
        bias = sum_{i=1..dy} (psi((n - i) / 2) - psi((n - dx - i) / 2)) / 2

    The bias is exact for Gaussian samples of unknown mean and covariance. Cost is
    O(n log n (dx + dy) + n (dx + dy)^2). The standard error is
    `sqrt(var(log density ratio) / n + dx dy / (2 n^2))`, the ratio that of the Gaussian copula
    at the scores; the second term is what is left where x and y are independent.

    Standard error over the true one, and coverage of 90 % intervals, from 2000 simulated data
    sets; where the copula is not Gaussian, of the estimate's own mean:

        law                       error ratio     coverage
                                  n=100    500    n=100    500
        normal 1x1, rho = 0        1.53   1.72     1.00   1.00
        normal 1x1, rho = 0.3       .97   1.01      .83    .89
        normal 1x1, rho = 0.75      .94    .98      .85    .88
        normal 1x1, rho = 0.95      .92    .95      .81    .86
        normal 3x3, rho = 0.5       .97   1.01      .87    .90
        uniform + 0.75 uniform      .97   1.00      .87    .90
        Student 2x2, 2 df          1.38   1.44      .97    .96

    400 data sets of each print it again:
    `pytest -m validation -s tests/information/test_coverage.py`.

    Example:
        >>> import jax
        >>> from estimators import information
        >>> x, noise = jax.random.normal(jax.random.key(0), (2, 400, 1))
        >>> estimate = information.GaussianCopula().estimate(x, x + noise)
        >>> print(f"{estimate.value:.2f}")  # the truth is log(2) / 2 = 0.35
        0.35

    When it fails: it estimates the information of a Gaussian copula, and says so honestly only
    about data that have one. For others the answer can lie below the truth or above it, by any
    amount: for y = +-x with a random sign it is zero. Compare it with `KSG`. Ties
    share a score, which loses information; break them with `normal_scores(..., key=key)` first.
    The value depends on the data through ranks: the gradient is zero.
    """

    def estimate(self, x: Real[ArrayLike, "n dx"], y: Real[ArrayLike, "n dy"]) -> Estimate:
        """Estimate the mutual information of `x (n, dx)` and `y (n, dy)`, in nats.

        Raises:
            ValueError: if n <= dx + dy + 1, for different numbers of rows or, outside jit, a
                constant column, collinear columns or a value that is not finite. Inside jit
                those three give NaN and a status.
        """
        return refuse_collinear(_estimate(*as_pair_of_columns(x, y)), COLLINEAR_PAIR)


def gaussian_copula(x: Real[ArrayLike, "n dx"], y: Real[ArrayLike, "n dy"]) -> Float[Array, ""]:
    """Mutual information in nats of the Gaussian copula: the value of `GaussianCopula`.

    Args:
        x: `(n, dx)`, float32 or float64; rows are joint samples with those of y.
        y: `(n, dy)`.

    Raises:
        ValueError: as `GaussianCopula.estimate`; inside jit bad values give NaN.

    Reference: Ince et al. (2017), equations 9 to 12. See `GaussianCopula` for when it fails.

    Example:
        >>> import jax
        >>> from estimators import information
        >>> x, noise = jax.random.normal(jax.random.key(0), (2, 8, 400, 1))
        >>> jax.vmap(information.gaussian_copula)(x, x + noise).shape  # eight data sets
        (8,)
    """
    return refuse_collinear(_estimate(*as_pair_of_columns(x, y)), COLLINEAR_PAIR).value


# The terms of x, of y, and of both.
PAIR = ((1, (0,)), (1, (1,)), (-1, (0, 1)))

COLLINEAR_PAIR = (
    "x and y must have linearly independent columns; the normal scores of x, of y or of "
    "both together are collinear. A column that repeats another within x or within y "
    "adds nothing: drop it. One that y shares with x makes the information infinite."
)


def as_pair_of_columns(x, y):
    """Check two variables that have rows enough for a joint covariance with an inverse."""
    x, y = checks.as_points("x", x), checks.as_points("y", y)
    dx, dy = x.shape[1], y.shape[1]
    return as_pair(x, y, at_least=dx + dy + 2, why=f"dx + dy + 2 for dx = {dx}, dy = {dy}")


@jax.jit
def _estimate(x, y):
    return signed_log_determinants((x, y), PAIR, x.shape[1] * y.shape[1] / 2)
