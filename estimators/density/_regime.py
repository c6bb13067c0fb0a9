"""Is the density at a point an average over many data points, or the echo of a few?

The kernel sum at x is a random energy model (Biroli & Mezard 2024, arXiv 2408.05807). Below
a bandwidth h_G it has condensed onto a few points. Above it the sum has a heavy tail, that of
a stable law of index m = (h / h_G)^2, and from h_CLT = sqrt(2) h_G on the central limit theorem
holds, slowly at first. All of it is read from the kernel weights at x (`_condensation`). Where
the theorem holds the estimate comes with an error bar, and elsewhere with the reason why not.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Real

from estimators._core import Stored, checks, log_sum_exp, student_quantile, whiten
from estimators._core._moments import log_of_weights
from estimators.density._condensation import (
    CLASSICAL_VARIANCE_PARTICIPATION,
    KernelSum,
    central_limit_holds,
    stable_index,
)
from estimators.density._fitted import FittedKDE, as_fitted, log_volume, rows_of
from estimators.density._fitted import kernel_sum as kernel_density
from estimators.density._kernels import Gaussian
from estimators.density._labels import first_of_equal_labels

REGIMES = ("classical", "heavy-tailed", "condensed")

REASONS = (
    "",
    "condensed: a few points are the whole sum",
    "heavy-tailed: too near to condensing, the sum's fluctuations are not normal",
    "heavy-tailed: too few points carry the variance of the sum",
    "undefined: the density is NaN",
)


class Regime(Stored):
    """The regime of a density estimate at each query; all arrays `(*batch,)`.

    Attributes:
        log_density: the estimate, nats a unit of volume.
        standard_error: standard deviation of `log_density` over fresh data sets, the kernels
            kept: the relative standard deviation of the kernel sum, from its terms. +inf where
            the regime is not classical, NaN where the density is.
        participation_ratio: sum of the squared normalised kernel weights, from 1/n (all
            points count alike) to 1 (one point is the whole sum).
        variance_participation_ratio: the same of the squared weights: one over the number of
            points that carry the variance of the sum.
        stable_index: m = (h / h_G)^2 with h_G the condensation bandwidth at this point: the
            index of the tail of the kernels in the sum. Cut off at 1e-6 and 1e6. It is the m
            at which the participation ratio would be critical. Hill's estimator off the
            nearest 1 % of the points, another way to the same index, is 60 % too high at
            n = 1e4, d = 30. It scatters by a factor of up to two over data sets.
        code: 0 classical: the central limit theorem holds well enough for an error bar, about
            m >= 3 and a variance participation ratio below .1; 2 condensed, m < 1; 1
            heavy-tailed, between; -1 where the density is NaN. Because `stable_index`
            scatters, classical is decided by a steadier estimate of it from all points that
            carry the sum.
    """

    log_density: Float[Array, "*batch"]
    standard_error: Float[Array, "*batch"]
    participation_ratio: Float[Array, "*batch"]
    variance_participation_ratio: Float[Array, "*batch"]
    stable_index: Float[Array, "*batch"]
    code: Int[Array, "*batch"]

    @property
    def effective_points(self) -> Float[Array, "*batch"]:
        """How many points carry the value: one over the participation ratio."""
        return 1 / self.participation_ratio

    @property
    def condensation_bandwidth(self) -> Float[Array, "*batch"]:
        """The bandwidth h_G at which the sum at this point condenses, as a multiple of that of
        the fitted kernel (with unequal widths, of all of them): `stable_index ** -0.5`.
        """
        return self.stable_index**-0.5

    @property
    def label(self) -> np.ndarray:
        """The name of the regime at each query, an array of strings (outside jit only)."""
        return np.asarray((*REGIMES, "undefined"))[np.asarray(self.code)]

    @property
    def reason(self) -> np.ndarray:
        """Why no interval is offered, an array of strings (outside jit only).

        Empty where one is offered.
        """
        code = np.asarray(self.code)
        few = np.asarray(self.variance_participation_ratio) >= CLASSICAL_VARIANCE_PARTICIPATION
        return np.asarray(REASONS)[
            np.select([code == 0, code == 2, code == -1, few], [0, 1, 4, 3], 2)
        ]

    def interval(
        self, coverage: float | Float[Array, ""] = 0.95
    ) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
        """Lower and upper bound on the log of the smoothed density.

        What it covers is the log of the expected estimate at this point: of the data's
        density *convolved with the kernel*. The bias of smoothing is not in it, nor the choice
        of the bandwidth, so it says nothing about the data's density itself where the kernel
        is wide. It is Student's, with the freedom of the variance's own error (Satterthwaite).

        Where the regime is classical, intervals of 95 % cover 92 to 98 % of fresh data sets
        (docs/validation.md). Elsewhere none is offered: the bounds are -inf and +inf, and
        `reason` says why. NaN where the density is.

        Raises:
            ValueError: if `coverage` is not strictly between 0 and 1. Inside jit it gives NaN.

        Example:
            >>> import jax
            >>> from estimators import density
            >>> points = jax.random.normal(jax.random.key(0), (2000, 2))
            >>> fitted = density.KDE(0.4).fit(points)
            >>> near = density.regime(fitted, jax.numpy.array([[0.0, 0.0], [9.0, 9.0]]))
            >>> lower, upper = near.interval(0.95)
            >>> print(f"{lower[0]:.2f} {upper[0]:.2f}")  # the smoothed density's is -1.99
            -2.11 -1.95
            >>> print(near.reason[1])
            condensed: a few points are the whole sum
        """
        checks.probability("coverage", coverage)
        dtype = self.log_density.dtype
        coverage = jnp.asarray(coverage, dtype)
        coverage = jnp.where((coverage > 0) & (coverage < 1), coverage, jnp.nan)
        z = jax.scipy.special.ndtri((1 + coverage) / 2)
        # At least 20 degrees of freedom where an interval is offered.
        share = jnp.minimum(self.variance_participation_ratio, CLASSICAL_VARIANCE_PARTICIPATION)
        student = student_quantile(z, 2 / share)
        half = student * self.standard_error
        return self.log_density - half, self.log_density + half


def regime(fitted: FittedKDE, x: Real[ArrayLike, "*batch d"]) -> Regime:
    """Say at each row of `x` how many points the density estimate rests on, and its error.

    Args:
        fitted: a fitted kernel density estimate with a Gaussian kernel.
        x: `(*batch, d)`. Take rows that were not in the fit: a point of the fit finds
            itself at distance zero and looks condensed.

    Returns:
        See `Regime`. Costs seven to ten passes over the points. Differentiable in `x` and in
        the fit.

    Raises:
        ValueError: if the kernel is not Gaussian, the last axis is not d, or (outside jit)
            `x` is not finite.

    Example:
        >>> import jax
        >>> from estimators import density
        >>> points = jax.random.normal(jax.random.key(0), (1000, 30))
        >>> fitted = density.KDE("scott").fit(points[:900])
        >>> near = density.regime(fitted, points[900:])
        >>> str(near.label[0]), bool((near.effective_points < 30).all())
        ('condensed', True)

    Exact copies of a row count as one observation: rows that were repeated say nothing new.
    Where independent draws coincide (values on a grid) the error is then too large.

    When it fails: with dependent rows (a time series) the standard error is too small: it takes
    them to be independent, and the bandwidth, the widths and moved centres to be given. All but
    `log_density` is read from weights whose squared distances are made of products: very narrow
    kernels blur it, by 1 % where `fitted.rounding_error` first reaches its limit.
    """
    as_fitted("fitted", fitted)
    if not isinstance(fitted.kernel, Gaussian):
        raise ValueError(f"fitted must have a Gaussian kernel; got {type(fitted.kernel).__name__}")
    return _regime(fitted, checks.as_queries("x", x, fitted.points.shape[1]))


@jax.jit
def _regime(fitted: FittedKDE, x) -> Regime:
    d = x.shape[-1]
    queries = whiten(x.reshape(-1, d), fitted.location, fitted.factor)
    log_weights, precision = _once(fitted), None
    if fitted.widths is not None:
        log_weights, precision = log_weights - d * jnp.log(fitted.widths), fitted.widths**-2
    kernel_sum = KernelSum(queries, fitted.points, log_weights, precision)
    here = kernel_sum.statistics(jnp.zeros_like(queries[:, 0]))
    index = stable_index(kernel_sum, here)

    kernels_a_row = fitted.points.shape[0] // rows_of(fitted).shape[0]
    ratio, variance = _shares(kernel_sum, here, _once(fitted), kernels_a_row)
    far, known = central_limit_holds(here, kernels_a_row)
    nan = jnp.isnan(ratio) | jnp.isnan(index)
    classical = far & known & ~nan
    code = jnp.where(nan, -1, jnp.where(classical, 0, jnp.where(index < 1, 2, 1)))
    # Where there is none its derivative is zero, not that of a root at zero.
    error = jnp.sqrt(jnp.where(classical & (variance > 0), variance, 1))
    result = Regime(
        log_density=kernel_density(fitted, queries) - log_volume(fitted),
        standard_error=jnp.where(nan, jnp.nan, jnp.where(classical, error, jnp.inf)),
        participation_ratio=ratio,
        variance_participation_ratio=kernels_a_row * here.fourth_power_ratio,
        stable_index=jnp.where(nan, jnp.nan, index),
        code=code,
    )
    return jax.tree.map(lambda a: a.reshape(x.shape[:-1]), result)


def _once(fitted: FittedKDE) -> Float[Array, " n"]:
    """Log-weights in which a row stands for all its copies: they are one observation."""
    n = fitted.labels.shape[0]
    first, group = first_of_equal_labels(fitted.labels)

    def of_kernel(log_weights):
        total = jnp.zeros(n, log_weights.dtype).at[group].add(jnp.exp(log_weights))
        # A sum of one is left as it was, to the last bit.
        alone = jnp.zeros(n, jnp.int32).at[group].add(1)[group] == 1
        merged = jnp.where(alone, log_weights, jnp.log(total[group]))
        return jnp.where(first, merged, -jnp.inf)

    return jax.vmap(of_kernel)(fitted.log_weights.reshape(-1, n)).reshape(-1)


def _shares(kernel_sum: KernelSum, here, log_weights, kernels_a_row: int):
    """The rows' participation ratio, and the relative variance of the sum.

    A row's share a_r of the sum is that of all its kernels, which lie n apart. The variance is
    sum (a_r - w_r)^2 / (1 - sum w_r^2), w_r the weight of the row: without bias for equal
    weights, and right too for weights that depend on the row (importance weights).
    """

    def share_sum(points, log_weights, precision):
        return log_sum_exp(kernel_sum.queries, points, log_weights, point_precision=precision)

    def by_kernel(a):
        return a.reshape(kernels_a_row, -1, *a.shape[1:])

    weights = jnp.sum(by_kernel(jnp.exp(log_weights)), 0)
    together = kernel_sum.log_weights + jnp.tile(log_of_weights(weights), kernels_a_row)
    overlap = jnp.exp(share_sum(kernel_sum.points, together, kernel_sum.precision) - here.log_sum)
    squares = jnp.sum(weights**2)
    ratio = here.participation_ratio
    if kernels_a_row > 1:
        points, logs = by_kernel(kernel_sum.points), by_kernel(kernel_sum.log_weights)
        s = jnp.ones_like(logs)
        if kernel_sum.precision is not None:
            s = by_kernel(kernel_sum.precision)
        for i in range(kernels_a_row):
            for j in range(i):
                # The product of two normal kernels is one, about a centre between them.
                both = s[i] + s[j]
                centre = (s[i][:, None] * points[i] + s[j][:, None] * points[j]) / both[:, None]
                apart = jnp.sum((points[i] - points[j]) ** 2, -1) * s[i] * s[j] / both
                cross = share_sum(centre, logs[i] + logs[j] - 0.5 * apart, both)
                ratio = ratio + 2 * jnp.exp(cross - 2 * here.log_sum)
    return ratio, (ratio - 2 * overlap + squares) / (1 - squares)
