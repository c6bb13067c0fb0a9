"""Bandwidth rules, as multiples of the whitened data's unit standard deviation."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from estimators._core._collect import Part, log_total
from estimators.density._asked import every_with_weight
from estimators.density._kernels import Gaussian, Kernel
from estimators.density._labels import remaining_log_weight, row_labels
from estimators.density._sum import log_kernel_density

# Leave-one-out is a mean over queries: 2048 of them fix the bandwidth of a large table to
# about 1 % (its error falls with the square root), and the sum still runs over all points.
LEAVE_ONE_OUT_QUERIES = 2048
MAX_STEPS = 40


def scott(effective_sample_size: Float[Array, ""], dimension: int) -> Float[Array, ""]:
    """Scott's factor `n^(-1/(d+4))` (Scott 1992, eq. 6.44)."""
    return effective_sample_size ** (-1.0 / (dimension + 4))


def silverman(effective_sample_size: Float[Array, ""], dimension: int) -> Float[Array, ""]:
    """Silverman's factor `(n (d+2)/4)^(-1/(d+4))` (Silverman 1986, eq. 4.14)."""
    return (effective_sample_size * (dimension + 2) / 4.0) ** (-1.0 / (dimension + 4))


class Sample(NamedTuple):
    """The points of a leave-one-out likelihood, and the rows that it asks at.

    Attributes:
        points: whitened points; inside `jax.shard_map` those of this device.
        log_weights: log weights with sum of weights one.
        widths: relative widths of the kernels.
        kernel: the kernel's shape.
        labels: of the points, by which equal rows leave the sum.
        asked: points, labels and weights of the rows asked at, the same on all devices.
        axis_name: the mesh axis over which the points are split.
    """

    points: Float[Array, "n d"]
    log_weights: Float[Array, " n"]
    widths: Float[Array, " n"] | None
    kernel: Kernel
    labels: Int[Array, " n"]
    asked: tuple[Float[Array, "m d"], Int[Array, " m"], Float[Array, " m"]]
    axis_name: str | None


def sample(
    points: Float[Array, "n d"],
    log_weights: Float[Array, " n"],
    widths: Float[Array, " n"] | None = None,
    kernel: Kernel | None = None,
    part: Part | None = None,
) -> Sample:
    """Systematic sampling keeps at most 2048 rows to ask at; `part` says which rows are here."""
    labels = row_labels(points)
    count = points.shape[0] if part is None else part.count
    stride = -(-count // LEAVE_ONE_OUT_QUERIES)
    (queries, query_labels), weights = every_with_weight(
        (points, labels), jnp.exp(log_weights), stride, part
    )
    asked = queries, query_labels, weights
    kernel = Gaussian() if kernel is None else kernel
    axis_name = None if part is None else part.axis_name
    return Sample(points, log_weights, widths, kernel, labels, asked, axis_name)


def leave_one_out_log_likelihood(
    log_bandwidth: Float[Array, ""], sample: Sample
) -> Float[Array, ""]:
    """Weighted mean over the rows asked at of the log density that the other rows give them.

    Rows that equal the query exactly are left out with it: a copy would otherwise make
    the likelihood grow without bound as the bandwidth falls to zero.

    Args:
        log_bandwidth: log of the bandwidth in the units of the points.
        sample: see `sample`.
    """
    queries, query_labels, weights = sample.asked
    value = log_kernel_density(
        queries,
        sample.points,
        sample.log_weights,
        kernel=sample.kernel,
        bandwidth=jnp.exp(log_bandwidth),
        widths=sample.widths,
        query_labels=query_labels,
        point_labels=sample.labels,
    )
    value = log_total(value, sample.axis_name)
    value = value - remaining_log_weight(
        query_labels, sample.labels, sample.log_weights, sample.axis_name
    )
    alone = jnp.isneginf(value)
    total = jnp.sum(jnp.where(alone, 0, weights * jnp.where(alone, 0, value)))
    return total / jnp.sum(jnp.where(alone, 0, weights))


def leave_one_out(
    points: Float[Array, "n d"],
    log_weights: Float[Array, " n"],
    start: Float[Array, ""],
    widths: Float[Array, " n"] | None = None,
    kernel: Kernel | None = None,
    part: Part | None = None,
) -> tuple[Float[Array, ""], Int[Array, ""], Float[Array, ""]]:
    """The bandwidth of the largest leave-one-out likelihood, by Newton steps on its log.

    Inside `jax.shard_map`, `part` says which rows this device has.

    Returns:
        The bandwidth; the number of steps taken; and the last step's size in log bandwidth,
        which is below 1e-3 where the search converged.
    """

    def derivatives(log_bandwidth, rows):
        def likelihood(t):
            return leave_one_out_log_likelihood(t, rows)

        def slope(t):
            return jax.jvp(likelihood, (t,), (jnp.ones_like(t),))[1]

        return jax.jvp(slope, (log_bandwidth,), (jnp.ones_like(log_bandwidth),))

    rows = sample(points, log_weights, widths, kernel, part)
    fixed = jax.lax.stop_gradient(rows._replace(axis_name=None))._replace(axis_name=rows.axis_name)

    def step(state):
        log_bandwidth, _, count = state
        slope, curvature = derivatives(log_bandwidth, fixed)
        newton = -slope / curvature
        # Where the likelihood is not concave Newton would walk downhill: go up a fixed step.
        move = jnp.where(curvature < 0, jnp.clip(newton, -0.7, 0.7), 0.5 * jnp.sign(slope))
        return log_bandwidth + move, jnp.abs(move), count + 1

    def unfinished(state):
        _, size, count = state
        return (size > 1e-3) & (count < MAX_STEPS)

    infinite = jnp.asarray(jnp.inf, points.dtype)
    start = jax.lax.stop_gradient(jnp.log(start).astype(points.dtype))
    log_bandwidth, size, steps = jax.lax.while_loop(
        unfinished, step, (start, infinite, jnp.zeros((), jnp.int32))
    )
    # One more Newton step, now with derivatives in the data: by the implicit function
    # theorem its derivative is that of the optimum, which the loop cannot give.
    slope, curvature = derivatives(log_bandwidth, rows)
    log_bandwidth = log_bandwidth - slope / jax.lax.stop_gradient(curvature)
    return jnp.exp(log_bandwidth), steps, size
