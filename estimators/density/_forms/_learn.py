"""Centres and kernel learned together by leave-one-out likelihood.

The density of row x_i given the others is `sum_j w_j N(x_i; A y_j, s_j^2 H)`: the centres are
the rows, moved linearly towards the mean (A = 1 is the plain estimator, A = 0 a Gaussian fit),
and H is the kernel's covariance. Expectation-maximisation raises the leave-one-out likelihood of
the rows that are asked: the kernel weights are the responsibilities, and A and H the regression
of a row on those near it and the covariance of what that leaves. Only a whole matrix H may lose
a little by a step, since it is held away from singular.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Integer

from estimators._core import product, unscale
from estimators.density._asked import places_with_weight
from estimators.density._kernels import Gaussian
from estimators.density._labels import remaining_log_weight
from estimators.density._sum import log_kernel_density

# How A and H may differ from multiples of the identity and of the given shape.
STRUCTURES = ("scalar", "diagonal", "full")
SCALAR, DIAGONAL, FULL = range(3)

# Rows that are asked: some for the two parameters of the scalar structure, more for matrices.
FEW_QUERIES = 1024
QUERIES = 2048
STEPS = 40
# Steps without a better held-out likelihood before the search gives up.
PATIENCE = 3
# A step that gains less than this many nats a row is the last.
TOLERANCE = 2e-4


class Kernels(NamedTuple):
    """The parameters of the moved centres and the kernel.

    Attributes:
        move: A, `(d, d)`.
        factor: lower Cholesky factor of H, `(d, d)`.
    """

    move: Float[Array, "d d"]
    factor: Float[Array, "d d"]


class Rows(NamedTuple):
    """Centred rows with what belongs to each.

    Attributes:
        values: `(n, d)`, centred.
        log_weights: `(n,)`, of weights that sum to one; -inf leaves a row out altogether.
        labels: `(n,)`, equal for rows that leave together.
        widths: `(n,)`, relative widths of the kernels; None where all are one.
    """

    values: Float[Array, "n d"]
    log_weights: Float[Array, " n"]
    labels: Int[Array, " n"]
    widths: Float[Array, " n"] | None = None


class Learned(NamedTuple):
    """Where the search ended.

    Attributes:
        kernels: the parameters.
        log_likelihood: leave-one-out log-likelihood a row, one step before.
        steps: steps taken to them.
        held_out: `(m,)` log densities of the rows held out, -inf where no step succeeded;
            empty where there were none.
    """

    kernels: Kernels
    log_likelihood: Float[Array, ""]
    steps: Int[Array, ""]
    held_out: Float[Array, " m"]


def start(rows: Rows, factor: Float[Array, "d d"], moves: Bool[ArrayLike, ""]) -> Kernels:
    """Where a search begins: multiples of the identity and of a covariance's Cholesky factor."""
    n, d = rows.values.shape
    eye = jnp.eye(d, dtype=rows.values.dtype)
    bandwidth = max(n ** (-1 / (d + 4)), 0.6)
    return Kernels(jnp.where(moves, 0.7, 1.0).astype(eye.dtype) * eye, bandwidth * factor)


def search(
    rows: Rows,
    shape: Float[Array, "d d"],
    factor: Float[Array, "d d"],
    structure: int,
    moves: bool,
) -> Learned:
    """`learn` the multiples first, then what `structure` leaves free.

    Many parameters at once would end in a worse maximum.
    """
    few = learn(rows, shape, start(rows, factor, moves), SCALAR, moves, queries=FEW_QUERIES)
    if structure == SCALAR:
        return few
    return learn(rows, shape, few.kernels, structure, moves)


