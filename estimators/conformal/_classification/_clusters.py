"""Clusters of classes whose scores have like distributions, for a threshold that they share."""

import functools
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from estimators._core import checks, grouped_order_statistics
from estimators.conformal._classification._label_thresholds import ClusterThresholds
from estimators.conformal._grouped import group_ranks
from estimators.conformal._quantile import calibration_size

LEVELS = tuple(Fraction(tenth, 10) for tenth in range(5, 10))
ROUNDS = 100  # of k-means, at most


def clustered_thresholds(
    scores: Float[Array, " n"],
    labels: Int[Array, " n"],
    classes: int,
    coverage: Fraction,
    clusters: int | None,
    key: Key[Array, ""],
) -> ClusterThresholds:
    """Find clusters on a part of the rows, and their thresholds on the others.

    A class with too few rows in that part for a quantile of its own is rare, and gets the
    threshold of all the others' rows.
    """
    share = classes / (75 + classes)  # of the rows, to find clusters: the rule of Ding et al.
    if clusters is None:
        clusters = _how_many(labels, classes, coverage, share)
    clusters = checks.integer("clusters", clusters, at_least=1)
    return _thresholds(scores, labels, jnp.asarray(share), key, classes, coverage, clusters)


def _how_many(labels, classes, coverage, share) -> int:
    """Half the rows that the smallest class has for the clustering, without those too small."""
    if not checks.is_concrete(labels):
        raise ValueError("clusters must be given where labels are traced, for it is a shape")
    sizes = np.bincount(np.asarray(labels), minlength=classes)
    least = calibration_size(coverage)
    smallest = sizes[sizes >= least].min(initial=len(labels))
    return min(max(int(max(smallest, least) * share) // 2, 1), classes)


@functools.partial(jax.jit, static_argnums=(4, 5, 6))
def _thresholds(scores, labels, share, key, classes, coverage, clusters):
    of_rows, of_means = jax.random.split(key)
    first = jax.random.uniform(of_rows, scores.shape, jnp.float32) < share
    points, sizes = _embed(scores, jnp.where(first, labels, classes), classes, coverage)
    rare = sizes < calibration_size(coverage)
    weights = jnp.where(rare, 0, jnp.sqrt(sizes.astype(scores.dtype)))
    found = jnp.where(rare, clusters, weighted_means(points, weights, clusters, of_means))

    def quantiles(groups, count):
        return grouped_order_statistics(scores, groups, group_ranks(groups, count, coverage))

    own = jnp.where(first, clusters, found[labels])  # the number past the last is no cluster
    values = jnp.append(quantiles(own, clusters), quantiles(first.astype(jnp.int32), 1))
    values = checks.poison(values, ~jnp.isnan(scores).any())
    return ClusterThresholds(values[found], found, jnp.bincount(own, length=clusters))


def _embed(scores, labels, classes: int, coverage):
    """Each class as the quantiles of its scores, and how many it has."""
    sizes = jnp.bincount(labels, length=classes)

    def quantiles(level):
        ranks = jnp.minimum(group_ranks(labels, classes, level), sizes)
        return grouped_order_statistics(scores, labels, ranks)

    points = jnp.stack([quantiles(level) for level in sorted({*LEVELS, coverage})], -1)
    return jnp.where((sizes > 0)[:, None], points, 0), sizes


def weighted_means(
    points: Float[Array, "n d"], weights: Float[Array, " n"], clusters: int, key: Key[Array, ""]
) -> Int[Array, " n"]:
    """The cluster of each point by weighted k-means, from a start by k-means++."""
    keys = jax.random.split(key, clusters)

    def gaps(means):
        return jnp.sum((points[:, None] - means[None]) ** 2, -1)

    def draw(key, chances):
        # In 32 bits, so that a key gives the same start in both precisions.
        chances = jnp.where(jnp.sum(chances) > 0, chances, weights).astype(jnp.float32)
        return points[jax.random.categorical(key, jnp.log(chances))]

    def add(number, means):
        known = jnp.arange(clusters) < number
        nearest = jnp.min(jnp.where(known[None], gaps(means), jnp.inf), 1)
        return means.at[number].set(draw(keys[number], weights * nearest))

    def assign(means):
        return jnp.argmin(gaps(means), 1).astype(jnp.int32)

    def improve(state):
        step, means, _, found = state
        member = weights[:, None] * (found[:, None] == jnp.arange(clusters)[None])
        total = jnp.sum(member, 0)[:, None]
        means = jnp.where(total > 0, member.T @ points / jnp.where(total > 0, total, 1), means)
        return step + 1, means, found, assign(means)

    def moving(state) -> Bool[Array, ""]:
        step, _, before, found = state
        return (step < ROUNDS) & (before != found).any()

    means = jnp.zeros((clusters, points.shape[1]), points.dtype)
    means = means.at[0].set(draw(keys[0], weights))
    means = jax.lax.fori_loop(1, clusters, add, means)
    start = 0, means, jnp.full(points.shape[:1], -1, jnp.int32), assign(means)
    return jax.lax.while_loop(moving, improve, start)[3]
