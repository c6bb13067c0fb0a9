"""Algorithm 2 of Kraskov, Stögbauer & Grassberger: rectangles in place of squares.

The k nearest points in the joint maximum norm span a rectangle; its half sides are their
farthest distances in x and in y. Where k or more points coincide with a row it has no sides,
and the row is counted as in algorithm 1.
"""

import jax.numpy as jnp
from jax.scipy.special import digamma
from jaxtyping import Array, Bool, Float, Int

from estimators.information._neighbours._counting import mean_and_error
from estimators.information._neighbours._nearest import kth_neighbour, over_blocks
from estimators.sharding import Layout


def rectangle_value(
    x: Float[Array, "n dx"], y: Float[Array, "n dy"], k: int, layout: Layout | None = None
) -> Float[Array, ""]:
    """Equation 9 on columns that are on a common scale."""

    def one_block(away, real):
        joint = jnp.maximum(*away)
        radius, _ = kth_neighbour(joint, k, k)
        nearby, square = joint <= radius[:, None], radius == 0
        value = _joint(_others(nearby), square, x.dtype)
        for to in away:
            value -= _weigh(_others(to <= _widest(nearby, to)[0][:, None]), square, x.dtype)
        return value, jnp.zeros((), x.dtype)

    contributions, _ = over_blocks(one_block, (x, y), layout)
    return digamma(jnp.asarray(x.shape[0], x.dtype)) + jnp.mean(contributions)


def rectangle_jackknife(
    x: Float[Array, "n dx"], y: Float[Array, "n dy"], k: int, layout: Layout | None = None
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Equation 9 and its delete-one jackknife standard error.

    If the point that goes was among the neighbours of a row, the next neighbour comes in: the
    sides are those of k + 1 points less that one, the longest or the second longest. Else the
    row loses it where it was counted.
    """
    n, dtype = x.shape[0], x.dtype

    def one_block(away, real):
        joint = jnp.maximum(*away)
        radius, next_radius = kth_neighbour(joint, k, k)
        nearby, more = joint <= radius[:, None], joint <= next_radius[:, None]
        square, then_square = radius == 0, next_radius == 0

        now = _joint(_others(nearby), square, dtype)
        # A row is at distance zero from itself, and so among its neighbours. What the column
        # of the row adds to the sum is returned, to be taken out of it.
        itself = _joint(_others(more) - 1, then_square, dtype)
        stays = jnp.zeros_like(joint) + now[:, None]
        goes = jnp.zeros_like(joint) + itself[:, None]
        for to in away:
            side = _widest(nearby, to)[0][:, None]
            count = _others(to <= side)
            weight = _weigh(count, square, dtype)
            less = _weigh(jnp.maximum(count - 1, 1), square, dtype)
            stays -= jnp.where(to <= side, less[:, None], weight[:, None])
            now -= weight

            longest, second = (side[:, None] for side in _widest(more, to))
            # The only one at the longest side takes the side with it.
            shorter = _weigh(_others(to <= second), then_square, dtype)
            kept = _weigh(_others(to <= longest) - 1, then_square, dtype)
            alone = (to == longest) & (second < longest)
            goes -= jnp.where(alone, shorter[:, None], kept[:, None])
            itself -= kept

        change = jnp.where(nearby, goes, stays) - now[:, None]
        return (now, itself - now), jnp.sum(jnp.where(real[:, None], change, 0), 0)

    (contributions, of_itself), changes = over_blocks(one_block, (x, y), layout)
    mean, error = mean_and_error(contributions, of_itself, changes)
    return digamma(jnp.asarray(n, dtype)) + mean, error


def _others(chosen: Bool[Array, "b n"]) -> Int[Array, " b"]:
    return jnp.sum(chosen, -1, dtype=jnp.int32) - 1


def _joint(number: Int[Array, " b"], square: Bool[Array, " b"], dtype) -> Float[Array, " b"]:
    number = number.astype(dtype)
    return jnp.where(square, digamma(number + 1), digamma(number) - 1 / number)


def _weigh(count: Int[Array, " b"], square: Bool[Array, " b"], dtype) -> Float[Array, " b"]:
    return digamma((count + square).astype(dtype))


def _widest(chosen: Bool[Array, "b n"], to: Float[Array, "b n"]):
    """The longest and the second longest distance of those chosen; equal if two are longest."""
    held = jnp.where(chosen, to, -1)
    longest = jnp.max(held, -1)
    at_longest = held == longest[:, None]
    second = jnp.max(jnp.where(at_longest, -1, held), -1)
    return longest, jnp.where(jnp.sum(at_longest, -1) > 1, longest, second)
