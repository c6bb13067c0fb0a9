"""Cumulative distribution, survival and quantiles of a kernel density estimate of one column.

The lower tail is a sum of normal distribution functions and the upper one is the same sum
mirrored, so that each is small with full relative accuracy. Both stream over the centres.
"""

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtr, ndtri
from jax.scipy.stats import norm
from jaxtyping import Array, ArrayLike, Float, Real

from estimators._core import checks, whiten
from estimators._core._blocks import into_blocks, map_blocks, reduce_blocks
from estimators.density._fitted import FittedKDE, as_fitted
from estimators.density._kernels import Gaussian

# Bisection alone reaches the last bit of float64 in about 60 steps; Newton needs about 6.
_MAX_STEPS = 100


def cumulative_distribution(
    fitted: FittedKDE, x: Real[ArrayLike, "*batch 1"]
) -> Float[Array, "*batch"]:
    """Probability that the estimate gives to values up to `x`, `(*batch, 1) -> (*batch,)`.

    `sum_j w_j Phi((x - y_j) / h_j)`, accurate relative to its own size in the lower tail; use
    `survival` in the upper one. O(block) memory. Its derivative in `x` is the density.

    Args:
        fitted: a kernel density estimate of one column, with Gaussian kernels.
        x: `(*batch, 1)`, in data units.

    Raises:
        ValueError: if `fitted` has more than one column or a kernel that is not Gaussian; if the
            last axis of `x` is not 1 or (outside jit) `x` is not finite. Inside jit such a row
            gives NaN.

    Example:
        >>> import jax
        >>> from estimators import density
        >>> points = jax.random.normal(jax.random.key(0), (4000, 1))
        >>> fitted = density.KDE("loo").fit(points)
        >>> print(f"{density.cumulative_distribution(fitted, jax.numpy.zeros(1)):.2f}")
        0.50

    When it fails: beyond the data the tail is that of the kernel, which need not be the tail
    of the distribution.
    """
    return _distribution(fitted, _queries(fitted, x), 1)


def survival(fitted: FittedKDE, x: Real[ArrayLike, "*batch 1"]) -> Float[Array, "*batch"]:
    """Probability that the estimate gives to values above `x`, `(*batch, 1) -> (*batch,)`.

    One less `cumulative_distribution`, but accurate relative to its own size where it is small.

    Raises:
        ValueError: as `cumulative_distribution`.

    Example:
        >>> import jax
        >>> from estimators import density
        >>> fitted = density.KDE(1.0).fit(jax.numpy.zeros((2, 1)))
        >>> print(f"{density.survival(fitted, jax.numpy.array([10.0])):.1e}")
        7.6e-24
    """
    return _distribution(fitted, _queries(fitted, x), -1)


