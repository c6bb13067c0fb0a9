"""Kernel sums to a stated relative error: near cells summed, far ones bounded or sampled.

The regime chooses the algorithm, anew for each block of neighbouring queries. Where few points
carry the sum, the nearest cells are summed and the rest is bounded: certain. Where many do,
a few points of every far cell are summed for all: right with the probability asked for. What
is neither, a heavy tail in high dimension, is summed to the end: exact, and no faster.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Key, Real

from estimators._core import Fitted, Stored, checks, whiten
from estimators._core._blocks import map_blocks
from estimators._core._log_sum_exp import anywhere
from estimators._core._rounding import TOLERANCE
from estimators.density._fast._cell_sums import cell_sum
from estimators.density._fast._cells import Cells
from estimators.density._fitted import (
    FittedKDE,
    as_fitted,
    log_volume,
    rounding_of_products,
)
from estimators.density._kernels import Gaussian

QUERY_BLOCK = 128


class ApproximateLogDensity(Stored):
    """Log densities, with what is known of their error; all arrays `(*batch,)`.

    Attributes:
        log_density: nats a unit of volume.
        relative_error: bound on the relative error of the density, at the probability asked
            for where `sampled`, else for certain; rounding apart. Never above what was asked.
        sampled: whether points were left to a random sample.
        work: evaluated pairs of query and point over those of the exact sum.
    """

    log_density: Float[Array, "*batch"]
    relative_error: Float[Array, "*batch"]
    sampled: Bool[Array, "*batch"]
    work: Float[Array, "*batch"]


class ApproximateKDE(Fitted):
    """A kernel density estimate made ready for approximate sums; see `approximate`.

    Attributes:
        fitted: the estimate itself: `fitted.log_density` is exact.
        cells: its points, sorted.
    """

    fitted: FittedKDE
    cells: Cells

    def log_density(
        self,
        x: Real[ArrayLike, "*batch d"],
        *,
        relative_error: Real[ArrayLike, ""] = 0.05,
        probability: Real[ArrayLike, ""] = 0.95,
    ) -> ApproximateLogDensity:
        """Log density at `x`, `(*batch, d) -> (*batch,)`, to a relative error of the density.

        Args:
            x: where; any order, neighbours are put together.
            relative_error: of the density (about the absolute error of its log). 0 is exact.
            probability: with which each answer keeps that error, over the `key` that
                `approximate` was given. The answers of one object share its randomness.

        Returns:
            See `ApproximateLogDensity`. It has no useful derivative in x: take that of
            `fitted.log_density`, or `fitted.score`.

        Raises:
            ValueError: if the last axis is not d, `relative_error` is negative or
                `probability` not inside (0, 1); or (outside jit) `x` is not finite. Inside
                jit a row that is not finite gives NaN.
        """
        x = checks.as_queries("x", x, self.fitted.points.shape[1])
        allowed = checks.as_number("relative_error", relative_error)
        checks.positive("relative_error", relative_error, zero=True)
        checks.probability("probability", probability)
        exact = checks.is_concrete(relative_error) and not checks.holds(jnp.any, relative_error)
        if self.cells.points.shape[0] == 1 or exact or not x.size:
            return _exact(self.fitted, x)
        dtype = self.fitted.points.dtype
        return _log_density(self, x, *(jnp.asarray(a, dtype) for a in (allowed, probability)))


def approximate(
    fitted: FittedKDE, *, key: Key[Array, ""], points_per_cell: int = 1024
) -> ApproximateKDE:
    """Make a kernel density estimate ready for fast approximate sums.

    Sorts the n points into a k-d tree, which takes as long as the exact densities at some
    thousand to ten thousand queries. It pays for many queries of one estimate with very many
    points and a wide kernel or few columns: at 1e6 points on a CPU a query was 2 to 7 times as
    fast in the classical regime and in two columns, and half as fast in a condensed one of
    eight. At 5e4 points and below `fitted.log_density` is faster nearly always.

    Args:
        fitted: a `FittedKDE`; unequal weights and widths are welcome.
        key: for the random order of the points in a cell, which is all that is random.
        points_per_cell: at most so many points a cell.

    Returns:
        See `ApproximateKDE`.

    Raises:
        ValueError: if the kernel is not Gaussian, `points_per_cell` is below 16, or `key` is
            not a key.

    Example:
        >>> import jax
        >>> from estimators import density
        >>> of_points, of_order = jax.random.split(jax.random.key(0))
        >>> fitted = density.KDE(0.1).fit(jax.random.normal(of_points, (20_000, 2)))
        >>> fast = density.approximate(fitted, key=of_order)
        >>> near = fast.log_density(fitted.location, relative_error=0.01)
        >>> bool(near.relative_error <= 0.01), bool(near.work < 0.5)
        (True, True)

    The error is met in three ways (for each block of 128 neighbouring queries the cheapest in
    prospect): cells are summed from the nearest on until bounds on their boxes say that the
    rest cannot matter (Gray & Moore 2003); the rest is estimated from a stratified sample, of
    so many points a cell that Student's interval over the replicates is within the error, and
    that no single point left out could shift the sum by more than a third of it; or every
    point is summed.

    When it fails: where nothing can be left out (heavy-tailed and condensed sums from about 8
    columns on, whose boxes all touch) it is exact but slower than the exact sum; `work` says
    so. A sample of N effective points has a relative error of N^-1/2, whatever n: small errors
    need large n. Rounding comes on top, as in `KDE`; where that of products could exceed the
    error asked for (very narrow kernels) it is exact too. Memory is O(block x cells).
    """
    checks.integer("points_per_cell", points_per_cell, at_least=16)
    if not (isinstance(fitted, FittedKDE) and isinstance(fitted.kernel, Gaussian)):
        raise ValueError(
            "fitted must be a FittedKDE with a Gaussian kernel; got "
            f"{getattr(fitted, 'kernel', type(fitted).__name__)!r}"
        )
    as_fitted("fitted", fitted)
    return _approximate(fitted, checks.as_key(key), points_per_cell)


@functools.partial(jax.jit, static_argnums=2)
def _approximate(fitted: FittedKDE, key, points_per_cell) -> ApproximateKDE:
    log_weights, precision = fitted.log_weights, None
    if fitted.widths is not None:
        log_weights = log_weights - fitted.points.shape[1] * jnp.log(fitted.widths)
        precision = fitted.widths**-2
    cells = Cells.of(fitted.points, log_weights, precision, key, at_most=points_per_cell)
    return ApproximateKDE(fitted, cells)


def _exact(fitted: FittedKDE, x) -> ApproximateLogDensity:
    log_density = fitted.log_density(x)
    zero = jnp.where(jnp.isnan(log_density), log_density, 0)
    return ApproximateLogDensity(log_density, zero, zero > 0, jnp.ones_like(log_density))


@jax.jit
def _log_density(of: ApproximateKDE, x, relative_error, probability) -> ApproximateLogDensity:
    tolerance = jnp.maximum(relative_error, TOLERANCE[of.fitted.points.dtype.name])
    inexact = anywhere(rounding_of_products(of.fitted) > tolerance)
    result = jax.lax.cond(
        inexact,
        lambda: _exact(of.fitted, x),
        lambda: _from_cells(of, x, relative_error, probability),
    )
    stated = (relative_error >= 0) & (probability > 0) & (probability < 1)
    return checks.poison(result, stated)


def _from_cells(of: ApproximateKDE, x, relative_error, probability) -> ApproximateLogDensity:
    queries = whiten(x.reshape(-1, x.shape[-1]), of.fitted.location, of.fitted.factor)
    # Neighbours share their near cells: a block of them is worked on together.
    order = jnp.argsort(of.cells.find(queries))
    m = queries.shape[0]
    size = min(m, QUERY_BLOCK)
    filled = jnp.concatenate([order, jnp.broadcast_to(order[-1:], (-m % size,))])
    quantile = jax.scipy.special.ndtri(0.5 + 0.5 * probability)
    one = functools.partial(cell_sum, of.cells, relative_error, quantile)
    sums = map_blocks(one, queries[filled], size)
    back = jnp.argsort(order)
    sums = jax.tree.map(lambda a: a[:m][back].reshape(x.shape[:-1]), sums)
    d = queries.shape[1]
    constant = 0.5 * d * jnp.log(2 * jnp.pi) + log_volume(of.fitted)
    return ApproximateLogDensity(
        sums.log_sum - constant, sums.relative_error, sums.sampled, sums.work
    )
