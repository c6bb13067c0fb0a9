"""`KDE.fit` on rows that are read block by block: one pass for the moments."""

import jax.numpy as jnp
import numpy as np

from estimators._core import Choice, checks, product, whitening
from estimators.density import _bandwidth
from estimators.density._blocks._fitted_blocks import FittedBlockKDE
from estimators.density._fitted import KDEInfo
from estimators.density._standardise import SHAPES, Standardised, shape_factor
from estimators.density.theory import optimal_bandwidth
from estimators.sharding._block_moments import BlockMoments, as_weight_blocks, moments
from estimators.sharding._blocks import Blocks

RULES = ("scott", "silverman", "biroli-mezard")


def fit_blocks(spec, points: Blocks, weights=None) -> FittedBlockKDE:
    """Fit a specification to blocks of rows; see `KDE.fit`."""
    rule = spec.bandwidth.name if isinstance(spec.bandwidth, Choice) else None
    _refuse(spec, rule)
    d, dtype = points.peek("points")
    weights = as_weight_blocks(weights)
    if rule is None:
        found, bandwidth, factor = _by_number(spec.bandwidth, points, weights, d, dtype)
        kept, size = jnp.ones((), dtype), jnp.asarray(jnp.nan, dtype)
    else:
        found = moments(points, weights)
        factor, size = _by_rule(spec, rule, found, dtype)
        bandwidth = product(factor, factor.T)
        # As for rows in memory: shrunken centres keep the variance of the data.
        kept = jnp.sqrt(jnp.maximum(1 - size**2, 0)) if spec.centres == "shrunken" else 1.0
    info = KDEInfo(
        effective_sample_size=jnp.asarray(1 / found.concentration, dtype),
        factor=size,
        shrinkage=jnp.asarray(kept, dtype),
        log_likelihood=jnp.asarray(jnp.nan, dtype),
        steps=jnp.zeros((), jnp.int32),
        status=jnp.zeros((), jnp.int32),
        selection=None,
    )
    return FittedBlockKDE(
        points=points,
        weights=weights,
        bandwidth=bandwidth,
        location=jnp.asarray(found.mean, dtype),
        factor=factor,
        kernel=spec.kernel,
        info=info,
        count=found.rows,
        total_weight=found.total,
    )


def _by_number(bandwidth, points: Blocks, weights: Blocks | None, d: int, dtype: np.dtype):
    if not checks.is_concrete(bandwidth):
        raise ValueError(
            "bandwidth must be known where points are Blocks: their fit cannot be traced by jax"
        )
    if bandwidth.shape not in ((), (d,), (d, d)):
        raise ValueError(
            f"bandwidth must have shape (), ({d},) or ({d}, {d}) for points of {d} "
            f"columns; got shape {bandwidth.shape}"
        )
    bandwidth = bandwidth.astype(dtype)
    if bandwidth.ndim < 2:
        factor = jnp.diag(jnp.broadcast_to(bandwidth, (d,)))
    else:
        factor, _, definite = whitening(bandwidth)
        if not bool(definite):
            raise ValueError("bandwidth must be positive definite where it is a matrix; it is not")
    exact = np.asarray(factor, np.float64)
    found = moments(points, weights, factor=exact, scatter=False)
    radius = np.maximum(-found.lowest, found.highest).max()
    if radius * np.finfo(dtype).eps >= 0.1:
        raise ValueError(
            f"bandwidth must be above the rounding of {dtype} coordinates, about "
            f"{np.finfo(dtype).eps:.0e} of the data's radius; got one below it"
        )
    return found, bandwidth, factor


def _by_rule(spec, rule: str, found: BlockMoments, dtype: np.dtype):
    """Cholesky factor of the kernel's covariance, and the rule's factor."""
    if found.positive < 2:
        raise ValueError(
            f"points must have at least 2 rows of positive weight for bandwidth {rule!r}; there "
            f"are {found.positive} (of {found.rows})"
        )
    constant = found.highest == found.lowest
    if constant.any():
        column = int(np.argmax(constant))
        raise ValueError(
            f"points must vary in every column; column {column} is {found.mean[column]} "
            "in all rows, and its density is infinite there"
        )
    d, scale = found.mean.size, np.sqrt(np.diagonal(found.covariance))
    correlation = found.covariance / np.outer(scale, scale)
    standard = Standardised(
        values=jnp.zeros((0, d), dtype),
        location=jnp.asarray(found.mean, dtype),
        scale=jnp.asarray(scale, dtype),
        correlation=jnp.asarray(correlation, dtype),
    )
    _, cholesky, definite = shape_factor(standard, SHAPES.index(spec.covariance))
    if not bool(definite):
        raise ValueError(
            "points must have a covariance that is positive definite; theirs is singular: columns "
            f"are linearly dependent, or rows with weight are fewer than columns ({found.positive} "
            f"and {d}). Drop columns, or write KDE(covariance='diagonal')"
        )
    rows = jnp.asarray(1 / found.concentration, dtype)
    if rule == "scott":
        size = _bandwidth.scott(rows, d)
    elif rule == "silverman":
        size = _bandwidth.silverman(rows, d)
    else:
        size = optimal_bandwidth(jnp.ones(d, dtype), rows)
    return standard.scale[:, None] * size * cholesky, size


def _refuse(spec, rule: str | None) -> None:
    if rule not in (None, *RULES):
        raise ValueError(
            "bandwidth must be a number, a vector, a matrix or one of "
            f"{', '.join(map(repr, RULES))} where points are Blocks; got {rule!r}, which reads all "
            "pairs of rows many times. Fit it to a sample of m rows, and pass its bandwidth matrix "
            "for all n: KDE(sample.bandwidth * (m / n) ** (2 / (d + 4)))"
        )
    if spec.widths != "equal" or spec.covariance not in SHAPES:
        raise ValueError(
            "widths must be 'equal' and the covariance not learned where points are Blocks: others "
            f"need all pairs of rows; got widths={spec.widths!r}, covariance={spec.covariance!r}"
        )
