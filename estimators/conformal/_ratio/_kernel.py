"""A density ratio from two kernel density estimates."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from estimators._core import Fitted, Spec, checks


class FittedKernelRatio(Fitted):
    """Two densities; see `KernelRatio`.

    Attributes:
        source: density of the calibration rows' law.
        target: density of the new rows' law.
    """

    source: Fitted
    target: Fitted

    def ratio(self, x: Real[ArrayLike, "*batch d"]) -> Float[Array, "*batch"]:
        """Density of the target over that of the source at `x`, `(*batch, d) -> (*batch,)`."""
        return jnp.exp(self.target.log_density(x) - self.source.log_density(x))  # pyright: ignore[reportAttributeAccessIssue]


class KernelRatio(Spec):
    """The ratio of two kernel density estimates.

    Args:
        density: how each is estimated, any specification of `estimators.density`; None takes
            `density.KDE("loo")`.

    Example:
        >>> import jax
        >>> from estimators import conformal
        >>> source = jax.random.normal(jax.random.key(0), (2000, 1))
        >>> fitted = conformal.KernelRatio().fit(source, source + 1.0)
        >>> print(f"{fitted.ratio(source[:1] * 0 + 0.5)[0]:.1f}")  # the truth is 1
        1.0

    Reference: Sugiyama, Suzuki & Kanamori 2012, Density Ratio Estimation in Machine Learning,
    section 2; conformal weights after Tibshirani et al. 2019.

    When it fails: in many dimensions, and where the source is thin: an error of its density
    there is an error of the ratio many times as large. Rows that the source density was fitted
    on have it too high; fit the ratio on rows other than those of the calibration.
    """

    density: Spec | None = None

    def fit(
        self, source: Real[ArrayLike, "n d"], target: Real[ArrayLike, "m d"]
    ) -> FittedKernelRatio:
        """Fit both densities.

        Args:
            source: `(n, d)`, rows of the law of the calibration rows.
            target: `(m, d)`, rows of the law of the new ones.

        Raises:
            ValueError: for another number of columns, values that are not finite, or as the
                density's own fit.
        """
        from estimators import density

        source = checks.as_points("source", source)
        target = checks.as_points("target", target, dimension=source.shape[1])
        kde = density.KDE("loo") if self.density is None else self.density
        return FittedKernelRatio(kde.fit(source), kde.fit(target))  # pyright: ignore[reportAttributeAccessIssue]
