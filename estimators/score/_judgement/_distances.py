"""Distances between two samples, each with its error."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Key, Real

from estimators._core import Stored, checks, product
from estimators._core._blocks import into_blocks, map_blocks, reduce_blocks


class Distance(Stored):
    """An estimate and its standard error."""

    value: Float[Array, ""]
    standard_error: Float[Array, ""]

    def __str__(self):
        return f"{float(self.value):.4g} ± {float(self.standard_error):.2g}"


def sliced_wasserstein(
    x: Real[ArrayLike, "n d"],
    y: Real[ArrayLike, "m d"],
    *,
    key: Key[Array, ""],
    directions: int = 512,
) -> Distance:
    """Root mean square over directions of the Wasserstein-2 distance of the projections.

    The error is that of the directions; that of the rows is what two samples of one law score.

    Args:
        x: `(n, d)`.
        y: `(m, d)`; the quantiles of the smaller sample are interpolated.
        key: for the directions.
        directions: how many.

    Returns:
        A `Distance`, in data units; times the root of d it is that of d independent columns.

    Raises:
        ValueError: for fewer than two rows, or columns that differ.

    Example:
        >>> import jax
        >>> from estimators import score
        >>> x = jax.random.normal(jax.random.key(0), (500, 4))
        >>> print(f"{score.sliced_wasserstein(x, x + 3.0, key=jax.random.key(1)).value:.0f}")
        3

    Reference: Rabin, Peyre, Delon & Bernot, Wasserstein barycenter and its application to
    texture mixing (2011).
    """
    x, y = _pair(x, y)
    checks.integer("directions", directions, at_least=2)
    return _sliced(x, y, checks.as_key(key), directions)


@functools.partial(jax.jit, static_argnums=3)
def _sliced(x, y, key, directions: int):
    d = x.shape[1]
    axes = jax.random.normal(key, (directions, d), x.dtype)
    axes = axes / jnp.linalg.norm(axes, axis=-1, keepdims=True)
    count = max(x.shape[0], y.shape[0])
    at = (jnp.arange(count, dtype=x.dtype) + 0.5) / count

    def quantiles(rows, axis):
        values = jnp.sort(product(rows, axis))
        own = (jnp.arange(values.size, dtype=x.dtype) + 0.5) / values.size
        return values if values.size == count else jnp.interp(at, own, values)

    def one(axis):
        return jnp.mean((quantiles(x, axis) - quantiles(y, axis)) ** 2)

    squares = jax.lax.map(one, axes)
    value = jnp.sqrt(jnp.mean(squares))
    error = jnp.std(squares, ddof=1) / jnp.sqrt(jnp.asarray(directions, x.dtype))
    return Distance(value, jnp.where(value > 0, error / jnp.where(value > 0, 2 * value, 1), 0))


def energy_distance(x: Real[ArrayLike, "n d"], y: Real[ArrayLike, "m d"]) -> Distance:
    """`2 E|X - Y| - E|X - X'| - E|Y - Y'|`, unbiased (so it may be negative), with its error.

    Args:
        x: `(n, d)`.
        y: `(m, d)`.

    Returns:
        A `Distance`.

    Raises:
        ValueError: for fewer than two rows, or columns that differ.

    Example:
        >>> import jax
        >>> from estimators import score
        >>> x = jax.random.normal(jax.random.key(0), (500, 4))
        >>> found = score.energy_distance(x, x + 3.0)
        >>> bool(found.value > 20 * found.standard_error)
        True

    Reference: Szekely & Rizzo, Energy statistics (2013).
    """
    x, y = _pair(x, y)
    return _two_sample(_minus_distance, jnp.ones((), x.dtype), x, y)


def maximum_mean_discrepancy(
    x: Real[ArrayLike, "n d"],
    y: Real[ArrayLike, "m d"],
    *,
    bandwidth: Real[ArrayLike, ""] | None = None,
) -> Distance:
    """Squared maximum mean discrepancy with a Gaussian kernel, unbiased, with its error.

    Args:
        x: `(n, d)`.
        y: `(m, d)`.
        bandwidth: of the kernel; None takes the root mean square distance of the rows from
            their mean, over all rows of both.

    Returns:
        A `Distance`, between 0 and 2 but for its noise.

    Raises:
        ValueError: for fewer than two rows, columns that differ, a bandwidth that is not
            positive, or none with rows that are all the same. Inside jit such values give NaN.

    Example:
        >>> import jax
        >>> from estimators import score
        >>> x = jax.random.normal(jax.random.key(0), (500, 4))
        >>> found = score.maximum_mean_discrepancy(x, x + 3.0, bandwidth=2.0)
        >>> bool(found.value > 20 * found.standard_error)
        True

    Reference: Gretton et al., A Kernel Two-Sample Test (2012), lemma 6.
    """
    x, y = _pair(x, y)
    if bandwidth is None:
        both = jnp.concatenate([x, y])
        scale = jnp.sqrt(jnp.sum(jnp.var(both, axis=0)))
        if checks.is_concrete(scale) and not checks.holds(lambda s: s > 0, scale):
            raise ValueError(
                "bandwidth must be given where all rows of x and y are the same; got None"
            )
    else:
        scale = checks.positive("bandwidth", checks.as_number("bandwidth", bandwidth))
    scale = checks.poison(scale.astype(x.dtype), jnp.isfinite(scale) & (scale > 0))
    return _two_sample(_gaussian, scale**-2.0, x, y)


def frechet_distance(x: Real[ArrayLike, "n d"], y: Real[ArrayLike, "m d"]) -> Distance:
    """Squared Wasserstein-2 distance of the Gaussians of two samples, in raw columns.

    `|mu - nu|^2 + tr(S + T - 2 (S T)^(1/2))`, what FID is of the features of a network. The
    error is a jackknife's over ten blocks. Biased upwards by the rows' noise; compare with two
    samples of one law.

    Args:
        x: `(n, d)`.
        y: `(m, d)`.

    Returns:
        A `Distance`, in squared data units.

    Raises:
        ValueError: for fewer than 20 rows, or columns that differ.

    Example:
        >>> import jax
        >>> from estimators import score
        >>> x = jax.random.normal(jax.random.key(0), (500, 4))
        >>> print(f"{score.frechet_distance(x, x + 3.0).value:.0f}")
        36

    Reference: Dowson & Landau, The Frechet distance between multivariate normal distributions
    (1982).
    """
    x, y = _pair(x, y)
    if min(x.shape[0], y.shape[0]) < 20:
        raise ValueError(
            f"x and y must have at least 20 rows each; got {x.shape[0]} and {y.shape[0]}"
        )
    blocks = 10
    whole = _frechet(x, y)
    parts = []
    for block in range(blocks):
        kept = [rows[np.arange(rows.shape[0]) % blocks != block] for rows in (x, y)]
        parts.append(_frechet(*kept))
    spread = jnp.var(jnp.stack(parts))
    return Distance(whole, jnp.sqrt((blocks - 1) * spread))


@jax.jit
def _frechet(x, y):
    def moments(rows):
        mean = jnp.mean(rows, 0)
        centred = rows - mean[None]
        return mean, product(centred.T, centred) / (rows.shape[0] - 1)

    (mu, s), (nu, t) = moments(x), moments(y)
    values, vectors = jnp.linalg.eigh(s)
    root = product(vectors * jnp.sqrt(jnp.maximum(values, 0))[None], vectors.T)
    inner = jnp.linalg.eigvalsh(product(product(root, t), root))
    cross = jnp.sum(jnp.sqrt(jnp.maximum(inner, 0)))
    return jnp.sum((mu - nu) ** 2) + jnp.trace(s) + jnp.trace(t) - 2 * cross


def _minus_distance(square, _):
    apart = square > 0  # the root has no derivative at zero
    return -jnp.where(apart, jnp.sqrt(jnp.where(apart, square, 1)), 0)


def _gaussian(square, precision):
    return jnp.exp(-0.5 * precision * square)


@functools.partial(jax.jit, static_argnums=0)
def _two_sample(kernel, parameter, x, y) -> Distance:
    """`E k(X,X') + E k(Y,Y') - 2 E k(X,Y)` from sums over pairs, streamed.

    The error is that of the first-order (Hajek) projections, each row's part: right where the
    laws differ. Where they are equal the statistic is degenerate, and for samples of one size the
    error is too large by the root of two.
    """
    n, m = x.shape[0], y.shape[0]
    among_x, of_x = (
        _row_means(kernel, parameter, x, x, True),
        _row_means(kernel, parameter, x, y, False),
    )
    among_y, of_y = (
        _row_means(kernel, parameter, y, y, True),
        _row_means(kernel, parameter, y, x, False),
    )
    value = jnp.mean(among_x) + jnp.mean(among_y) - jnp.mean(of_x) - jnp.mean(of_y)
    variance = 4 * (jnp.var(among_x - of_x, ddof=1) / n + jnp.var(among_y - of_y, ddof=1) / m)
    return Distance(value, jnp.sqrt(variance))


def _row_means(kernel, parameter, rows, others, same: bool):
    """Mean of the kernel between each row and all others; a row is not its own other."""
    centre = jnp.mean(others, 0)
    points = into_blocks(others - centre[None])
    numbers = into_blocks(jnp.arange(others.shape[0]), fill=-1)

    def block(part):
        index, queries = part
        queries = queries - centre[None]
        squares = jnp.sum(queries**2, -1)

        def sums(part):
            points, number = part
            apart = squares[:, None] + jnp.sum(points**2, -1)[None]
            apart = apart - 2 * product(queries, points.T)
            values = kernel(jnp.maximum(apart, 0), parameter)
            left_out = number[None] < 0
            if same:
                left_out = left_out | (index[:, None] == number[None])
            return jnp.sum(jnp.where(left_out, 0, values), -1)

        return reduce_blocks(sums, jnp.add, (points, numbers))

    sums = map_blocks(block, (jnp.arange(rows.shape[0]), rows))
    return sums / (others.shape[0] - same)


def _pair(x, y):
    """Both samples relative to one row: far from zero, products would lose what differs."""
    x = checks.as_points("x", x, at_least=2)
    y = checks.as_points("y", y, dimension=x.shape[1], at_least=2).astype(x.dtype)
    return x - x[:1], y - x[:1]
