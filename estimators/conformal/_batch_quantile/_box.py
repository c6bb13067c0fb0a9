"""Ranks that bound several test order statistics at once: the smallest box of a family."""

import bisect
import functools
from fractions import Fraction
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from estimators.conformal._batch_quantile._joint_law import box_probability
from estimators.conformal._batch_quantile._law import batch_rank_law

Region = Literal["interval", "box"]
Grow = Literal["tails", "ranks"]

# Above the rounding of the joint probability, far below any use.
ROUNDING = 1e-12


@functools.lru_cache(maxsize=4096)
def joint_ranks(
    n: int, m: int, positions: tuple[int, ...], coverage: Fraction, region: Region, grow: Grow
) -> Int[np.ndarray, "2 positions"]:
    """Lower and upper ranks p and q with P(p_j < R_(z_j) <= q_j for all j) >= coverage.

    Boxes of a family grow until one suffices; it is found by bisection. With "tails" all
    outer tails P(R <= p_j) and P(R > q_j) are at most t, and t falls; with "ranks" p_j and q_j
    move outwards together from n z_j / m, a rank a step. An interval is the box whose sides
    are all the lower side of the first position and the upper side of the last.
    """
    family = _by_tails if grow == "tails" else _by_ranks
    size, box = family(n, m, positions)

    def at(step):
        lower, upper = box(step)
        if region == "interval":
            lower, upper = np.full_like(lower, lower[0]), np.full_like(upper, upper[-1])
        return lower, upper

    def enough(step):
        return box_probability(n, m, positions, *at(step)) >= float(coverage) - ROUNDING

    ranks = np.stack(at(bisect.bisect_left(range(size), True, key=enough)))
    ranks.flags.writeable = False  # it is shared by all that ask for it
    return ranks


def _by_tails(n, m, positions):
    """Boxes with outer tails of at most t, for every t that a tail can be, and 0."""
    below = [np.cumsum(batch_rank_law(n, m, z)) for z in positions]  # P(R <= k), k = 1 .. n + 1
    above = [np.cumsum(batch_rank_law(n, m, m + 1 - z)) for z in positions]  # P(R >= n + 2 - k)
    tails = np.append(np.unique(np.concatenate(below + above))[::-1], 0.0)

    def box(step):
        return _count_at_most(below, tails[step]), n + 1 - _count_at_most(above, tails[step])

    return len(tails), box


def _count_at_most(cumulative: list[Float[np.ndarray, " ranks"]], most):
    return np.array([np.searchsorted(each, most, side="right") for each in cumulative])


def _by_ranks(n, m, positions):
    """Boxes that grow from the ranks n z / m by one rank a step on each side."""
    products = n * np.array(positions)
    first, last = products // m, -(-products // m)

    def box(step):
        return np.maximum(first - step, 0), np.minimum(last + step, n + 1)

    return n + 2, box
