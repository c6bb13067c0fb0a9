"""The y at which enough rows fit no better than the test row, exactly, for affine residuals.

With y as the response of the test row, its residual is v = y - centre and that of row i is
a_i + b_i v, up to a factor that all share. Row i fits no better where |a_i + b_i v| >= |v|:
on one interval around the centre, or outside of one that does not hold the centre. All else
counts the ends of these intervals. Here `b` is the number of test rows in a block.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from estimators._core import order_statistic


class Reaches(NamedTuple):
    """Where each training row fits no better than the test row.

    From `start` to `end`, ends included; where start > end, everywhere up to `end` and from
    `start` on.
    """

    start: Float[Array, "b n"]
    end: Float[Array, "b n"]

    @property
    def undefined(self) -> Bool[Array, " b"]:
        """Which test rows have NaN among their reaches."""
        return (jnp.isnan(self.start) | jnp.isnan(self.end)).any(-1)


class IntervalUnion(NamedTuple):
    """A union of closed intervals, in increasing order.

    Attributes:
        lower: `(*batch, largest)`, lower ends; NaN beyond the last interval, and everywhere
            where the union has more than `largest` of them.
        upper: `(*batch, largest)`, upper ends.
        count: `(*batch,)`, how many intervals the union has, also where they are not given.
    """

    lower: Float[Array, "*batch largest"]
    upper: Float[Array, "*batch largest"]
    count: Int[Array, "*batch"]


def reaches(
    constant: Float[Array, "b n"], slope: Float[Array, "b n"], centre: Float[Array, " b"]
) -> Reaches:
    """Where `|constant + slope v| >= |v|`, v = y - centre.

    The two sides meet at v = -a / (1 + b) and v = a / (1 - b). With a >= 0, which a change of
    sign in both arranges, the first is the start and the second the end, for every b.
    """
    sign = jnp.where(constant < 0, -1, 1)
    a, b, centre = sign * constant, sign * slope, centre[:, None]
    start = centre - _ratio(a, 1 + b)
    end = centre + _ratio(a, 1 - b)
    # Here the two sides meet nowhere, or so near each other that the gap is lost in rounding.
    always = ((jnp.abs(b) == 1) & (a == 0)) | ((jnp.abs(b) > 1) & (start <= end))
    return Reaches(jnp.where(always, -jnp.inf, start), jnp.where(always, jnp.inf, end))


def _ratio(a, b):
    zero = b == 0
    return jnp.where(zero, jnp.inf, a / jnp.where(zero, 1, b))


def p_value(found: Reaches, y: Float[Array, " b"]) -> Float[Array, " b"]:
    """`(1 + #{i : row i fits no better}) / (n + 1)` at y."""
    after, before = found.start <= y[:, None], y[:, None] <= found.end
    within = jnp.where(found.start <= found.end, after & before, after | before)
    # Rows are counted, though their number is known: division by a constant is compiled into
    # multiplication by its rounded inverse, and 2/20 might not be the float that is 0.1.
    no_better, better = jnp.sum(within, -1), jnp.sum(~within, -1)
    p = (1 + no_better).astype(y.dtype) / (1 + no_better + better).astype(y.dtype)
    return jnp.where(found.undefined | jnp.isnan(y), jnp.nan, p)


def hull(found: Reaches, needed: int) -> tuple[Float[Array, " b"], Float[Array, " b"]]:
    """The least and the largest y that `needed` rows or more reach.

    Where every reach is one interval around the centre, the ends are order statistics, and
    selecting is 15 times faster than sorting; rows that reach round the other way are rare.
    """
    n = found.start.shape[1]

    def by_selection(found):
        nth = jax.vmap(order_statistic, (0, None))
        return nth(found.start, needed), nth(found.end, n - needed + 1)

    def by_sorting(found):
        points, opens, closes = _crossings(found, needed)
        lower = jnp.min(jnp.where(opens, points, jnp.inf), -1)
        upper = jnp.max(jnp.where(closes, points, -jnp.inf), -1)
        unknown = found.undefined
        return jnp.where(unknown, jnp.nan, lower), jnp.where(unknown, jnp.nan, upper)

    return jax.lax.cond(jnp.any(found.start > found.end), by_sorting, by_selection, found)


def union(found: Reaches, needed: int, largest: int) -> IntervalUnion:
    """All y that `needed` rows or more reach."""
    points, opens, closes = _crossings(found, needed)
    count = jnp.sum(opens, -1, dtype=jnp.int32)
    lost = found.undefined | (count > largest)

    def listed(chosen):
        place = jnp.where(chosen & ~lost[:, None], jnp.cumsum(chosen, -1) - 1, largest)
        empty = jnp.full((len(place), largest), jnp.nan, points.dtype)
        row = jnp.arange(len(place))[:, None]
        return empty.at[row, place].set(points, mode="drop")

    return IntervalUnion(listed(opens), listed(closes), count)


def _crossings(found: Reaches, needed: int):
    """Sorted critical points, -inf first, +inf last, and where the set opens and closes.

    The sort is stable and starts stand before ends: where the two coincide, the point counts
    for both, as it does for closed intervals.
    """
    n = found.start.shape[1]
    outermost = jnp.full_like(found.start[:, :1], jnp.inf)
    points = jnp.concatenate([-outermost, found.start, found.end, outermost], -1)
    turned = jnp.sum(found.start > found.end, -1, keepdims=True, dtype=jnp.int32)
    one = jnp.ones_like(found.start, jnp.int32)
    changes = jnp.concatenate([turned, one, -one, jnp.full_like(turned, -2 * n - 1)], -1)
    points, changes = jax.lax.sort((points, changes), num_keys=1, is_stable=True)
    after = jnp.cumsum(changes, -1) >= needed
    before = jnp.pad(after[:, :-1], ((0, 0), (1, 0)))
    return points, after & ~before, before & ~after