def quantile(fitted: FittedKDE, levels: Real[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
    """The value below which the estimate has the probability `levels`, `(*batch,) -> (*batch,)`.

    Newton's method on the logarithm of the tail that the level lies in, kept inside a bracket
    and replaced by bisection where it does not converge. Each step is one pass over the
    centres. The derivatives, of any order and in the levels and the data, are those of the
    exact quantile (implicit function theorem).

    Args:
        fitted: a kernel density estimate of one column, with Gaussian kernels.
        levels: strictly between 0 and 1, of any shape and in any order.

    Returns:
        In data units. Its error is a few roundings of the value; where the density is so low
        that the probability does not change in its last digit, any point of that gap.

    Raises:
        ValueError: if `fitted` has more than one column or a kernel that is not Gaussian, or
            (outside jit) a level is not strictly between 0 and 1. Inside jit such a level
            gives NaN.

    Example:
        >>> import jax
        >>> from estimators import density
        >>> points = jax.random.normal(jax.random.key(0), (4000, 1))
        >>> fitted = density.KDE("loo").fit(points)
        >>> low, high = density.quantile(fitted, jax.numpy.array([0.05, 0.95]))
        >>> print(f"{low:.1f} {high:.1f}")  # the normal's are -1.6 and 1.6
        -1.8 1.7

    When it fails: smoothing adds the kernel's variance, so outer quantiles lie further out
    than the sample's. Levels beyond 1/n are those of the kernel.
    """
    _one_column(fitted)
    dtype = fitted.points.dtype
    levels = checks.finite("levels", checks.as_float("levels", levels))
    if checks.is_concrete(levels) and not checks.holds(
        lambda a: ((a.astype(dtype) > 0) & (a.astype(dtype) < 1)).all(), levels
    ):
        raise ValueError(
            f"levels must lie strictly between 0 and 1; got {levels} (in {dtype}, that of the fit)"
        )
    return _quantile(fitted, levels.astype(dtype))


def _one_column(fitted: FittedKDE) -> None:
    as_fitted("fitted", fitted)
    if not isinstance(fitted.kernel, Gaussian):
        raise ValueError(
            "fitted must have a Gaussian kernel, whose distribution function is known here; "
            f"got {type(fitted.kernel).__name__}"
        )
    d = fitted.points.shape[1]
    if d != 1:
        raise ValueError(
            f"fitted must be an estimate of one column; it has {d}. Write "
            "density.marginal(fitted, [j]) for column j alone"
        )


def _queries(fitted: FittedKDE, x):
    _one_column(fitted)
    return checks.as_queries("x", x, 1)


@jax.jit
def _distribution(fitted: FittedKDE, x, sign):
    queries = whiten(x.reshape(-1, 1), fitted.location, fitted.factor)[:, 0]
    signs = jnp.full_like(queries, sign)
    return _tail(queries, signs, _kernels(fitted)).reshape(x.shape[:-1])


@jax.jit
def _quantile(fitted: FittedKDE, levels):
    flat = levels.reshape(-1)
    # One less a level above one half is exact: the upper tail is as good as the lower.
    signs = jnp.where(flat > 0.5, -1, 1).astype(flat.dtype)
    tail = jnp.where(flat > 0.5, 1 - flat, flat)
    white = signs * _solve(signs, tail, _kernels(fitted))
    inside = (flat > 0) & (flat < 1)
    value = fitted.location[0] + fitted.factor[0, 0] * white
    return jnp.where(inside, value, jnp.nan).reshape(levels.shape)


def _kernels(fitted: FittedKDE):
    """Centres, widths (None where all are one) and weights of the whitened kernels."""
    return fitted.points[:, 0], fitted.widths, jnp.exp(fitted.log_weights)


def _sums(function, queries, signs, kernels):
    """`sum_j w_j function(sign (query - centre_j) / width_j, width_j)`, streamed over j."""
    centres, widths, weights = kernels
    parts = into_blocks(centres), into_blocks(widths, fill=1), into_blocks(weights)

    @jax.checkpoint
    def one_block(block):
        query, sign = block

        @jax.checkpoint
        def one(part):
            centre, width, weight = part
            width = jnp.ones_like(centre) if width is None else width
            reach = sign[:, None] * (query[:, None] - centre[None]) / width[None]
            return jnp.sum(weight[None] * function(reach, width[None]), -1)

        return reduce_blocks(one, jnp.add, parts)

    return map_blocks(one_block, (queries, signs))


def _tail(queries, signs, kernels):
    """Probability below each query where the sign is 1, above it where it is -1."""
    return _sums(lambda reach, _: ndtr(reach), queries, signs, kernels)


def _density(queries, signs, kernels):
    return _sums(lambda reach, width: norm.pdf(reach) / width, queries, signs, kernels)


@jax.custom_jvp
def _solve(signs, tail, kernels):
    """The t with `_tail(sign t) = tail`: the whitened quantile, mirrored where the sign is -1.

    `tail` is at most one half.
    """
    centres, widths, weights = kernels
    used = weights > 0
    widths = jnp.ones_like(centres) if widths is None else widths
    infinite = jnp.asarray(jnp.inf, centres.dtype)
    least, most = (jnp.min(widths, where=used, initial=infinite), jnp.max(widths))
    first, last = (
        jnp.min(centres, where=used, initial=infinite),
        jnp.max(centres, where=used, initial=-infinite),
    )
    first, last = jnp.where(signs > 0, first, -last), jnp.where(signs > 0, last, -first)
    # No kernel's own quantile lies outside this bracket, so neither does that of their sum.
    reach = ndtri(tail)
    low, high = first + most * reach, last + least * reach

    def unfinished(state):
        *_, done, count = state
        return ~jnp.all(done) & (count < _MAX_STEPS)

    def step(state):
        at, low, high, size, done, count = state
        mass, slope = _tail(signs * at, signs, kernels), _density(signs * at, signs, kernels)
        low, high = jnp.where(mass < tail, at, low), jnp.where(mass < tail, high, at)
        newton = at + jnp.log(tail / mass) * mass / slope
        limit = 2 * jnp.finfo(at.dtype).eps * (abs(at) + least)
        inside = (newton >= low) & (newton <= high)
        move = abs(newton - at)
        # Newton must at least halve its step each time; where it does not, halve the bracket.
        good = inside & ((move < size / 2) | (move <= limit))
        new = jnp.where(good, newton, 0.5 * (low + high))
        size = jnp.where(good, move, high - low)
        at = jnp.where(done, at, new)
        done = done | (good & (move <= limit)) | (high - low <= limit) | jnp.isnan(mass)
        return at, low, high, size, done, count + 1

    start = 0.5 * (low + high)
    done = jnp.isnan(start)
    state = (start, low, high, high - low, done, jnp.zeros((), jnp.int32))
    return jax.lax.while_loop(unfinished, step, state)[0]


@_solve.defjvp
def _solve_jvp(primals, tangents):
    # From `_tail(sign t(data); data) = tail`. It is written in terms of `_solve` itself, so that
    # it can be differentiated again.
    signs, tail, kernels = primals
    at = signs * _solve(signs, tail, kernels)
    _, change = jax.jvp(lambda k: _tail(at, signs, k), (kernels,), (tangents[2],))
    return signs * at, (tangents[1] - change) / _density(at, signs, kernels)
