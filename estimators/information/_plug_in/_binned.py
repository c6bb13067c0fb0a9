"""Mutual information of binned columns, with the Miller-Madow correction."""

import functools
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Real

from estimators._core import Spec, checks
from estimators.information._estimate import Estimate, as_pair, conclude, status_of
from estimators.information._ranks import average_ranks

EDGES = ("equal_count", "equal_width")


class Binned(Spec):
    """Mutual information of the columns cut into bins: the oldest estimator, for few columns.

    Every column is cut into `bins` bins. With `c_x`, `c_y` and `c` the numbers of rows in row
    i's cell of x, of y and of both together, and `m_x`, `m_y` and `m` the numbers of cells that
    are not empty,

        I = mean(log(n c / (c_x c_y))) + (m_x + m_y - m - 1) / (2 n)        [nats]

    The second term is the correction of Miller (1955) for the bias of the three entropies. Time
    is O(n log n (dx + dy)), memory O(n (dx + dy)): empty cells cost nothing.

    The standard error is `sqrt(var(log ratio) / n + (m_x - 1) (m_y - 1) / (2 n^2))`; the second
    term is that of the chi-squared law that is left where x and y are independent. It takes the
    edges as given, and is up to 20 % too small where they are quantiles.

    Bias in nats, standard error over the true one, and coverage of 90 % intervals, from 200
    simulated data sets:

        law                         nats    bias           error ratio   coverage
                                            n=100   500    n=100   500   n=100   500
        normal 1x1, rho = 0         0        .01    .01    1.59  1.54   1.00    .98
        normal 1x1, rho = 0.5       .144    -.04   -.01     .94   .92    .77    .86
        normal 1x1, rho = 0.9       .830    -.29   -.09     .88   .79    .00    .26
        mixture of rho = +-0.9      .409    -.26   -.08     .90   .94    .01    .18
        uniform + 0.75 uniform      .333    -.18   -.09     .88   .98    .04    .05
        normal 3x3, rho = 0.5       .432    -.15   -.26     .91  1.13    .39    .00

    Print it again: `pytest -m validation -s tests/information/test_tables.py`.

    Args:
        bins: number of bins of every column, static. None takes the largest number that leaves
            at least 5 rows a cell on average, `(n / 5)^(1 / (dx + dy))`, and at least 2.
        edges: "equal_count" (quantiles of the column; ties share a bin) or "equal_width", static.
        bias_correction: whether the second term is added, static.

    Example:
        >>> import jax
        >>> from estimators import information
        >>> x, noise = jax.random.normal(jax.random.key(0), (2, 2000, 1))
        >>> estimate = information.Binned(bins=10).estimate(x, x + noise)
        >>> bool(0.25 < estimate.value < 0.4)  # the truth is log(2) / 2 = 0.35
        True

    When it fails: what varies within a bin is lost, so that the limit of many rows lies below
    the truth; with many bins the cells hold few rows, and the answer is too large, beyond what
    the correction takes away. With more than 3 or 4 columns in all no number of bins avoids both.
    The interval knows nothing of either. Counts are step functions of the data:
    the gradient is zero.
    """

    bins: int | None = eqx.field(default=None, static=True)
    edges: str = eqx.field(default="equal_count", static=True)
    bias_correction: bool = eqx.field(default=True, static=True)

    def __check_init__(self):
        _check(self.bins, self.edges)

    def estimate(self, x: Real[ArrayLike, "n dx"], y: Real[ArrayLike, "n dy"]) -> Estimate:
        """Estimate the mutual information of `x (n, dx)` and `y (n, dy)`, in nats.

        Raises:
            ValueError: for fewer than 4 rows, different numbers of rows or, outside jit, a
                constant column or a value that is not finite. Inside jit those two give NaN and
                a status.
        """
        x, y = _pair(x, y)
        bins = _number_of_bins(self.bins, x, y)
        return _estimate(x, y, bins, self.edges, self.bias_correction)


def binned(
    x: Real[ArrayLike, "n dx"],
    y: Real[ArrayLike, "n dy"],
    *,
    bins: int | None = None,
    edges: str = "equal_count",
    bias_correction: bool = True,
) -> Float[Array, ""]:
    """Mutual information in nats of binned columns: the value of `Binned`.

    Args:
        x: `(n, dx)`, float32 or float64; rows are joint samples with those of y.
        y: `(n, dy)`.
        bins: number of bins of every column, static; None as in `Binned`.
        edges: "equal_count" or "equal_width", static.
        bias_correction: whether Miller's correction is added, static.

    Raises:
        ValueError: as `Binned.estimate`; inside jit bad values give NaN.

    Reference: Miller (1955), *Note on the bias of information estimates*. See `Binned` for when
    it fails.

    Example:
        >>> import jax
        >>> from estimators import information
        >>> x, noise = jax.random.normal(jax.random.key(0), (2, 8, 400, 1))
        >>> jax.vmap(information.binned)(x, x + noise).shape  # eight data sets
        (8,)
    """
    _check(bins, edges)
    x, y = _pair(x, y)
    return _estimate(x, y, _number_of_bins(bins, x, y), edges, bias_correction).value


