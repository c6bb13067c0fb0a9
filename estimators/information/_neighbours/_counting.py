"""Estimators that count: a radius from the joint space, numbers of points within it elsewhere.

All of the family of Kraskov, Stögbauer & Grassberger is one formula. The radius of row i is the
distance to its k-th neighbour in the joint space; in each of some smaller spaces s the other
points within it are counted, and

    value = constant + mean(psi(k) + sum_s sign_s psi(count_s + 1))

A `Recipe` says which spaces, with which signs. The delete-one jackknife is the same for all.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax.scipy.special import digamma
from jaxtyping import Array, Float, Integer

from estimators.information._neighbours._nearest import kth_neighbour, over_blocks, within
from estimators.sharding import Layout


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What to count.

    Attributes:
        spaces: from the tuple of distances in each variable to those in the joint space and a
            tuple of those in the spaces where points are counted.
        signs: one for each such space.
        scarce: a row may have fewer than k others at a finite distance; all are then taken.
    """

    spaces: Callable
    signs: tuple[int, ...]
    scarce: bool = False


class Counts(NamedTuple):
    """What lies around each of the b points of a block: numbers of other points."""

    radius: Float[Array, " b"]
    joint: Integer[Array, " b"]
    inside: tuple[Integer[Array, " b"], ...]


def contribution(recipe: Recipe, counts: Counts) -> Float[Array, " b"]:
    """A row's part of the mean."""
    dtype = counts.radius.dtype
    total = digamma(counts.joint.astype(dtype) + 1)
    for sign, count in zip(recipe.signs, counts.inside, strict=True):
        total = total + sign * digamma(count.astype(dtype) + 1)
    return total


def share_of(count: Integer[Array, " b"], dtype) -> Float[Array, " b"]:
    """What is lost where one of those counted goes: psi(m + 1) - psi(m)."""
    return 1 / jnp.maximum(count, 1).astype(dtype)


def around(joint, spaces, radius, k) -> Counts:
    """Count the other points within `radius` in every space.

    Where k or more others coincide with a point nothing is strictly within its radius of zero:
    there all the numbers, `joint` included, are of others at distance zero. Elsewhere `joint`
    is k - 1, the number strictly within the distance to the k-th.
    """
    inside = tuple(jnp.sum(within(away, radius), -1, dtype=jnp.int32) - 1 for away in spaces)
    coincide = jnp.sum(joint == 0, -1, dtype=jnp.int32) - 1
    return Counts(radius, jnp.where(radius == 0, coincide, k - 1), inside)


def _wanted(recipe: Recipe, joint, k: int):
    if not recipe.scarce:
        return k
    return jnp.minimum(k, jnp.sum(jnp.isfinite(joint), -1, dtype=jnp.int32) - 1)


def value_of_block(recipe: Recipe, k: int):
    """For `over_blocks`: the contribution of each row."""

    def one_block(away, real):
        joint, spaces = recipe.spaces(away)
        wanted = _wanted(recipe, joint, k)
        counts = around(joint, spaces, kth_neighbour(joint, wanted, k)[0], wanted)
        return contribution(recipe, counts), jnp.zeros((), joint.dtype)

    return one_block


def jackknife_of_block(recipe: Recipe, k: int):
    """For `over_blocks`: the contribution of each row, and its changes as each point goes.

    Without point i the contribution of a row j changes in one of two ways. If i was among its
    neighbours, the radius grows to the next one. Else the counts lose i where they had it. The
    jackknife needs the sum of the changes over j only; a row is in that sum for its own column
    too, as a point at distance zero, and what that adds is returned with the contribution.
    """

    def one_block(away, real):
        joint, spaces = recipe.spaces(away)
        wanted = _wanted(recipe, joint, k)
        radius, next_radius = kth_neighbour(joint, wanted, k)
        now = around(joint, spaces, radius, wanted)
        then = around(joint, spaces, next_radius, wanted)
        # With ties at zero the point that goes was itself one of those counted there.
        then = then._replace(joint=jnp.where(next_radius == 0, then.joint - 1, then.joint))
        now_is = contribution(recipe, now)
        jump = contribution(recipe, then) - now_is

        def lost(counts):
            of_each, at_most = 0, 0
            for sign, count, to_point in zip(recipe.signs, counts.inside, spaces, strict=True):
                share = -sign * share_of(count, joint.dtype)
                of_each += jnp.where(within(to_point, counts.radius), share[:, None], 0)
                at_most += share
            return of_each, at_most

        stays, of_itself = lost(now)
        goes, then_of_itself = lost(then)
        nearby = joint <= radius[:, None]
        own = jump + then_of_itself
        if recipe.scarce:
            # There is no next neighbour to grow to: the radius is held fixed.
            grows = jnp.isfinite(next_radius)
            nearby, own = nearby & grows[:, None], jnp.where(grows, own, of_itself)
            jump = jnp.where(grows, jump, 0)
        change = jnp.where(nearby, jump[:, None] + goes, stays)
        change = jnp.where(real[:, None], change, 0)
        return (now_is, own), jnp.sum(change, 0)

    return one_block


def mean_and_error(contributions, of_itself, changes):
    """The mean, and the delete-one jackknife standard error of it plus a constant."""
    n = contributions.shape[0]
    # n - 1 times the value without i is a constant less i's contribution plus the changes.
    influence = contributions - (changes - of_itself)
    error = jnp.std(influence, ddof=1) / jnp.sqrt(jnp.asarray(n, influence.dtype))
    return jnp.mean(contributions), error


def mean(recipe: Recipe, variables, k: int, layout: Layout | None = None) -> Float[Array, ""]:
    """The mean contribution of the rows."""
    return jnp.mean(over_blocks(value_of_block(recipe, k), variables, layout)[0])


def jackknife(
    recipe: Recipe, variables, k: int, layout: Layout | None = None
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The mean contribution of the rows and its standard error, in one sweep over the pairs."""
    (contributions, of_itself), changes = over_blocks(
        jackknife_of_block(recipe, k), variables, layout
    )
    return mean_and_error(contributions, of_itself, changes)
