"""The learned estimator: `MIST().estimate(x, y)`, its answer, and what it refuses."""

import functools
import warnings
from importlib import resources

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Real

from estimators._core import Spec, Stored, checks
from estimators._core._io import load
from estimators.information._estimate import OK, as_pair, fraction_tied, status_of
from estimators.information._mist._features import features
from estimators.information._mist._network import (
    LEVELS,
    MEDIAN,
    Network,
    compress,
    expand,
)
from estimators.information._mist._prepare import ranks, soft_ranks

WEIGHTS = "mist.safetensors"
ROWS = (64, 128, 256, 512)  # a number of rows is filled up to one of these
FEWEST, MOST_COLUMNS = 32, 16
ROWS_A_COLUMN = 1.5
MOST_TIES = 0.1
RANKS = {"exact": ranks, "soft": soft_ranks}
# Odd numbers and shifts that scramble 32 bits: each bit of a product depends on the lower ones.
SCRAMBLE = ((0x9E3779B1, 15), (0x85EBCA77, 13), (0xC2B2AE3D, 16))
UNUSUAL = 0.05  # of the features; exceeded by one in two thousand data sets like the training's


class QuantileEstimateInfo(Stored):
    """Diagnostics of a learned estimate.

    Attributes:
        ties: fraction of the rows that share the value of a column with another row, the
            largest over the columns.
        unusual: fraction of the network's inputs that lie beyond what its training saw.
        status: 0 ok; 1 not finite; 2 a constant column. Where it is not 0 all is NaN.
    """

    ties: Float[Array, ""]
    unusual: Float[Array, ""]
    status: Int[Array, ""]


class QuantileEstimate(Stored):
    """Mutual information as a distribution: quantiles, given the data.

    Attributes:
        value: the median, nats; never negative.
        quantiles: `(17,)`, nats, increasing; at `levels`.
        samples: number of rows.
        info: diagnostics, see `QuantileEstimateInfo`.
    """

    value: Float[Array, ""]
    quantiles: Float[Array, " levels"]
    samples: Int[Array, ""]
    info: QuantileEstimateInfo

    @property
    def levels(self) -> Float[Array, " levels"]:
        """The levels of `quantiles`, from .01 to .99."""
        return jnp.asarray(LEVELS, self.quantiles.dtype)

    def interval(
        self, coverage: float | Float[Array, ""] = 0.9
    ) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        """Central interval in nats.

        It covers with this probability over the distribution of data sets that the network was
        trained on, not for each law: the model card has the coverage law by law.

        Raises:
            ValueError: if `coverage` is not in (0, .98], the range of the levels.

        Example:
            >>> import jax
            >>> from estimators import information
            >>> x, noise = jax.random.normal(jax.random.key(0), (2, 400, 1))
            >>> lower, upper = information.MIST().estimate(x, x + noise).interval(0.9)
            >>> bool(lower < 0.35 < upper)  # the truth is log(2) / 2
            True
        """
        checks.probability("coverage", coverage)
        if checks.is_concrete(coverage) and float(np.asarray(coverage)) > 0.98 + 1e-6:
            raise ValueError(f"coverage must be at most 0.98, the range of levels; got {coverage}")
        tail = (1 - jnp.asarray(coverage, self.quantiles.dtype)) / 2
        scale = compress(self.quantiles)

        def at(level):
            return jnp.where(
                level < LEVELS[0] - 1e-6, jnp.nan, expand(jnp.interp(level, self.levels, scale))
            )

        # The lower tail decides for both: a coverage beyond the levels is NaN inside jit.
        lower = at(tail)
        return lower, jnp.where(jnp.isnan(lower), jnp.nan, at(1 - tail))


class MIST(Spec):
    """Mutual information by a network trained on simulated data of known information.

    The idea is that of Gritsai et al. (2025, *MIST: Mutual Information Via Supervised
    Training*, arXiv 2511.18945); the network is another one. It reads pairwise distances of
    whitened normal scores at twelve scales, moments of the copula, and the information of the
    Gaussian copula, and answers with quantiles. By construction the answer does not change
    with the order of the rows, the exchange of x and y, or increasing maps of single columns.

    Trained for 32 to 512 rows and 1 to 16 columns a side; more rows are dealt out into parts of at
    most 512, in an order of their own, and the answers averaged. Errors, coverage and limits are in
    the model card, docs/mist_card.md; the weights ship with the package.

    Args:
        network: None for the shipped one. `python -m estimators train-mist` makes others, which
            `estimators.io.load` reads.
        ranks: "exact", or "soft": smoothed ranks, which have a derivative, for use as an
            objective. Static.

    Example:
        >>> import jax
        >>> from estimators import information
        >>> x, noise = jax.random.normal(jax.random.key(0), (2, 400, 1))
        >>> estimate = information.MIST().estimate(x, x + noise)
        >>> bool(abs(estimate.value - 0.35) < 0.1)  # the truth is log(2) / 2 = 0.35
        True

    When it fails: it has seen simulated laws only. Far from all of them (`info.unusual`; outside
    jit there is a warning) it can be wrong by more than its interval says. Beyond 5 nats
    it has seen little but elliptical laws. Discrete columns have no ranks: see
    `MixtureKSG`.
    """

    network: Network
    ranks: str = eqx.field(static=True)

    needs_distinct_rows = True

    def __init__(self, network: Network | None = None, *, ranks: str = "exact"):
        checks.one_of("ranks", ranks, tuple(RANKS))
        if not (network is None or isinstance(network, Network)):
            raise ValueError(
                f"network must be one that `estimators.io.load` reads; got {type(network).__name__}"
            )
        self.network = shipped() if network is None else network
        self.ranks = ranks

    def estimate(self, x: Real[ArrayLike, "n dx"], y: Real[ArrayLike, "n dy"]) -> QuantileEstimate:
        """Estimate the mutual information of `x (n, dx)` and `y (n, dy)`, in nats.

        Raises:
            ValueError: for fewer than 32 rows or 1.5 (dx + dy), more than 16 columns a side,
                different numbers of rows or, outside jit, a constant column, a value that
                is not finite, or a column with many repeated values. Inside jit the first two
                of those give NaN and a status; of the third, see `info.ties`.
        """
        x, y = as_pair(x, y, at_least=FEWEST, why="the fewest that the network was trained on")
        columns = x.shape[1], y.shape[1]
        if x.shape[0] < ROWS_A_COLUMN * sum(columns):
            raise ValueError(
                f"x and y must have at least {ROWS_A_COLUMN} rows a column, what the network was "
                f"trained on; got {x.shape[0]} rows for {columns[0]} and {columns[1]} columns"
            )
        if max(columns) > MOST_COLUMNS:
            raise ValueError(
                f"x and y must have at most {MOST_COLUMNS} columns each, the most that the network "
                f"was trained on; got {columns[0]} and {columns[1]}. GaussianCopula has no limit; "
                f"or reduce the columns first"
            )
        result = _estimate(self.network, *_filled(x, y), RANKS[self.ranks])
        _warn(result)
        return result


