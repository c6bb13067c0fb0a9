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
from estimators.score._models import _components
from estimators.score._models._components import Components
from estimators.score._models._spectrum import spectrum

OK, NOT_FINITE, UNFINISHED, DEGENERATE = range(4)
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
    tolerance = progress.tolerance.astype(points.dtype)
    location = jnp.mean(points, 0)
    rows = points - location[None]
    variance = jnp.mean(rows**2)
    least = progress.regularisation.astype(points.dtype) * variance
    labels = _start(rows, key, count)
    share = jax.nn.one_hot(labels, count, dtype=rows.dtype)
    first = _maximisation(rows, share, rank, least)

    def unfinished(state):
        *_, gain, step = state
        return (step < progress.steps) & (gain > tolerance)

    def body(state):
        components, before, _, step = state
        joint = _components.log_joint(components, rows, jnp.zeros_like(rows[:, 0]))
        evidence = jax.nn.logsumexp(joint, -1)
        likelihood = jnp.mean(evidence)
        share = jnp.exp(joint - evidence[:, None])
        following = _maximisation(rows, share, rank, least, components.basis)
        return following, likelihood, likelihood - before, step + 1

    low = jnp.asarray(-jnp.inf, rows.dtype)
    start = first, low, jnp.asarray(jnp.inf, rows.dtype), jnp.zeros((), jnp.int32)
    found, likelihood, gain, steps = jax.lax.while_loop(unfinished, body, start)
    finite = jnp.all(jnp.isfinite(points))
    ended = jnp.where(gain > tolerance, UNFINISHED, jnp.where(jnp.isnan(gain), DEGENERATE, OK))
    status = jnp.where(finite, ended, NOT_FINITE).astype(jnp.int32)
    found = found._replace(means=found.means + location[None])
    good = finite & (status != DEGENERATE)
    return checks.poison(found, good), checks.poison(likelihood, good), steps, status


def _maximisation(rows, share, rank: int, least, bases=None) -> Components:
    """Weights, means and modes given the responsibilities `share (n, K)`; `bases` are those of
    the round before.
    """
    counts = jnp.sum(share, 0) + 10 * jnp.finfo(rows.dtype).eps
    means = product(share.T, rows) / counts[:, None]

    def one(component):
        share, count, mean, basis = component
        if basis is None:
            return spectrum(rows, share / count, mean, rank)
        return spectrum(rows, share / count, mean, rank, start=basis, rounds=_ROUNDS)

    found = jax.lax.map(one, (share.T, counts, means, bases))
    log_weights = jnp.log(counts) - jnp.log(jnp.sum(counts))
    eigenvalues, floor = found.eigenvalues + least, found.floor + least
    return Components(log_weights, means, found.basis, eigenvalues, floor)


def _start(rows, key, count: int) -> Integer[Array, " n"]:
    """Labels of the rows: k-means++ (Arthur & Vassilvitskii 2007), then Lloyd's rounds."""
    of_first, of_rest = jax.random.split(key)
    n = rows.shape[0]
    first = rows[jax.random.randint(of_first, (), 0, n)]
    nearest = jnp.sum((rows - first[None]) ** 2, -1)

    def seed(nearest, key):
        # Log of zero is a row that is a seed already; where all rows are, any will do.
        logits = jnp.where(jnp.any(nearest > 0), jnp.log(nearest), jnp.zeros_like(nearest))
        centre = rows[jax.random.categorical(key, logits)]
        return jnp.minimum(nearest, jnp.sum((rows - centre[None]) ** 2, -1)), centre

    _, others = jax.lax.scan(seed, nearest, jax.random.split(of_rest, count - 1))
    centres = jnp.concatenate([first[None], others])

    def labels_of(centres):
        apart = jnp.sum(centres**2, -1)[None] - 2 * product(rows, centres.T)
        return jnp.argmin(apart, -1)

    def lloyd(_, centres):
        share = jax.nn.one_hot(labels_of(centres), count, dtype=rows.dtype)
        held = jnp.sum(share, 0)[:, None]
        return jnp.where(held > 0, product(share.T, rows) / jnp.maximum(held, 1), centres)

    return labels_of(jax.lax.fori_loop(0, _LLOYD, lloyd, centres))
