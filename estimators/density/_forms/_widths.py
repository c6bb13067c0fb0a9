"""Relative widths of the kernels: wide where points are rare, narrow where they are dense.

They are scaled to a geometric mean of one, so that `bandwidth` keeps its meaning.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Integer

from estimators._core import log_sum_exp
from estimators._core._blocks import map_blocks
from estimators.density._asked import places_with_weight

# The distance to a neighbour is estimated among at most this many rows (every n / 8192-th).
REFERENCES = 8192
# Halvings of the logarithm of the squared distance over its range: relative error below 1e-2
# where the range is a factor of 1e6, and widths enter smoothly.
HALVINGS = 12


def scaled(log_widths: Float[Array, " n"], log_weights: Float[Array, " n"]) -> Float[Array, " n"]:
    """Widths with weighted geometric mean one."""
    return jnp.exp(log_widths - jnp.sum(jnp.exp(log_weights) * log_widths))


def nearest(
    points: Float[Array, "n d"],
    log_weights: Float[Array, " n"],
    labels: Int[Array, " n"],
    neighbours: Integer[Array, ""],
) -> Float[Array, " n"]:
    """Widths in proportion to the distance to the `neighbours`-th nearest row.

    (Loftsgaarden & Quesenberry 1965; Breiman, Meisel & Purcell 1977.) The distance goes as the
    density to the power -1/d. Rows with the row's own label are no neighbours of it.

    Above 8192 rows it is an estimate: the distance to the `neighbours / k`-th nearest of every
    k-th row, at least the first.
    """
    stride = -(-points.shape[0] // REFERENCES)
    places = places_with_weight(jnp.exp(log_weights), stride)
    others, other_labels = points[places], labels[places]
    present = jnp.isfinite(log_weights[places])
    share = jnp.sum(present) / jnp.sum(jnp.isfinite(log_weights))
    neighbours = jnp.maximum(jnp.round(neighbours * share), 1)
    half = 0.5 * jnp.sum(others**2, -1)

    def block(arguments):
        q, label = arguments
        product = jnp.matmul(q, others.T, precision=jax.lax.Precision.HIGHEST)
        squares = 2 * (half[None] - product) + jnp.sum(q**2, -1)[:, None]
        # Rounding makes the distance between equal rows small, not zero, of either sign.
        floor = jnp.finfo(q.dtype).eps * (1 + jnp.sum(q**2, -1)[:, None])
        logs = jnp.log(jnp.maximum(squares, floor))
        left = (label[:, None] != other_labels[None]) & present[None]
        logs = jnp.where(left, logs, jnp.inf)

        def halve(_, bounds):
            low, high = bounds
            middle = 0.5 * (low + high)
            enough = jnp.sum(logs <= middle[:, None], -1) >= neighbours
            return jnp.where(enough, low, middle), jnp.where(enough, middle, high)

        low = jnp.min(logs, -1)
        high = jnp.max(jnp.where(left, logs, -jnp.inf), -1)
        low, high = jax.lax.fori_loop(0, HALVINGS, halve, (low, high))
        return 0.25 * (low + high)

    logs = map_blocks(block, (points, labels))
    return scaled(jnp.where(jnp.isfinite(logs), logs, 0), log_weights)


def abramson(
    points: Float[Array, "n d"], log_weights: Float[Array, " n"], bandwidth: Float[Array, ""]
) -> Float[Array, " n"]:
    """Widths in proportion to the density to the power -1/2 (Abramson 1982).

    The density is that of the kernel estimate with equal widths at `bandwidth`, each row's own
    kernel included: without it the width of a lone row would be unbounded.
    """
    log_density = log_sum_exp(points, points, log_weights, bandwidth**-2)
    return scaled(-0.5 * log_density, log_weights)
