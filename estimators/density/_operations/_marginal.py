"""Marginals and conditionals of a kernel density estimate, both exact and of the same kind.

Every kernel is Gaussian with the covariance `C C^T` (C the factor) times its squared width.
Write the rows of C, those of the columns asked for first, as `L Q^T`, with L lower triangular
and Q orthogonal. Rotating the whitened centres by Q changes no distance, and in the new axes
the first columns of the data depend on the first axes alone: a marginal keeps these axes, a
conditional weights the kernels by them and keeps the others. No matrix is inverted.
"""

import dataclasses
import functools
import operator
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import ArrayLike, Real

from estimators._core import checks, effective_sample_size, product
from estimators.density._fitted import FittedKDE, as_fitted
from estimators.density._kernels import Gaussian, Student


def marginal(fitted: FittedKDE, columns: Sequence[int]) -> FittedKDE:
    """The estimate of some columns alone, the others integrated out. Exact.

    The marginal of a sum of kernels is the sum of their marginals: the centres keep `columns`,
    the kernel's covariance keeps its block. Gaussian and Student kernels keep their shape.

    Args:
        fitted: a kernel density estimate of d columns.
        columns: which to keep, in the order wanted; whole numbers in [-d, d), no column
            twice. Negative ones count from the end. Not traced: they set shapes.

    Returns:
        A `FittedKDE` of `len(columns)` columns, with the centres, widths and weights of
        `fitted`, in its dtype. `info.log_likelihood` is NaN, for it is that of all columns.

    Raises:
        ValueError: for a column that is not there or is named twice, for no column, and for
            kernels of another shape, whose marginals have none of the known shapes.

    Example:
        >>> import jax
        >>> from estimators import density
        >>> points = jax.random.normal(jax.random.key(0), (500, 3))
        >>> fitted = density.KDE(0.5).fit(points)
        >>> pair = density.marginal(fitted, [2, 0])
        >>> same = density.KDE(0.5).fit(points[:, [2, 0]])  # a number is a round kernel
        >>> x = jax.numpy.array([[0.3, 1.0], [-1.0, 0.0]])
        >>> bool(jax.numpy.allclose(pair.log_density(x), same.log_density(x), atol=1e-4))
        True

    When it fails: it is the marginal of the estimate. Fitting the columns alone needs no
    bandwidth for the others, and is the better estimate of their density. Leaving one row out
    of a marginal leaves out the rows that equal it in all the columns of the fit.
    """
    as_fitted("fitted", fitted)
    kept = _columns(columns, fitted.points.shape[1])
    if len(kept) < fitted.points.shape[1]:
        _refuse_kernel(fitted, (Gaussian, Student), "marginal")
    return _marginal(fitted, kept)


def conditional(
    fitted: FittedKDE, columns: Sequence[int], values: Real[ArrayLike, " given"]
) -> FittedKDE:
    """The estimate of the other columns given `x[columns] = values`. Exact; Gaussian kernels.

    With A the given columns and B the others, S the kernel's covariance and s_j the width of
    kernel j, which has the weight w_j and the centre y_j,

        weight of j   proportional to  w_j N(values; y_jA, s_j^2 S_AA)
        centre of j   y_jB + S_BA S_AA^-1 (values - y_jA)
        covariance    s_j^2 (S_BB - S_BA S_AA^-1 S_AB)

    The weights are normalised as logarithms and do not underflow far from the data, where the
    nearest kernel carries them alone. Costs O(n d^2). It has a derivative in `values`; with
    `jax.vmap` over them the centres are shared.

    Args:
        fitted: a kernel density estimate of d columns, d >= 2.
        columns: which are given, at least one and not all; whole numbers in [-d, d), no
            column twice. Not traced.
        values: `(len(columns),)`, in data units and in the order of `columns`.

    Returns:
        A `FittedKDE` of the other columns, in the order of the fit, and in its dtype.
        `info.effective_sample_size` says how many kernels carry it.

    Raises:
        ValueError: for a column that is not there or is named twice, where no column is left,
            for `values` of another shape or (outside jit) not finite, and for kernels that
            are not Gaussian. Inside jit values that are not finite give `info.status` 1 and a
            density that is NaN.

    Example:
        >>> import jax
        >>> from estimators import density
        >>> x, noise = jax.random.normal(jax.random.key(0), (2, 2000, 1))
        >>> fitted = density.KDE("loo").fit(jax.numpy.concatenate([x, x + 0.3 * noise], 1))
        >>> given = density.conditional(fitted, [0], jax.numpy.array([1.0]))
        >>> draws = given.sample(2000, key=jax.random.key(1))
        >>> print(f"{draws.mean():.1f}")  # the truth is 1
        1.0

    When it fails: where few rows have nearby values, which `info.effective_sample_size` shows.
    With many given columns that is everywhere. For the conditional density at many pairs the
    difference `fitted.log_density(x) - marginal(fitted, columns).log_density(x[:, columns])`
    is cheaper. In float32 the log-weights err by about 1e-7 (R/h)^2, R the distance from the
    given values to the centres, h the bandwidth.
    """
    as_fitted("fitted", fitted)
    d = fitted.points.shape[1]
    given = _columns(columns, d)
    _refuse_kernel(fitted, (Gaussian,), "conditional")
    if len(given) == d:
        raise ValueError(
            f"columns must leave at least one of the {d} columns free; got {list(columns)}"
        )
    values = checks.as_vector("values", values, length=len(given))
    return _conditional(fitted, given, values.astype(fitted.points.dtype))


