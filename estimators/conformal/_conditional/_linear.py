"""Thresholds for a class of linear functions: exact, a few pivots from the shared corner."""

import jax
import jax.numpy as jnp

from estimators._core import product
from estimators._core._blocks import map_blocks
from estimators.conformal._conditional._program import Corner, Program, refined, violation
from estimators.conformal._conditional._solution import FunctionClass, Solution, judged
from estimators.conformal._conditional._start import first_corner
from estimators.conformal._conditional._walk import walk

BLOCK = 64  # new rows that walk together, as far as the one that has furthest to go


class LinearClass(FunctionClass):
    """Functions `Phi(x)' b`.

    Attributes:
        program: the calibration rows.
        corner: the regression on them alone.
    """

    program: Program
    corner: Corner

    @property
    def features(self):
        """See `FunctionClass`."""
        return self.program.design[: self.program.count]

    def located(self, points, batch):
        """See `FunctionClass`."""
        if points is not None:
            raise ValueError("points must be given exactly where calibration had them; it had none")

    def solve(self, features, points, cutoffs, coverage):
        """See `FunctionClass`."""
        return _solve(self, features, cutoffs, coverage)


@jax.jit
def linear_class(scores, features, coverage) -> LinearClass:
    """Solve the regression on the calibration rows."""
    program, start = first_corner(*jax.lax.stop_gradient((scores, features)), coverage)
    n = scores.shape[0]
    design = program.design.at[:n].set(features)
    return LinearClass(Program(design, program.scores.at[:n].set(scores)), start.corner)


@jax.jit
def _solve(fitted: LinearClass, features, cutoffs, coverage) -> Solution:
    program, corner = fitted.program, fitted.corner
    n, d = fitted.features.shape
    right = coverage * jnp.sum(fitted.features, 0)

    def one(arrays):
        row, cutoff = arrays
        # The corner has no derivative; the threshold, given the corner, has.
        still = jax.lax.stop_gradient((program, corner, jnp.sign(cutoff) * row, jnp.abs(cutoff)))
        found = walk(*still, n + 20 * d + 100)
        reached = jnp.sign(cutoff) * (jnp.abs(cutoff) - found.left)
        error = violation(program, found.corner, right + reached * row)
        basis = found.corner.basis
        shares = jnp.dot(row, refined(program, basis, found.corner.inverse))
        threshold = jnp.dot(shares, program.scores[basis])
        return judged(threshold, found.status, jnp.sign(cutoff), error, program.slack)

    # A block takes as long as the row that has furthest to go: rows alike are put together.
    order = jnp.argsort(_way(program, corner, *jax.lax.stop_gradient((features, cutoffs))))
    found = map_blocks(jax.vmap(one), (features[order], cutoffs[order]), BLOCK)
    return jax.tree.map(lambda column: column[jnp.argsort(order)], found)


def _way(program: Program, corner: Corner, features, cutoffs):
    """By how many times its range a share would move, were this corner never left."""
    speed = product(features, corner.inverse) * cutoffs[:, None]
    largest = (corner.basis < program.count).astype(speed.dtype)
    room = jnp.where(speed > 0, (largest - corner.shares)[None], corner.shares[None])
    return jnp.max(jnp.abs(speed) / jnp.maximum(room, program.slack), 1)
