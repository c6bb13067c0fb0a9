"""Mean and modes of rows that are read block by block: one pass, and the whole covariance."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from estimators._core import Choice
from estimators.score._models._spectrum import EXACT_DIMENSION, Spectrum
from estimators.sharding._block_moments import as_weight_blocks, moments
from estimators.sharding._blocks import Blocks


def from_blocks(spec, points: Blocks, weights) -> tuple[Float[Array, " d"], Spectrum]:
    """Mean and spectrum for `Gaussian.fit`."""
    d, dtype = points.peek("points")
    if isinstance(spec.shrinkage, Choice):
        raise ValueError(
            f"shrinkage must be a number where points are Blocks; got {spec.shrinkage!r}, whose "
            "rule is for rows hardly more than columns"
        )
    if d > EXACT_DIMENSION:
        raise ValueError(
            f"points must have at most {EXACT_DIMENSION} columns where they are Blocks: the whole "
            f"covariance is formed; got {d}"
        )
    rank = d if spec.rank is None else spec.rank
    if rank > d:
        raise ValueError(f"rank must be at most the {d} columns of points; got {rank}")
    found = moments(points, as_weight_blocks(weights))
    if found.rows < 2:
        raise ValueError(f"points must have at least 2 rows; got {found.rows}")
    if found.positive < 2:
        raise ValueError("weights must be positive for at least 2 rows; they are for one")
    if spec.rank is not None and rank > found.rows - 1:
        raise ValueError(
            f"rank must be at most {found.rows - 1}: {found.rows} rows span no more directions "
            f"about their mean; got {rank}"
        )
    values, vectors = np.linalg.eigh(found.covariance)
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    floor = values[rank:].mean() if rank < d else 0.0
    parts = (vectors[:, :rank], values[:rank], floor, values.sum())
    return jnp.asarray(found.mean, dtype), Spectrum(*(jnp.asarray(a, dtype) for a in parts))
