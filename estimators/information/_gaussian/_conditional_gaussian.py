"""Conditional mutual information of the Gaussian copula, from four log-determinants."""

import jax
from jaxtyping import Array, ArrayLike, Float, Real

from estimators._core import Spec, checks
from estimators.information._estimate import Estimate
from estimators.information._gaussian._log_determinants import (
    refuse_collinear,
    signed_log_determinants,
)
from estimators.information._neighbours._conditional import as_triple


class ConditionalGaussianCopula(Spec):
    """Conditional mutual information I(X; Y | Z) of the Gaussian copula of the data's ranks.

    With C the correlations of the normal scores (Ince et al. 2017, section 3.3 on conditional
    information),

        I = (log det C_xz + log det C_yz - log det C_xyz - log det C_z) / 2 - bias        [nats]

    The bias is exact for Gaussian samples of unknown mean and covariance. The standard error is
    `sqrt(var(log density ratio) / n + dx dy / (2 n^2))`, as in `GaussianCopula`. Cost is
    O(n log n d + n d^2) for d columns in all.

    Example:
        >>> import jax
        >>> from estimators import information
        >>> x, y, z = jax.random.normal(jax.random.key(0), (3, 600, 1))
        >>> estimate = information.ConditionalGaussianCopula().estimate(x + z, y + z, z)
        >>> bool(abs(estimate.value) < 0.05)  # what x + z and y + z share is z
        True

    When it fails: as `GaussianCopula`, and in one more way: where the copula is not Gaussian a
    dependence on z that is not linear in the scores is not taken out, and what it leaves is
    counted as information between x and y. Compare it with `ConditionalKSG`.
    """

    def estimate(
        self,
        x: Real[ArrayLike, "n dx"],
        y: Real[ArrayLike, "n dy"],
        z: Real[ArrayLike, "n dz"],
    ) -> Estimate:
        """Estimate I(X; Y | Z) of `x (n, dx)`, `y (n, dy)` and `z (n, dz)`, in nats.

        Raises:
            ValueError: if n <= dx + dy + dz + 1, for different numbers of rows or, outside jit,
                a constant column, collinear columns or a value that is not finite. Inside jit
                those three give NaN and a status.
        """
        return refuse_collinear(_estimate(*_triple(x, y, z)), COLLINEAR_TRIPLE)


def conditional_gaussian_copula(
    x: Real[ArrayLike, "n dx"], y: Real[ArrayLike, "n dy"], z: Real[ArrayLike, "n dz"]
) -> Float[Array, ""]:
    """I(X; Y | Z) in nats of the Gaussian copula: the value of `ConditionalGaussianCopula`.

    Args:
        x: `(n, dx)`, float32 or float64; rows are joint samples with those of y and z.
        y: `(n, dy)`.
        z: `(n, dz)`, what is known.

    Raises:
        ValueError: as `ConditionalGaussianCopula.estimate`; inside jit bad values give NaN.

    Reference: Ince et al. (2017). See `ConditionalGaussianCopula` for when it fails.

    Example:
        >>> import jax
        >>> from estimators import information
        >>> x, y, z = jax.random.normal(jax.random.key(0), (3, 8, 100, 1))
        >>> jax.vmap(information.conditional_gaussian_copula)(x, y, z).shape
        (8,)
    """
    return refuse_collinear(_estimate(*_triple(x, y, z)), COLLINEAR_TRIPLE).value


COLLINEAR_TRIPLE = (
    "x, y and z must have linearly independent columns; the normal scores of all together are "
    "collinear. A column that repeats others within one of them, or one of x or y that z has "
    "too, adds nothing: drop it. One that y shares with x makes the information infinite."
)


def _triple(x, y, z):
    x, y, z = (checks.as_points(name, value) for name, value in (("x", x), ("y", y), ("z", z)))
    columns = x.shape[1] + y.shape[1] + z.shape[1]
    return as_triple(x, y, z, at_least=columns + 2, why=f"2 more than their {columns} columns")


@jax.jit
def _estimate(x, y, z):
    parts = ((1, (0, 2)), (1, (1, 2)), (-1, (0, 1, 2)), (-1, (2,)))
    return signed_log_determinants((x, y, z), parts, x.shape[1] * y.shape[1] / 2)
