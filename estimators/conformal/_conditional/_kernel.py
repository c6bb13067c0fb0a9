"""Thresholds for a class with a kernel: linear functions and a penalised smooth part."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from estimators._core import checks, product
from estimators._core._blocks import map_blocks
from estimators.conformal._conditional._program import ABOVE, BASIC, BELOW, relative, residuals
from estimators.conformal._conditional._solution import FunctionClass, Solution, judged
from estimators.conformal._conditional._start import first_corner
from estimators.conformal._conditional._tableau import Conditions, beside, exchanged
from estimators.conformal._conditional._trace import trace
from estimators.conformal._conditional._walk import MOVING

BLOCK = 64  # new rows; each has an entry for every calibration row
EXCHANGES = 64  # of the shared path, before they are put into its tableau
MOST = 128  # of the path to one new row


class KernelClass(FunctionClass):
    """Functions `Phi(x)' b + f(x)`, f of a Gaussian kernel's space.

    Attributes:
        conditions: the solution on the calibration rows alone.
        design: `(n + d, d)`, features; the last rows are artificial.
        scores: `(n + d,)`.
        points: `(n, p)`, in units of the bandwidth.
        bandwidth: `(p,)`.
    """

    conditions: Conditions
    design: Float[Array, "rows d"]
    scores: Float[Array, " rows"]
    points: Float[Array, "n p"]
    bandwidth: Float[Array, " p"]

    @property
    def features(self):
        """See `FunctionClass`."""
        return self.design[: self.points.shape[0]]

    def located(self, points, batch) -> Float[Array, "m p"]:
        """See `FunctionClass`; in units of the bandwidth."""
        if points is None:
            raise ValueError("points must be given exactly where calibration had them; it had")
        points = checks.as_queries("points", points, self.bandwidth.shape[0])
        if points.shape[:-1] != batch:
            raise ValueError(f"points must have batch shape {batch}; got shape {points.shape}")
        flat = points.reshape(-1, points.shape[-1])
        return flat.astype(self.bandwidth.dtype) / self.bandwidth[None]

    def solve(self, features, points, cutoffs, coverage):
        """See `FunctionClass`."""
        return _solve(self, features, points, cutoffs)

    def shift(self, points: Float[Array, "m p"]) -> Float[Array, " m"]:
        """See `CalibratedConditional.coverage_shift`."""
        return _shift(self, points)


@jax.jit
def kernel_class(scores, features, points, bandwidth, penalty, coverage) -> KernelClass:
    """Solve the regression on the calibration rows, from that without a kernel."""
    (n, d), dtype = features.shape, scores.dtype
    program, start = first_corner(scores, features, coverage)
    corner, points = start.corner, points / bandwidth[None]
    unit = 1 / (2 * penalty * (n + 1))
    matrix = _matrix(program.design, points, unit)
    eta = coverage - (corner.sides == BELOW).astype(dtype)
    eta = eta.at[corner.basis].set(coverage - corner.shares)
    eta = jnp.where(jnp.arange(n + d) < n, eta, 0)
    ends, zero, infinite = jnp.ones(n, dtype), jnp.zeros(d, dtype), jnp.full(d, jnp.inf, dtype)
    coefficients = product(corner.inverse, program.scores[corner.basis])
    free = jnp.arange(n + d, n + 2 * d, dtype=jnp.int32)
    first = Conditions(
        exchanged(matrix, jnp.concatenate([corner.basis, free])),
        jnp.concatenate([eta, coefficients]),
        jnp.concatenate([residuals(program, corner), zero]),
        jnp.concatenate([corner.sides, jnp.full(d, BASIC, jnp.int8)]),
        jnp.concatenate([(coverage - 1) * ends, zero, -infinite]),
        jnp.concatenate([coverage * ends, zero, infinite]),
        unit,
    )
    # The solution without a kernel is the one with it where the scores are larger by K eta; they
    # come down as the weight of a row grows whose entries these are.
    entries = jnp.zeros(n + 2 * d, dtype).at[:n].set(product(matrix[:n, :n], eta[:n]))
    conditions = _unfolded(first, entries, 20 * (n + d) + 100)
    return KernelClass(conditions, program.design, program.scores, points, bandwidth)


def _unfolded(first: Conditions, entries, most: int) -> Conditions:
    """Follow the shared path; every so often its exchanges are put into the tableau."""

    def unfinished(state):
        _, _, status, pivots = state
        return (status == MOVING) & (pivots < most)

    def advance(state):
        conditions, left, _, pivots = state
        row = beside(conditions, conditions.sides == BASIC, entries, jnp.zeros_like(left))
        found = trace(conditions, row, left, EXCHANGES)
        tableau = conditions.tableau - product(found.lefts.T, found.rights)
        here = found.weights, found.residuals, found.sides
        conditions = Conditions(tableau, *here, first.lower, first.upper, first.unit)
        return conditions, found.left, found.status, pivots + found.pivots

    zero, one = jnp.zeros((), jnp.int32), jnp.ones((), entries.dtype)
    return jax.lax.while_loop(unfinished, advance, (first, one, zero, zero))[0]


def _gaussian(points, others):
    return jnp.exp(-0.5 * jnp.sum((points[:, None] - others[None]) ** 2, -1))


def _nugget(dtype) -> float:
    """Added to the kernel of a row with itself, as if it were part of the kernel.

    Without it the rows of a smooth kernel are dependent to rounding.
    """
    return float(jnp.finfo(dtype).eps ** 0.5)


def _matrix(design, points, unit):
    """A: the kernel of the rows, and the features on two sides."""
    (rows, d), n = design.shape, points.shape[0]
    kernel = _gaussian(points, points) + _nugget(points.dtype) * jnp.eye(n, dtype=points.dtype)
    matrix = jnp.zeros((rows + d, rows + d), points.dtype).at[:n, :n].set(unit * kernel)
    return matrix.at[:rows, rows:].set(design).at[rows:, :rows].set(design.T)


@jax.jit
def _solve(fitted: KernelClass, features, points, cutoffs) -> Solution:
    conditions = fitted.conditions
    matrix = _matrix(fitted.design, fitted.points, fitted.conditions.unit)
    d = features.shape[1]
    own = fitted.conditions.unit * (1 + _nugget(features.dtype))
    wanted = jnp.concatenate([fitted.scores, jnp.zeros(d, features.dtype)])

    def one(arrays):
        row, entries, cutoff = arrays
        found = trace(conditions, row, cutoff, MOST)
        reached = jnp.sign(cutoff) * (jnp.abs(cutoff) - found.left)
        gaps = wanted - product(matrix, found.weights) - reached * entries
        kind = found.sides
        # The artificial rows and the conditions on the coefficients stand last.
        real = jnp.arange(gaps.shape[0]) < fitted.points.shape[0]
        wrong = jnp.where(kind == ABOVE, -gaps, jnp.where(kind == BELOW, gaps, jnp.abs(gaps)))
        outside = jnp.maximum(found.weights - conditions.upper, conditions.lower - found.weights)
        balance = jnp.max(jnp.abs(gaps[-d:]))
        of_rows = jnp.where(real, gaps, 0)
        error = relative(jnp.maximum(jnp.max(jnp.where(real, wrong, 0)), 0), of_rows)
        error = jnp.maximum(jnp.maximum(error, jnp.max(outside)), balance)
        slack = 2 * jnp.finfo(gaps.dtype).eps * gaps.shape[0]
        return judged(found.row.level, found.status, jnp.sign(cutoff), error, slack)

    def block(arrays):
        features, points, cutoffs = arrays
        near = fitted.conditions.unit * _gaussian(points, fitted.points)
        entries = jnp.concatenate([near, jnp.zeros_like(features), features], 1)
        basic = conditions.sides == BASIC
        rows = jax.vmap(lambda row: beside(conditions, basic, row, own))(entries)
        return jax.lax.map(one, (rows, entries, cutoffs))

    return map_blocks(block, (features, points, cutoffs), BLOCK)


@jax.jit
def _shift(fitted: KernelClass, points):
    n = fitted.points.shape[0]

    def block(points):
        near = _gaussian(points, fitted.points)
        return -product(near, fitted.conditions.weights[:n]) / jnp.sum(near, 1)

    return map_blocks(block, points, BLOCK)
