"""Mutual information of the Gaussian law with the data's canonical correlations."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from estimators._core import (
    Spec,
    checks,
    product,
    weighted_covariance,
    weighted_mean,
    whiten,
    whitening,
)
from estimators.information._estimate import OK, Estimate, status_of
from estimators.information._gaussian._gaussian_copula import PAIR, as_pair_of_columns
from estimators.information._gaussian._log_determinants import (
    refuse_collinear,
    signed_log_determinants,
)


class CanonicalCorrelation(Spec):
    """Mutual information of the Gaussian law with the canonical correlations of x and y.

    With r_1, r_2, ... the canonical correlations (Hotelling 1936) and C the sample covariances,

        I = -sum_i log(1 - r_i^2) / 2 - bias
          = (log det C_x + log det C_y - log det C_xy) / 2 - bias        [nats]
        bias = sum_{i=1..dy} (psi((n - i) / 2) - psi((n - dx - i) / 2)) / 2

    This is `GaussianCopula` on the columns as they are. It does not change under invertible
    linear maps of x and of y, rotations included, which ranks do not allow; in exchange it
    changes under increasing maps of single columns. For Gaussian rows of unknown mean and
    covariance the corrected estimate is unbiased for every n; without the correction it is
    about `dx dy / (2 n)` too large. Cost is O(n (dx + dy)^2).

    The standard error is `sqrt(var(log density ratio) / n + dx dy / (2 n^2))`. The ratio, at the
    rows, is the influence function of the first line, so that it is right to first order for
    every law with four moments; the second term is what is left where r = 0.

    Bias in nats, standard error over the true one, and coverage of 90 % intervals, from 200
    simulated data sets:

        law                         nats    bias           error ratio   coverage
                                            n=100   500    n=100   500   n=100   500
        normal 1x1, rho = 0         0        .00    .00    1.43  1.87    .99   1.00
        normal 1x1, rho = 0.5       .144     .00    .00     .89   .95    .84    .88
        normal 1x1, rho = 0.9       .830     .00    .00     .91   .93    .85    .88
        normal 3x3, rho = 0.5       .432    -.01    .00     .98  1.05    .86    .91
        uniform + 0.75 uniform      .333    -.15   -.15     .88   .96    .12    .00
        Student 2x2, 2 df           .193     .02   -.04     .72   .67    .65    .41

    Print it again: `pytest -m validation -s tests/information/test_tables.py`.

    Args:
        bias_correction: whether the bias is subtracted, static.

    Example:
        >>> import jax
        >>> from estimators import information
        >>> x, noise = jax.random.normal(jax.random.key(0), (2, 400, 1))
        >>> estimate = information.CanonicalCorrelation().estimate(x, x + noise)
        >>> print(f"{estimate.value:.2f}")  # the truth is log(2) / 2 = 0.35
        0.35

    When it fails: it sees linear dependence and nothing else. For a law that is not Gaussian the
    answer can lie below the truth or above it: a single pair of outliers in one row is a
    correlation, and for laws without a variance (Cauchy) it tends to no limit. `GaussianCopula`
    is safe from outliers, `KSG` sees every dependence.
    """

    bias_correction: bool = eqx.field(default=True, static=True)

    def estimate(self, x: Real[ArrayLike, "n dx"], y: Real[ArrayLike, "n dy"]) -> Estimate:
        """Estimate the mutual information of `x (n, dx)` and `y (n, dy)`, in nats.

        Raises:
            ValueError: if n <= dx + dy + 1, for different numbers of rows or, outside jit, a
                constant column, collinear columns or a value that is not finite. Inside jit
                those three give NaN and a status.
        """
        x, y = as_pair_of_columns(x, y)
        return refuse_collinear(_estimate(x, y, self.bias_correction), COLLINEAR_COLUMNS)


def canonical_correlations(
    x: Real[ArrayLike, "n dx"], y: Real[ArrayLike, "n dy"]
) -> Float[Array, " m"]:
    """The canonical correlations of x and y, in decreasing order.

    The singular values of the cross-covariance of the whitened columns: the largest correlation
    of a linear combination of x with one of y, then the largest among those uncorrelated with
    the first, and so on.

    Args:
        x: `(n, dx)`, float32 or float64; rows are joint samples with those of y.
        y: `(n, dy)`.

    Returns:
        `(min(dx, dy),)`, between 0 and 1. They are sample correlations: biased upwards, by much
        where n is not large beside dx + dy.

    Raises:
        ValueError: as `CanonicalCorrelation.estimate`, except that columns of x that are
            collinear, or of y, give NaN, inside and outside jit.

    Reference: Hotelling (1936), *Relations between two sets of variates*.

    Example:
        >>> import jax
        >>> from estimators import information
        >>> x, noise = jax.random.normal(jax.random.key(0), (2, 400, 2))
        >>> correlations = information.canonical_correlations(x, x[:, ::-1] + noise)
        >>> correlations.shape
        (2,)

    When it fails: as `CanonicalCorrelation`.
    """
    return _correlations(*as_pair_of_columns(x, y))


COLLINEAR_COLUMNS = (
    "x and y must have linearly independent columns; those of x, of y or of both together are "
    "collinear. A column that repeats others within x or within y adds nothing: drop it. One "
    "that y shares with x makes the information infinite."
)


@functools.partial(jax.jit, static_argnames="correct")
def _estimate(x, y, correct):
    independent = x.shape[1] * y.shape[1] / 2
    return signed_log_determinants((x, y), PAIR, independent, by_rank=False, correct=correct)


@jax.jit
def _correlations(x, y):
    n = x.shape[0]
    weights = jnp.full(n, 1 / n, x.dtype)
    whitened, regular = [], status_of(x, y) == OK
    for columns in (x, y):
        mean = weighted_mean(columns, weights)
        factor, _, definite = whitening(weighted_covariance(columns, weights, mean))
        whitened.append(whiten(columns, mean, factor))
        regular &= definite
    cross = product(whitened[0].T, whitened[1]) / (n - 1)
    values = jnp.linalg.svd(jnp.where(regular, cross, 0), compute_uv=False)
    return checks.poison(jnp.minimum(values, 1), regular)