def learn(
    rows: Rows,
    shape: Float[Array, "d d"],
    kernels: Kernels,
    structure: Integer[ArrayLike, ""],
    moves: Bool[ArrayLike, ""] = True,
    *,
    queries: int = QUERIES,
    steps: Integer[ArrayLike, ""] = STEPS,
    held_out: Rows | None = None,
) -> Learned:
    """Raise the leave-one-out likelihood until a step gains less than the tolerance.

    Args:
        rows: the data.
        shape: the covariance of which H is a multiple, where `structure` is scalar.
        kernels: where to start from.
        structure: index into `STRUCTURES`: A and H are multiples of the identity and of
            `shape`, or diagonal, or any matrices.
        moves: false keeps A as it is.
        queries: about how many rows are asked, each given all the others.
        steps: the most steps to take.
        held_out: rows that are not in `rows`. The search then also ends once their likelihood
            falls, and returns where it was highest: with many parameters the leave-one-out
            likelihood goes on rising after that.
    """
    stride = -(-rows.values.shape[0] // queries)
    dtype = rows.values.dtype
    least = jnp.asarray(-jnp.inf, dtype)

    def judge(kernels, value):
        """What ranks the steps: the held-out likelihood, or else the likelihood itself."""
        if held_out is None:
            return value, jnp.zeros(0, dtype)
        each = log_densities(rows, kernels, held_out)
        return jnp.sum(jnp.exp(held_out.log_weights) * each), each

    def step(state):
        kernels, value, _, best, rank, count, since = state
        moved, new = _step(rows, stride, shape, kernels, structure, moves)
        merit, each = judge(kernels, new)
        better = merit > rank
        best = jax.tree.map(
            lambda a, b: jnp.where(better, a, b), Learned(kernels, new, count, each), best
        )
        since = jnp.where(better, 0, since + 1)
        return moved, new, new - value, best, jnp.maximum(rank, merit), count + 1, since

    def unfinished(state):
        _, _, gain, _, _, count, since = state
        return (gain > TOLERANCE) & (count <= steps) & (since < PATIENCE)

    zero = jnp.zeros((), jnp.int32)
    nowhere = jnp.full(0 if held_out is None else held_out.values.shape[0], -jnp.inf, dtype)
    first = Learned(kernels, least, zero, nowhere)
    state = (kernels, least, -least, first, least, zero, zero)
    return jax.lax.while_loop(unfinished, step, state)[3]


def log_densities(rows: Rows, kernels: Kernels, asked: Rows) -> Float[Array, " m"]:
    """Log density at other rows; where one equals a row, that row is left out."""
    q, p = unscale(asked.values, kernels.factor), _centres(rows, kernels)
    return _log_densities(rows, kernels, asked.labels, q, p, rows.log_weights)


def _step(rows, stride, shape, kernels, structure, moves):
    y = rows.values
    places = places_with_weight(jnp.exp(rows.log_weights), stride)
    labels = rows.labels[places]
    asked = jnp.exp(rows.log_weights[places])

    def total(q, p, log_weights):
        value = _log_densities(rows, kernels, labels, q, p, log_weights)
        alone = jnp.isneginf(value)
        share = jnp.where(alone, 0, asked) / jnp.sum(jnp.where(alone, 0, asked))
        return jnp.sum(share * jnp.where(alone, 0, value))

    q, p = unscale(y[places], kernels.factor), _centres(rows, kernels)
    value, (to_queries, to_centres, responsibility) = jax.value_and_grad(total, (0, 1, 2))(
        q, p, rows.log_weights
    )
    # With r = x_i - A y_j and sums over all pairs weighted by responsibility / s_j^2: the
    # gradients are sums of r, so these products of them with rows are the second moments.
    residual = -(product(to_queries.T, q) + product(to_centres.T, p))
    residual = product(product(kernels.factor, residual), kernels.factor.T)
    along = product(kernels.factor, product(to_centres.T, y))  # sum r y^T
    if rows.widths is not None:
        responsibility = responsibility / rows.widths**2
    squares = product(y.T * responsibility[None], y)  # sum y y^T
    moved = _regression(along, squares, shape, structure) * moves
    residual = residual - product(moved, along.T) - product(along, moved.T)
    residual = residual + product(product(moved, squares), moved.T)
    covariance = _restrict(residual, shape, structure, jnp.sum(asked > 0, dtype=y.dtype))
    return Kernels(kernels.move + moved, jnp.linalg.cholesky(covariance)), value


def _regression(along, squares, shape, structure):
    """The change of A that leaves the least residual, `sum r y^T (sum y y^T)^-1`."""
    d = shape.shape[0]
    ridge = jnp.finfo(along.dtype).eps * jnp.trace(squares) * jnp.eye(d, dtype=along.dtype)
    inverse = jnp.linalg.inv(shape)
    one = jnp.sum(inverse * along.T) / jnp.sum(inverse * squares.T)
    each = jnp.diagonal(along) / jnp.diagonal(squares)
    return jnp.select(
        [structure == SCALAR, structure == DIAGONAL],
        [one * jnp.eye(d, dtype=along.dtype), jnp.diag(each)],
        jnp.linalg.solve(squares + ridge, along.T).T,
    )


def _restrict(residual, shape, structure, size):
    """The covariance of the structure that is nearest to the residual's in likelihood."""
    d = shape.shape[0]
    one = jnp.trace(jnp.linalg.solve(shape, residual)) / d
    diagonal = jnp.diag(jnp.diagonal(residual))
    # As many pseudo-rows as columns, uncorrelated: few rows cannot make it singular.
    share = d / (d + size)
    full = (1 - share) * residual + share * diagonal
    return jnp.select([structure == SCALAR, structure == DIAGONAL], [one * shape, diagonal], full)


def _log_densities(rows, kernels, labels, q, p, log_weights):
    value = log_kernel_density(
        q,
        p,
        log_weights,
        kernel=Gaussian(),
        widths=rows.widths,
        query_labels=labels,
        point_labels=rows.labels,
    )
    left = remaining_log_weight(labels, rows.labels, rows.log_weights)
    return value - left - jnp.sum(jnp.log(jnp.diagonal(kernels.factor)))


def _centres(rows, kernels):
    return unscale(product(rows.values, kernels.move.T), kernels.factor)
