"""Weighted mean and covariance of rows that are read a block at a time.

Blocks are merged by the update of Chan, Golub & LeVeque (1983), in float64 on the host: the sums
of many blocks would lose digits in float32, and they are small beside the reading.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from estimators.sharding._blocks import Block, Blocks


@dataclasses.dataclass(frozen=True)
class BlockMoments:
    """What one pass over the rows says.

    Attributes:
        rows: how many there are.
        positive: how many have a positive weight.
        total: sum of the weights.
        concentration: sum of the squared weights over the square of their sum.
        mean: weighted mean.
        scatter: weighted mean of `(x - mean) (x - mean)^T`, or zeros where it was not asked for.
        lowest: `(d,)`, the least `C^-1 (x - mean)`, C the factor that was given or I.
        highest: `(d,)`, the greatest.
    """

    rows: int
    positive: int
    total: float
    concentration: float
    mean: Float[np.ndarray, " d"]
    scatter: Float[np.ndarray, "d d"]
    lowest: Float[np.ndarray, " d"]
    highest: Float[np.ndarray, " d"]

    @property
    def covariance(self) -> Float[np.ndarray, "d d"]:
        """The unbiased one, as `_core.weighted_covariance`."""
        return self.scatter / (1 - self.concentration)


def moments(
    points: Blocks,
    weights: Blocks | None = None,
    *,
    factor: Float[np.ndarray, "d d"] | None = None,
    scatter: bool = True,
) -> BlockMoments:
    """Moments of all rows in one pass.

    Args:
        points: the rows.
        weights: their weights, not negative.
        factor: a lower triangular C; the extremes are those of `C^-1 (x - mean)`.
        scatter: whether to find the scatter, which costs d^2 a row.

    Raises:
        ValueError: what `Blocks.read` finds, weights that are negative, not as many as the rows,
            or all zero.
    """
    rows, positive, total, concentration = 0, 0, 0.0, 0.0
    origin, mean, spread, lowest, highest = None, 0.0, 0.0, np.inf, -np.inf
    for block, shares in weighted(points, weights):
        values = block.values[: block.count].astype(np.float64)
        shares = shares[: block.count].astype(np.float64)
        if origin is None:
            origin = values[0].copy()
        # About the first row: a plain sum loses the digits of the spread far from the origin.
        values -= origin[None]
        white = values if factor is None else _unscaled(values, factor)
        lowest = np.minimum(lowest, white.min(0))
        highest = np.maximum(highest, white.max(0))
        rows, positive = rows + block.count, positive + int(np.count_nonzero(shares))
        mass = float(shares.sum())
        if mass == 0:
            continue
        shares /= mass
        own = shares @ values
        before = total / (total + mass)
        share, apart = 1 - before, own - mean
        total += mass
        concentration = before**2 * concentration + share**2 * float(shares @ shares)
        mean = mean + share * apart
        if scatter:
            values -= own[None]
            inside = (values * shares[:, None]).T @ values
            spread = before * spread + share * inside + before * share * np.outer(apart, apart)
    if total == 0:
        raise ValueError(f"weights must have a positive sum; all {rows} are zero")
    assert origin is not None
    mean = mean + np.zeros_like(origin)
    centre = mean if factor is None else _unscaled(mean[None], factor)[0]
    return BlockMoments(
        rows=rows,
        positive=positive,
        total=total,
        concentration=concentration,
        mean=origin + mean,
        scatter=spread + np.zeros((mean.size, mean.size)),
        lowest=lowest - centre,
        highest=highest - centre,
    )


def weighted(
    points: Blocks, weights: Blocks | None, length: int | None = None
) -> Iterator[tuple[Block, np.ndarray]]:
    """Blocks of rows with their weights; those of the rows that fill up a block are zero."""
    of_weights = None
    for block in points.read("points", dimensions=2, length=length):
        size = block.values.shape[0]
        if weights is None:
            own = np.ones(size, block.values.dtype)
        else:
            if of_weights is None:
                of_weights = weights.read("weights", dimensions=1, size=size)
            own = _own_weights(next(of_weights, None), block)
        own[block.count :] = 0
        yield block, own
    if of_weights is not None and (more := next(of_weights, None)) is not None:
        raise ValueError(f"weights must be as many as the points, {more.start}; there are more")


def as_weight_blocks(weights) -> Blocks | None:
    """Weights of rows that are read in blocks: None, Blocks, or an array."""
    if weights is None or isinstance(weights, Blocks):
        return weights
    try:
        return Blocks(weights if hasattr(weights, "shape") else np.asarray(weights))
    except ValueError as error:
        raise ValueError(
            "weights must be None, an array (n,) or sharding.Blocks where points are Blocks; got "
            f"{type(weights).__name__}"
        ) from error


def _own_weights(found: Block | None, block: Block) -> np.ndarray:
    if found is None or found.count != block.count:
        there = block.start + (0 if found is None else found.count)
        raise ValueError(
            f"weights must be as many as the points; the points have rows up to "
            f"{block.start + block.count} here, the weights up to {there}"
        )
    if (found.values < 0).any():
        place = int(np.argmax(found.values < 0))
        raise ValueError(
            f"weights must not be negative; weights[{found.start + place}] is {found.values[place]}"
        )
    return found.values.astype(block.values.dtype)


def _unscaled(values: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """`C^-1 y` for each row y."""
    from scipy.linalg import solve_triangular  # a third of a second that few need

    return solve_triangular(factor, values.T, lower=True).T
