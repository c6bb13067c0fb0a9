"""Bins of confidence, of equal width or with equally many rows."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from estimators._core import checks

BINNINGS = ("mass", "width")


def as_bins(bins, binning, rows: int) -> int:
    """Check the number of bins, and how they are cut."""
    checks.one_of("binning", binning, BINNINGS)
    bins = checks.integer("bins", bins, at_least=1)
    if bins > rows:
        raise ValueError(f"bins must not be more than the rows, {rows}; got {bins}")
    return bins


def bin_of(confidence: Float[Array, " n"], bins: int, binning: str) -> Int[Array, " n"]:
    """The bin of each row, 0 to `bins - 1`. With equal mass tied rows may be in two bins."""
    n = confidence.shape[0]
    if binning == "width":
        return jnp.clip(jnp.floor(confidence * bins), 0, bins - 1).astype(jnp.int32)
    ends = jnp.asarray((-(-n * np.arange(1, bins + 1) // bins)).astype(np.int32))
    place = jnp.arange(n, dtype=jnp.int32)
    rank = jnp.zeros(n, jnp.int32).at[jnp.argsort(confidence)].set(place)
    return jnp.searchsorted(ends, rank, side="right").astype(jnp.int32)


def bin_sums(column: Float[Array, " n"], bin: Int[Array, " n"], bins: int) -> Float[Array, " bins"]:
    """The sum over each bin."""
    return jax.ops.segment_sum(column, bin, bins)