def _refuse_kernel(fitted: FittedKDE, known: tuple[type, ...], what: str) -> None:
    if not isinstance(fitted.kernel, known):
        names = " or ".join(kind.__name__ for kind in known)
        raise ValueError(
            f"fitted must have a {names} kernel: the {what} of another is no sum of kernels of "
            f"its shape; got {type(fitted.kernel).__name__}"
        )


def _columns(columns: Sequence[int], d: int) -> tuple[int, ...]:
    """Check the names of columns; negative ones count from the end."""
    try:
        if any(isinstance(column, bool) for column in columns):
            raise TypeError
        chosen = tuple(operator.index(column) for column in columns)
    except TypeError:
        raise ValueError(
            f"columns must be a sequence of whole numbers, such as [0]; got {columns!r}"
        ) from None
    if not chosen:
        raise ValueError("columns must name at least one column; got none")
    for column in chosen:
        if not -d <= column < d:
            raise ValueError(
                f"columns must lie in [{-d}, {d}), for an estimate of {d} columns; got {column}"
            )
    chosen = tuple(column % d for column in chosen)
    if len(set(chosen)) < len(chosen):
        raise ValueError(f"columns must not repeat a column; got {list(columns)}")
    return chosen


def _triangular(rows):
    """`rows = L Q^T`: L lower triangular with a positive diagonal, Q with orthonormal columns."""
    q, upper = jnp.linalg.qr(rows.T)
    sign = jnp.where(jnp.diagonal(upper) < 0, -1, 1).astype(rows.dtype)
    return (upper * sign[:, None]).T, q * sign[None]


def _sub_bandwidth(bandwidth, kept):
    if bandwidth.ndim == 0:
        return bandwidth
    return bandwidth[kept] if bandwidth.ndim == 1 else bandwidth[kept[:, None], kept[None]]


@functools.partial(jax.jit, static_argnums=1)
def _marginal(fitted: FittedKDE, columns: tuple[int, ...]) -> FittedKDE:
    kept = jnp.asarray(columns)
    factor, rotation = _triangular(fitted.factor[kept])
    unknown = jnp.full_like(fitted.info.log_likelihood, jnp.nan)
    return dataclasses.replace(
        fitted,
        bandwidth=_sub_bandwidth(fitted.bandwidth, kept),
        points=product(fitted.points, rotation),
        rows=None if fitted.rows is None else product(fitted.rows, rotation),
        location=fitted.location[kept],
        factor=factor,
        info=dataclasses.replace(fitted.info, log_likelihood=unknown),
    )


@functools.partial(jax.jit, static_argnums=1)
def _conditional(fitted: FittedKDE, columns: tuple[int, ...], values) -> FittedKDE:
    g = len(columns)
    free = tuple(i for i in range(fitted.points.shape[1]) if i not in columns)
    given, left = jnp.asarray(columns), jnp.asarray(free)
    triangle, rotation = _triangular(fitted.factor[jnp.asarray((*columns, *free))])
    own, across, factor = triangle[:g, :g], triangle[g:, :g], triangle[g:, g:]
    points = product(fitted.points, rotation)
    # Where the values lie on the first axes. The kernels' centres on the other axes are moved
    # by as much as the location is: they stay where they are.
    at = jax.scipy.linalg.solve_triangular(own, values - fitted.location[given], lower=True)
    squares = jnp.sum((points[:, :g] - at[None]) ** 2, -1)
    log_weights = fitted.log_weights
    if fitted.widths is not None:
        squares = squares / fitted.widths**2
        log_weights = log_weights - g * jnp.log(fitted.widths)
    log_weights = jax.nn.log_softmax(log_weights - squares / 2)

    rows = points if fitted.rows is None else product(fitted.rows, rotation)
    moved = product(rows[:, :g] - at[None], across.T)
    rows = rows[:, g:] + jax.scipy.linalg.solve_triangular(factor, moved.T, lower=True).T

    unknown = jnp.full_like(fitted.info.log_likelihood, jnp.nan)
    finite = jnp.all(jnp.isfinite(values))
    info = dataclasses.replace(
        fitted.info,
        effective_sample_size=effective_sample_size(jnp.exp(log_weights)),
        log_likelihood=unknown,
        status=jnp.where(finite, fitted.info.status, 1).astype(fitted.info.status.dtype),
    )
    bandwidth = fitted.bandwidth
    result = dataclasses.replace(
        fitted,
        bandwidth=product(factor, factor.T)
        if bandwidth.ndim == 2
        else _sub_bandwidth(bandwidth, left),
        points=points[:, g:],
        log_weights=log_weights,
        rows=rows,
        location=fitted.location[left] + product(across, at),
        factor=factor,
        info=info,
    )
    return checks.poison(result, finite)