def _check(bins, edges):
    if bins is not None:
        checks.integer("bins", bins, at_least=2)
    checks.one_of("edges", edges, EDGES)


def _pair(x, y):
    return as_pair(x, y, at_least=4, why="2 for each of 2 bins")


def _number_of_bins(bins, x, y) -> int:
    n = x.shape[0]
    if bins is None:
        bins = max(2, int((n / 5) ** (1 / (x.shape[1] + y.shape[1])) + 1e-9))
    if bins * n >= 2**31:
        raise ValueError(f"bins must be below 2^31 / n, here {2**31 // n}; got {bins}")
    return bins


@functools.partial(jax.jit, static_argnames=("bins", "edges", "correct"))
def _estimate(x, y, bins, edges, correct):
    n, dtype = x.shape[0], x.dtype
    codes_of = equal_count_codes if edges == "equal_count" else equal_width_codes
    x_codes, y_codes = (
        jax.vmap(functools.partial(codes_of, bins=bins), 1, 1)(columns) for columns in (x, y)
    )
    of_x, of_y = cells(x_codes, bins), cells(y_codes, bins)
    both = cells(jnp.concatenate([x_codes, y_codes], 1), bins)
    log_counts = [jnp.log(part.counts.astype(dtype)) for part in (both, of_x, of_y)]
    log_ratio = log_counts[0] - log_counts[1] - log_counts[2] + jnp.log(jnp.asarray(n, dtype))
    m, m_x, m_y = (part.occupied.astype(dtype) for part in (both, of_x, of_y))
    value = jnp.mean(log_ratio)
    if correct:
        value += (m_x + m_y - m - 1) / (2 * n)
    variance = jnp.var(log_ratio) / n + (m_x - 1) * (m_y - 1) / (2.0 * n**2)
    return conclude(value, jnp.sqrt(variance), x, y, status_of(x, y))


def equal_count_codes(column: Float[Array, " n"], bins: int) -> Int[Array, " n"]:
    """The bin of each entry, from 0; bins hold equally many rows, up to ties and rounding."""
    n = column.shape[0]
    # Twice the rank is whole, and so are the limits: nothing depends on the dtype.
    limits = -(-2 * n * np.arange(1, bins, dtype=np.int64) // bins)
    twice = (2 * average_ranks(column)).astype(jnp.int32) - 1
    return jnp.searchsorted(jnp.asarray(limits, jnp.int32), twice, side="right").astype(jnp.int32)


def equal_width_codes(column: Float[Array, " n"], bins: int) -> Int[Array, " n"]:
    """The bin of each entry, from 0, between the smallest entry and the largest."""
    lowest, highest = jnp.min(column), jnp.max(column)
    place = jnp.floor((column - lowest) / (highest - lowest) * bins)
    return jnp.clip(place, 0, bins - 1).astype(jnp.int32)


class Cells(NamedTuple):
    """For each row the number of rows in its cell; and how many cells have a row."""

    counts: Int[Array, " n"]
    occupied: Int[Array, ""]


def cells(codes: Int[Array, "n d"], bins: int) -> Cells:
    """Count the rows that agree in every column; codes are from 0 to bins - 1."""
    n = codes.shape[0]

    def step(cell, code):
        # Numbered anew after each column, a cell's number stays below n.
        return dense_ranks(cell * bins + code), None

    cell, _ = jax.lax.scan(step, 0 * codes[:, 0], codes.T)
    counts = jnp.zeros(n, jnp.int32).at[cell].add(1)
    return Cells(counts[cell], jnp.max(cell) + 1)


def dense_ranks(values: Int[Array, " n"]) -> Int[Array, " n"]:
    """Ranks from 0 among the different values."""
    order = jnp.argsort(values)
    ordered = values[order]
    new = jnp.concatenate([jnp.zeros(1, bool), ordered[1:] != ordered[:-1]])
    return jnp.zeros_like(values).at[order].set(jnp.cumsum(new, dtype=values.dtype))
