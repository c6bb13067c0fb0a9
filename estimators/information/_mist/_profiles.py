"""Dependence at every scale: kernel sums around each point, in x, in y and jointly.

At a bandwidth h the pointwise log-ratio

    t_i(h) = log mean_j K(x_i, x_j) K(y_i, y_j) - log mean_j K(x_i, x_j) - log mean_j K(y_i, y_j)

is a kernel density estimate of the local information (j runs over the other rows). No single
bandwidth is right; the profile over all of them is what the network reads.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from estimators._core import product
from estimators.information._mist._prepare import Pair, Part

BLOCK = 64  # of rows: with 1024 others two kernels stay in the cache of a core
TINY = 1e-30
WIDEST = 2.0  # squared bandwidth a column, in units of the variance of the scores
COUNTS = (1.5, 3.0, 6.0, 12.0, 25.0, 50.0)


class Sums(NamedTuple):
    """Kernel sums over the other rows of data, at S scales from wide to narrow, for N rows."""

    x: Float[Array, "S N"]
    y: Float[Array, "S N"]
    joint: Float[Array, "S N"]


def kernel_sums(
    x: Float[Array, "N D"],
    y: Float[Array, "N E"],
    columns: Float[Array, " 2"],
    real: Float[Array, " N"],
    scales: int,
    halvings: int = 1,
) -> Sums:
    """Sums at squared bandwidths `columns * WIDEST / 2 ** (halvings * s)`, s = 0 .. scales - 1.

    A kernel of half the squared bandwidth is the square of the kernel: one exponential a pair
    serves all scales.
    """
    block = min(BLOCK, x.shape[0])
    fill = -x.shape[0] % block
    x, y, real = (
        jnp.pad(x, ((0, fill), (0, 0))),
        jnp.pad(y, ((0, fill), (0, 0))),
        jnp.pad(real, (0, fill)),
    )
    rows = x.shape[0]

    def of_block(start):
        # The rows of the block lie along the last axis: sums over the first one vectorise.
        others = start + jnp.arange(block)[None] != jnp.arange(rows)[:, None]
        weights = jnp.where(others, real[:, None], 0)

        def widest(points, count):
            ours = jax.lax.dynamic_slice_in_dim(points, start, block)
            return jnp.exp(-_squared_distances(points, ours) / (2 * WIDEST * count)) * weights

        def step(kernels, _):
            k, m = kernels
            sums = jnp.stack([jnp.sum(k, 0), jnp.sum(m, 0), jnp.sum(k * m, 0)])
            for _ in range(halvings):
                k, m = k * k, m * m
            return (k, m), sums

        kernels = widest(x, columns[0]), widest(y, columns[1])
        return jax.lax.scan(step, kernels, None, length=scales)[1]

    sums = jax.lax.map(of_block, jnp.arange(0, rows, block))  # (blocks, S, 3, block)
    sums = jnp.moveaxis(sums, (2, 1), (0, 1)).reshape(3, scales, rows)
    return Sums(*sums[..., : rows - fill])


def _squared_distances(points, ours):
    if points.shape[1] == 1:
        return (points - ours.T) ** 2
    lengths, own = jnp.sum(points**2, 1), jnp.sum(ours**2, 1)
    return jnp.maximum(lengths[:, None] + own[None] - 2 * product(points, ours.T), 0)


def profile_features(sums: Sums, normal: Float[Array, " N"], pair: Pair) -> Part:
    """What the network reads of the sums.

    `normal` is the pointwise information under a Gaussian copula: what is left of the profile
    beside it is not Gaussian.
    """
    real, count = pair.real, pair.count
    x, y, joint = (jnp.log(jnp.maximum(s, TINY) / (count - 1)) for s in sums)
    t = joint - x - y

    def mean(values):
        return jnp.sum(values * real[None], -1) / count

    def spread(values, centre):
        return jnp.sqrt(mean((values - centre[:, None]) ** 2) + 1e-8)

    mean_t, mean_x, mean_y, mean_joint = mean(t), mean(x), mean(y), mean(joint)
    sd_t, sd_x, sd_y = spread(t, mean_t), spread(x, mean_x), spread(y, mean_y)
    standard = (t - mean_t[:, None]) / (sd_t[:, None] + 1e-3)
    skewness = mean(jnp.clip(standard, -5, 5) ** 3)
    both = mean((x - mean_x[:, None]) * (y - mean_y[:, None]))
    correlation = both / (sd_x * sd_y + 1e-6)
    ratio = _ratio_of_means(sums, real, count)
    alignment = _alignment(sums, real, count)
    shared = [mean_t, jnp.log(sd_t + 1e-3), skewness, mean_joint, correlation, ratio, alignment]
    off = (normal - jnp.sum(normal * real) / count)[None]
    shared.append(mean((t - mean_t[:, None]) * off) / (sd_t * jnp.sqrt(mean(off**2)) + 1e-3))
    shared += _at_counts(sums, t, real, count)
    of_x, of_y = (
        jnp.concatenate([m, jnp.log(s + 1e-3)]) for m, s in ((mean_x, sd_x), (mean_y, sd_y))
    )
    return Part(jnp.concatenate(shared), of_x, of_y)


def _ratio_of_means(sums, real, count):
    mean = [jnp.sum(s * real[None], -1) / (count * (count - 1)) for s in sums]
    return jnp.log(jnp.maximum(mean[2], TINY)) - sum(
        jnp.log(jnp.maximum(m, TINY)) for m in mean[:2]
    )


def _alignment(sums, real, count):
    """Hilbert-Schmidt independence criterion over the spread of the kernels (without centring)."""
    mean_x, mean_y, mean_joint = (jnp.sum(s * real[None], -1) / count**2 for s in sums)
    across = jnp.sum(sums.x * sums.y * real[None], -1) / count**3
    independence = mean_joint + mean_x * mean_y - 2 * across
    return jnp.sign(independence) * jnp.sqrt(
        jnp.abs(independence) / (mean_x * mean_y + 1.0 / count**2)
    )


def _at_counts(sums, t, real, count):
    """The log-ratio at the bandwidth that has a given (soft) number of joint neighbours.

    What the estimator of Kraskov, Stoegbauer & Grassberger does with a hard count.
    """
    log_count = jnp.log(jnp.maximum(sums.joint, TINY))  # falls with s

    def one(wanted):
        level = jnp.log(wanted)
        above = jnp.sum(log_count >= level, 0)  # scales whose bandwidth has more neighbours
        last = jnp.clip(above - 1, 0, t.shape[0] - 2)

        def at(values, offset):
            return jnp.take_along_axis(values, (last + offset)[None], 0)[0]

        high, low = at(log_count, 0), at(log_count, 1)
        share = jnp.clip((high - level) / jnp.maximum(high - low, 1e-6), 0, 1)
        local = at(t, 0) * (1 - share) + at(t, 1) * share
        centre = jnp.sum(local * real) / count
        spread = jnp.sqrt(jnp.sum((local - centre) ** 2 * real) / count)
        return jnp.stack([centre, spread])

    return [jax.lax.map(one, jnp.asarray(COUNTS, t.dtype)).reshape(-1)]
