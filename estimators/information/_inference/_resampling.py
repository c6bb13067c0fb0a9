"""Intervals for any estimator of a pair, by computing it again on parts or copies of the rows."""

import functools
import inspect
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key, Real

from estimators._core import Stored, checks, order_statistic
from estimators.information._estimate import as_pair
from estimators.information._inference._statistic import (
    OfFunction,
    as_estimator,
    number_of,
    number_of_blocks,
)
from estimators.information._neighbours._ksg import ksg
from estimators.information._neighbours._mixture_ksg import mixture_ksg
from estimators.information._neighbours._ross import ross
from estimators.information._plug_in._adaptive import adaptive_binned
from estimators.information._plug_in._kde_plug_in import kernel_density_plug_in

DISTINCT_ROWS_ONLY = (adaptive_binned, kernel_density_plug_in, ksg, mixture_ksg, ross)


class ResampledInterval(Stored):
    """Outcome of `subsampling_interval` and `bootstrap_interval`, in nats.

    Attributes:
        value: the estimate from all rows.
        lower: end of the interval, cut off at 0 as the truth is never negative.
        upper: end of the interval; infinite where there are too few replicates for the coverage.
        standard_error: standard deviation of the replicates, on the scale of `value`.
        replicates: `(B,)`, the estimates from the resampled rows.
    """

    value: Float[Array, ""]
    lower: Float[Array, ""]
    upper: Float[Array, ""]
    standard_error: Float[Array, ""]
    replicates: Float[Array, " B"]


def subsampling_interval(
    x: Real[ArrayLike, "n dx"],
    y: Real[ArrayLike, "n dy"],
    *,
    key: Key[Array, ""],
    estimator: Any,
    coverage: float | Float[Array, ""] = 0.9,
    subsamples: int = 199,
    size: int | None = None,
    block: int = 1,
) -> ResampledInterval:
    """Interval from estimates on subsamples, drawn without replacement.

    Politis & Romano (1994): `sqrt(b) (I_b - I_n)` over subsamples of b rows has the law of
    `sqrt(n) (I_n - I)` in the limit, for any estimator that has one. With the finite-population
    factor `sqrt(1 - b / n)` the interval is, with q the quantiles of `I_b - I_n`,

        [I_n - c q_(1 + coverage) / 2, I_n - c q_(1 - coverage) / 2],   c = sqrt(b / (n - b))

    No row occurs twice in a subsample, so that it serves estimators from neighbours, for which
    the bootstrap fails. An estimator that is the more biased the fewer its rows has replicates
    that lie beside I_n; the interval is moved the other way, by part of the bias.

    Coverage of 90 % intervals, 200 data sets of n = 200 rows, 99 subsamples of 100:

        law                         nats    GaussianCopula   KSG
        normal 1x1, rho = 0         0       1.00             .89
        normal 1x1, rho = 0.75      .413     .91             .88
        normal 3x3, rho = 0.5       .432     .90             .56
        mixture of rho = +-0.9      .409     .00             .80

    What fails is the bias of the estimator. Print it again:
    `pytest -m validation -s tests/information/test_tables.py`.

    Args:
        x: `(n, dx)`, float32 or float64; rows are joint samples with those of y.
        y: `(n, dy)`.
        key: draws the subsamples.
        estimator: an estimator object, as `KSG()`, or a function of x and y that returns a number.
            One program is compiled for the estimator and the shapes; time is that of
            `1 + subsamples` evaluations, memory that of one.
        coverage: probability that the interval is to cover the truth.
        subsamples: B, static; at least `2 / (1 - coverage) - 1`, else the interval is infinite.
        size: b, static. None takes half of the rows, where c = 1.
        block: length of the runs of rows that are drawn together, static. For a time series take
            it several times the range of its memory; 1 is for independent rows.

    Raises:
        ValueError: for a size or a block that leaves nothing to choose from, as the estimator
            on `size` rows or, outside jit, a constant column or a value that is not finite.

    Reference: Politis & Romano (1994), *Large sample confidence regions based on subsamples under
    minimal assumptions*, section 2; for a union of blocks, Wu (1986) and Politis, Romano & Wolf
    (1999), section 3.

    Example:
        >>> import jax
        >>> from estimators import information
        >>> x, noise = jax.random.normal(jax.random.key(0), (2, 400, 1))
        >>> interval = information.subsampling_interval(
        ...     x, x + noise, key=jax.random.key(1), estimator=information.KSG()
        ... )
        >>> bool(interval.lower < 0.35 < interval.upper)  # the truth is log(2) / 2
        True

    When it fails: the rate sqrt(n) is wrong where x and y are independent (it is n there): the
    interval is then too wide. A bias that does not shrink with n is not seen. For few blocks,
    fewer than some 20, the interval is rough.
    """
    estimator = as_estimator("estimator", estimator)
    x, y = as_pair(x, y, at_least=4, why="2 in a subsample")
    checks.integer("subsamples", subsamples, at_least=1)
    units = number_of_blocks(block, x.shape[0])
    chosen = units // 2 if size is None else checks.integer("size", size, at_least=block) // block
    if chosen >= units:
        raise ValueError(
            f"size must be smaller than the {units * block} rows in whole blocks; got {size}"
        )
    coverage = jnp.asarray(checks.probability("coverage", coverage), x.dtype)
    return _resample(estimator, x, y, checks.as_key(key), coverage, subsamples, block, chosen)