@functools.cache
def shipped() -> Network:
    """The network that comes with the package."""
    with resources.as_file(resources.files("estimators.information._mist") / WEIGHTS) as path:
        with jax.ensure_compile_time_eval():
            network = load(path)
    assert isinstance(network, Network)
    return network


def _filled(x, y):
    """Parts of equal shape, filled up with zeros to one of few lengths, and their sizes.

    On the host where the values are known: another number of rows then compiles nothing.
    """
    n = x.shape[0]
    parts = -(-n // ROWS[-1])
    size = -(-n // parts)
    rows = next(r for r in ROWS if r >= size)
    sizes = np.array([len(range(i, n, parts)) for i in range(parts)], np.int32)
    xp = jnp
    if checks.is_concrete(x) and checks.is_concrete(y):
        x, y, xp = np.asarray(x), np.asarray(y), np
    if parts > 1:
        order = _order(x, y, xp)
        x, y = x[order], y[order]

    def cut(side):
        side = xp.pad(side, ((0, size * parts - n), (0, 0)))
        side = side.reshape(size, parts, -1).swapaxes(0, 1)
        return xp.pad(side, ((0, 0), (0, rows - size), (0, 0)))

    return cut(x), cut(y), sizes


def _order(x, y, xp):
    """A shuffle that is the same whatever the order of the rows, so that the answer is too.

    Sorted by the sum of scrambled ranks, which increasing maps of columns leave as they are, and
    which treats all columns alike; where that is equal, by the part of x.
    """

    def marks(side):
        total = xp.zeros(side.shape[0], xp.uint32)
        for column in jax.lax.stop_gradient(side).T if xp is jnp else side.T:
            rank = xp.searchsorted(xp.sort(column), column).astype(xp.uint32)
            for prime, shift in SCRAMBLE:
                rank = rank * xp.uint32(prime)
                rank = rank ^ (rank >> shift)
            total = total + rank
        return total

    of_x, of_y = marks(x), marks(y)
    return xp.lexsort((of_x, of_x + of_y))


@functools.partial(jax.jit, static_argnames="rank")
def _estimate(network, x, y, sizes, rank):
    dtype = x.dtype
    columns = jnp.array([x.shape[2], y.shape[2]])

    def one(part):
        x, y, size = part
        return features(x, y, size, columns, rank)

    parts = jax.lax.map(one, (x, y, sizes))
    quantiles, outside = network(parts).astype(dtype), jax.vmap(network.outside)(parts)
    real = jnp.arange(x.shape[1])[None] < sizes[:, None]
    status, ties = _inspect(x, y, real)
    quantiles, outside = checks.poison((quantiles, jnp.mean(outside).astype(dtype)), status == OK)
    info = QuantileEstimateInfo(ties, outside, status.astype(jnp.int32))
    return QuantileEstimate(quantiles[MEDIAN], quantiles, jnp.sum(sizes), info)


def _inspect(x, y, real):
    """Status, and the fraction of ties, of all parts together."""
    real = real.reshape(-1, 1)
    x, y = (side.reshape(-1, side.shape[2]) for side in (x, y))
    # What only fills repeats the first row for one question, and nothing for the other.
    first = [jnp.where(real, side, side[:1]) for side in (x, y)]
    apart = [jnp.where(real, side, jnp.nan) for side in (x, y)]
    ties = fraction_tied(*apart) * real.shape[0] / jnp.sum(real)
    return status_of(*first), ties


def _warn(result: QuantileEstimate) -> None:
    """Refuse ties, and warn of what the training did not see, where the values are known."""
    if not checks.is_concrete(result.info.status):
        return
    ties, unusual = (np.max(np.asarray(v)) for v in (result.info.ties, result.info.unusual))
    if ties > MOST_TIES:
        raise ValueError(
            f"x and y must be continuous; {ties:.0%} of the rows share the value of a column with "
            f"another row. Use MixtureKSG, or break the ties at random with "
            f"normal_scores(..., key=key)"
        )
    if unusual > UNUSUAL:
        warnings.warn(
            f"{unusual:.0%} of what the network reads of these data lies beyond its training "
            f"data: its interval may not hold. Compare with KSG",
            stacklevel=3,
        )
