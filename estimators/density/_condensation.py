"""How far a kernel sum is from condensing onto a few points: read off its kernel weights.

Two answers for two questions. `stable_index` finds the bandwidth at which the sum does
condense, wherever that is: unbiased, but it rests on the few nearest points, and scatters by
a factor of up to two from data set to data set. `central_limit_holds` asks only whether it
stays uncondensed down to a somewhat smaller bandwidth, extrapolating from all points that
carry the sum: it scatters by 20 %. A decision needs the second: by the first one would pick
the data sets that lack their nearest points, whose sum is too small.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from estimators._core import KernelStatistics, kernel_statistics

# The participation ratio at h_G is .17 to .22 for n = 1e3..1e5 and d = 10..60, not the 0 of
# the limit: taking .2 gives h_G at a point to within 4 % there.
CRITICAL_PARTICIPATION = 0.2
# From this index on intervals of the normal law cover as they should (docs/validation.md);
# at the theorem's own limit, an index of 2, those of 95 % cover 90 %.
CLASSICAL_INDEX = 3.0
# The squared weights estimate the variance: below this share their own error is small.
CLASSICAL_VARIANCE_PARTICIPATION = 0.1

_LOG_INDEX_RANGE = 14.0
_MOST_STEPS = 20
_LONGEST_STEP = 1.5
_TOLERANCE = 1e-2


class KernelSum(NamedTuple):
    """The arguments of a kernel sum whose kernel has bandwidth one."""

    queries: Float[Array, "m d"]
    points: Float[Array, "n d"]
    log_weights: Float[Array, " n"]
    precision: Float[Array, " n"] | None

    def statistics(self, log_precision: Float[Array, " m"]) -> KernelStatistics:
        """Statistics of the weights with all precisions multiplied by the given one."""
        return kernel_statistics(
            self.queries,
            self.points,
            self.log_weights,
            jnp.exp(log_precision),
            point_precision=self.precision,
        )


def stable_index(kernel_sum: KernelSum, here: KernelStatistics) -> Float[Array, " m"]:
    """The index m = (h / h_G)^2: the precision at which the participation ratio is critical.

    Args:
        kernel_sum: the sum.
        here: its statistics at precision one.

    Returns:
        Cut off at 1e-6 and 1e6. Differentiable in the arrays of `kernel_sum`: the search is
        not, one more step of Newton's is (the implicit function theorem).
    """
    found = _search(jax.lax.stop_gradient(kernel_sum), jax.lax.stop_gradient(here))
    excess, slope = _excess(kernel_sum.statistics(found), found)
    rising = slope > 0
    last = excess / jax.lax.stop_gradient(jnp.where(rising, slope, 1))
    return jnp.exp(found - jnp.where(rising, jnp.clip(last, -_TOLERANCE, _TOLERANCE), 0))


def central_limit_holds(
    here: KernelStatistics, kernels_a_row: int = 1
) -> tuple[Bool[Array, " m"], Bool[Array, " m"]]:
    """Whether the sum is far enough from condensing, and whether its variance is known.

    First: the number of points that dominate the sum at a precision p is, by the saddle
    point, exp(entropy) / (p sqrt(pi V / 2)), V the variance of the squared distance. The
    entropy falls with p as dS/dp = -p V / 4. With the squared distances following a gamma law
    near here, matched to their mean and variance A and V at p = 1, V(p) = a / (c + p/2)^2,
    a = A^2 / V and c = A / V - 1/2, and that number can be told at the precision at which
    the index would be one if it is `CLASSICAL_INDEX` here. It must be above one there.
    Second: the participation ratio of the squared weights must be small.

    Args:
        here: statistics of the weights at precision one.
        kernels_a_row: kernels that belong to one row of the data, and so count as one.
    """
    p = CLASSICAL_INDEX
    scale = here.distance_mean / here.distance_variance
    shape = here.distance_mean * scale
    c = scale - 0.5
    there = c + 0.5 * p
    loss = shape * (jnp.log(there / scale) + c * (1 / there - 1 / scale))
    prefactor = jnp.log(p * jnp.sqrt(0.5 * jnp.pi * shape) / there)
    log_number = here.entropy - jnp.log(kernels_a_row) - loss - prefactor
    share = kernels_a_row * here.fourth_power_ratio
    return log_number > 0, share < CLASSICAL_VARIANCE_PARTICIPATION


def _excess(statistics: KernelStatistics, log_precision):
    """Log of the participation ratio over its critical value, and the slope in log precision."""
    value = jnp.log(statistics.participation_ratio) - jnp.log(CRITICAL_PARTICIPATION)
    slope = statistics.distance_mean - statistics.squared_weights_distance_mean
    return value, jnp.exp(log_precision) * slope


def _search(kernel_sum: KernelSum, here: KernelStatistics):
    """Log of the precision at which the participation is critical: Newton's steps, in bounds."""

    def advance(u, low, high, statistics):
        value, slope = _excess(statistics, u)
        low, high = jnp.where(value > 0, low, u), jnp.where(value > 0, u, high)
        step = jnp.clip(-value / slope, -_LONGEST_STEP, _LONGEST_STEP)
        following = u + jnp.where(slope > 0, step, -_LONGEST_STEP * jnp.sign(value))
        inside = (following >= low) & (following <= high)
        return jnp.where(inside, following, 0.5 * (low + high)), low, high

    def unfinished(state):
        _, last, _, _, count = state
        return (count < _MOST_STEPS) & jnp.any(last > _TOLERANCE)

    def body(state):
        u, _, low, high, count = state
        following, low, high = advance(u, low, high, kernel_sum.statistics(u))
        return following, jnp.abs(following - u), low, high, count + 1

    start = jnp.zeros_like(here.log_sum)
    bound = jnp.full_like(start, _LOG_INDEX_RANGE)
    u, low, high = advance(start, -bound, bound, here)
    return jax.lax.while_loop(unfinished, body, (u, jnp.abs(u), low, high, 1))[0]