def bootstrap_interval(
    x: Real[ArrayLike, "n dx"],
    y: Real[ArrayLike, "n dy"],
    *,
    key: Key[Array, ""],
    estimator: Any,
    coverage: float | Float[Array, ""] = 0.9,
    resamples: int = 199,
    block: int = 1,
) -> ResampledInterval:
    """Basic bootstrap interval, from estimates on rows drawn with replacement.

    With q the quantiles of `I* - I_n` over resamples of n rows (Davison & Hinkley 1997, equation
    5.6; blocks by Künsch 1989),

        [I_n - q_(1 + coverage) / 2, I_n - q_(1 - coverage) / 2]

    Warning: a resample repeats rows, a third of the rows is missing in it and the others make
    ties. An estimator from nearest neighbours or from leave-one-out densities finds copies at
    distance zero and reports information that is not there, so those are refused. It is right for
    smooth functions of moments or counts: `CanonicalCorrelation`, `GaussianCopula`, and `Binned`
    with few bins. For all others use `subsampling_interval`.

    Args:
        x: `(n, dx)`, float32 or float64; rows are joint samples with those of y.
        y: `(n, dy)`.
        key: draws the resamples.
        estimator: an estimator object or a function of x and y that returns a number; a function
            of your own is not known to use neighbours, and is not refused. Compiled once.
        coverage: probability that the interval is to cover the truth.
        resamples: B, static; at least `2 / (1 - coverage) - 1`, else the interval is infinite.
        block: length of the runs of rows that are drawn together, static: the moving-block
            bootstrap, for a time series. 1 is for independent rows.

    Raises:
        ValueError: for an estimator from neighbours or kernels, a block that leaves nothing to
            choose from or, outside jit, a constant column or a value that is not finite.

    Reference: Efron & Tibshirani (1993); Künsch (1989), *The jackknife and the bootstrap for
    general stationary observations*.

    Example:
        >>> import jax
        >>> from estimators import information
        >>> x, noise = jax.random.normal(jax.random.key(0), (2, 400, 1))
        >>> interval = information.bootstrap_interval(
        ...     x, x + noise, key=jax.random.key(1), estimator=information.CanonicalCorrelation()
        ... )
        >>> bool(interval.lower < 0.35 < interval.upper)  # the truth is log(2) / 2
        True

    When it fails: see the warning. Where x and y are independent the law of the estimate is not
    normal, and the bootstrap is not consistent.
    """
    estimator = as_estimator("estimator", estimator)
    if _needs_distinct_rows(estimator):
        raise ValueError(
            "estimator must not take a copy of a row for a neighbour, or for dependence: the "
            "bootstrap repeats rows. Use subsampling_interval for it"
        )
    x, y = as_pair(x, y, at_least=4, why="to resample")
    checks.integer("resamples", resamples, at_least=1)
    number_of_blocks(block, x.shape[0])
    coverage = jnp.asarray(checks.probability("coverage", coverage), x.dtype)
    return _resample(estimator, x, y, checks.as_key(key), coverage, resamples, block, None)


def _needs_distinct_rows(estimator) -> bool:
    """Whether the estimator is known to take a copy of a row for a neighbour."""
    if isinstance(estimator, OfFunction):
        function = estimator.function
        while isinstance(function, functools.partial):
            function = function.func
        if isinstance(owner := getattr(function, "__self__", None), eqx.Module):
            return _needs_distinct_rows(owner)
        # jax.jit wraps a function, and so may others.
        return inspect.unwrap(function) in map(inspect.unwrap, DISTINCT_ROWS_ONLY)
    if hasattr(estimator, "base"):
        return _needs_distinct_rows(estimator.base)
    return getattr(estimator, "needs_distinct_rows", hasattr(estimator, "neighbours"))


@functools.partial(jax.jit, static_argnames=("replicates", "block", "chosen"))
def _resample(estimator, x, y, key, coverage, replicates, block, chosen):
    """`chosen` blocks without replacement; or where it is None all, with replacement."""
    n = x.shape[0]
    blocks = n // block

    def one(key):
        rows = _with_replacement(key, n, block) if chosen is None else _part(key, n, block, chosen)
        return number_of(estimator, x[rows], y[rows])

    value = number_of(estimator, x, y)
    values = jax.lax.map(one, jax.random.split(key, replicates))
    scale = 1.0 if chosen is None else (chosen / (blocks - chosen)) ** 0.5
    away = scale * (values - value)
    # The place of the quantile among B + 1 intervals; rounding must not cost a place.
    rank = jnp.floor((replicates + 1) * (1 - coverage) / 2 + 1e-3).astype(jnp.int32)
    lower = value - order_statistic(away, replicates + 1 - rank)
    upper = value - order_statistic(away, rank)
    return ResampledInterval(
        value=value,
        lower=jnp.maximum(lower, 0),
        upper=jnp.maximum(upper, 0),
        standard_error=jnp.std(away),
        replicates=values,
    )


def _part(key, n, block, chosen):
    """Rows of some of the n // block blocks; the first begins at random, so that all rows count."""
    blocks = n // block
    of_start, of_choice = jax.random.split(key)
    start = jax.random.randint(of_start, (), 0, n - blocks * block + 1, jnp.int32)
    first = start + block * jax.random.permutation(of_choice, blocks)[:chosen]
    return (first[:, None] + jnp.arange(block)[None]).reshape(-1)


def _with_replacement(key, n, block):
    first = jax.random.randint(key, (-(-n // block),), 0, n - block + 1, jnp.int32)
    return (first[:, None] + jnp.arange(block)[None]).reshape(-1)[:n]
