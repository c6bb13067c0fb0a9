"""Expectation-maximisation for mixtures of Gaussians of low rank plus floor.

Start: k-means++ seeds and a few rounds of Lloyd's. Then responsibilities in log space and,
component after component, the modes of the weighted covariance: the same code that fits one
Gaussian, one covariance at a time, and none where rows are wide and ranks low.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, Key

from estimators._core import checks, product
from estimators._core._collect import Part, everywhere, greatest, total
from estimators._core._collect import least as smallest
from estimators.score._models import _components
from estimators.score._models._components import Components
from estimators.score._models._spectrum import spectrum
from estimators.sharding import Rows

OK, NOT_USABLE, UNFINISHED, DEGENERATE = range(4)
_LLOYD = 10
# A subspace that starts from the last round's modes needs few rounds of its own.
_ROUNDS = 2


class Progress(NamedTuple):
    """When to stop, and what is added to every variance."""

    steps: int
    tolerance: Float[Array, ""]
    regularisation: Float[Array, ""]


@functools.partial(jax.jit, static_argnums=(2, 3))
def maximise(points, key: Key[Array, ""], count: int, rank: int, progress: Progress):
    """Fit `count` components of the given rank.

    Returns:
        Components, mean log-likelihood, rounds made, status.
    """
    return _maximise(points, key, count, rank, progress)


@functools.partial(jax.jit, static_argnums=(2, 3))
def maximise_over_mesh(points: Rows, key: Key[Array, ""], count: int, rank: int, progress):
    """The same; each device goes through its own rows."""
    placement, layout = points.placement, points.layout

    def local(mine, others):
        points, number = mine
        key, progress = others
        return _maximise(points, key, count, rank, progress, placement.part(number))

    return layout.run(local, (points.values, placement.number), (key, progress), layout.whole)


def _maximise(points, key, count: int, rank: int, progress: Progress, part: Part | None = None):
    tolerance = progress.tolerance.astype(points.dtype)
    n, axis = points.shape[0], None
    real = jnp.ones_like(points[:, 0])
    if part is not None:
        n, axis, real = part.count, part.axis_name, (part.number >= 0).astype(points.dtype)

    def mean(array):
        """Over all rows; of an array `(rows, ...)`."""
        return total(product(real, array), axis) / n

    location = mean(points)
    rows = points - location[None]
    variance = jnp.mean(mean(rows**2))
    least = progress.regularisation.astype(points.dtype) * variance
    labels = _start(rows, key, count, real, part)
    share = jax.nn.one_hot(labels, count, dtype=rows.dtype) * real[:, None]
    first = _maximisation(rows, share, rank, least, part=part)

    def unfinished(state):
        *_, gain, step = state
        return (step < progress.steps) & (gain > tolerance)

    def body(state):
        components, before, _, step = state
        joint = _components.log_joint(components, rows, jnp.zeros_like(rows[:, 0]))
        evidence = jax.nn.logsumexp(joint, -1)
        likelihood = mean(evidence)
        share = jnp.exp(joint - evidence[:, None]) * real[:, None]
        following = _maximisation(rows, share, rank, least, components.basis, part)
        return following, likelihood, likelihood - before, step + 1

    low = jnp.asarray(-jnp.inf, rows.dtype)
    start = first, low, jnp.asarray(jnp.inf, rows.dtype), jnp.zeros((), jnp.int32)
    found, likelihood, gain, steps = jax.lax.while_loop(unfinished, body, start)
    allowed = (progress.tolerance > 0) & (progress.regularisation >= 0)
    usable = everywhere(jnp.all(jnp.isfinite(points)), axis) & allowed
    ended = jnp.where(gain > tolerance, UNFINISHED, jnp.where(jnp.isnan(gain), DEGENERATE, OK))
    status = jnp.where(usable, ended, NOT_USABLE).astype(jnp.int32)
    found = found._replace(means=found.means + location[None])
    good = usable & (status != DEGENERATE)
    return checks.poison(found, good), checks.poison(likelihood, good), steps, status


def _maximisation(rows, share, rank: int, least, bases=None, part=None) -> Components:
    """Weights, means and modes given the responsibilities `share (n, K)`; `bases` are those of
    the round before.
    """
    axis = None if part is None else part.axis_name
    counts, sums = total((jnp.sum(share, 0), product(share.T, rows)), axis)
    counts = counts + 10 * jnp.finfo(rows.dtype).eps
    means = sums / counts[:, None]

    def one(component):
        share, count, mean, basis = component
        if basis is None:
            return spectrum(rows, share / count, mean, rank, part=part)
        return spectrum(rows, share / count, mean, rank, basis, _ROUNDS, part)

    found = jax.lax.map(one, (share.T, counts, means, bases))
    log_weights = jnp.log(counts) - jnp.log(jnp.sum(counts))
    eigenvalues, floor = found.eigenvalues + least, found.floor + least
    return Components(log_weights, means, found.basis, eigenvalues, floor)


def _start(rows, key, count: int, real, part: Part | None) -> Integer[Array, " n"]:
    """Labels of the rows: k-means++ (Arthur & Vassilvitskii 2007), then Lloyd's rounds."""
    of_first, of_rest = jax.random.split(key)
    n, axis = rows.shape[0], None
    number = jnp.arange(n)
    if part is not None:
        n, axis, number = part.count, part.axis_name, part.number

    def row(which):
        """The row of a number, from the device that has it."""
        return total(jnp.sum(jnp.where(number == which, rows.T, 0), 1), axis)

    first = row(jax.random.randint(of_first, (), 0, n))
    nearest = jnp.sum((rows - first[None]) ** 2, -1)

    def seed(nearest, key):
        # Log of zero is a row that is a seed already; where all rows are, any will do.
        left = greatest(jnp.max(nearest * real), axis) > 0
        logits = jnp.where(left, jnp.log(nearest), jnp.zeros_like(nearest))
        # A row with the probability of its logit. Every device draws the noise of all rows, so
        # that the choice does not depend on how many there are.
        drawn = logits + jax.random.gumbel(key, (n,), rows.dtype)[number]
        drawn = jnp.where(real > 0, drawn, -jnp.inf)
        best = drawn == greatest(jnp.max(drawn), axis)
        centre = row(smallest(jnp.min(jnp.where(best, number, n)), axis))
        return jnp.minimum(nearest, jnp.sum((rows - centre[None]) ** 2, -1)), centre

    _, others = jax.lax.scan(seed, nearest, jax.random.split(of_rest, count - 1))
    centres = jnp.concatenate([first[None], others])

    def labels_of(centres):
        apart = jnp.sum(centres**2, -1)[None] - 2 * product(rows, centres.T)
        return jnp.argmin(apart, -1)

    def lloyd(_, centres):
        share = jax.nn.one_hot(labels_of(centres), count, dtype=rows.dtype) * real[:, None]
        held, sums = total((jnp.sum(share, 0)[:, None], product(share.T, rows)), axis)
        return jnp.where(held > 0, sums / jnp.maximum(held, 1), centres)

    return labels_of(jax.lax.fori_loop(0, _LLOYD, lloyd, centres))
