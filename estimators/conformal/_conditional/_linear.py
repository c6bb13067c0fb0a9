"""Thresholds for a class of linear functions: exact, few pivots from the shared corner."""

import jax
import jax.numpy as jnp

from estimators._core._blocks import map_blocks
from estimators.conformal._conditional._program import Corner, Program, refined, violation
from estimators.conformal._conditional._solution import FunctionClass, Solution, judged
from estimators.conformal._conditional._start import first_corner
from estimators.conformal._conditional._walk import BLOCK, walk_together

AT_ONCE = 1024  # new rows for each of which a corner is held


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

    def together(arrays):
        rows, cutoffs = arrays
        # The corner has no derivative; the threshold, given the corner, has.
        signs = jnp.sign(cutoffs)
        still = (program, corner, signs[:, None] * rows, jnp.abs(cutoffs))
        found = walk_together(*jax.lax.stop_gradient(still), n + 20 * d + 100)
        return map_blocks(jax.vmap(one), (rows, cutoffs, found), BLOCK)

    def one(arrays):
        row, cutoff, found = arrays
        reached = jnp.sign(cutoff) * (jnp.abs(cutoff) - found.left)
        error = violation(program, found.corner, right + reached * row)
        basis = found.corner.basis
        shares = jnp.dot(row, refined(program, basis, found.corner.inverse))
        threshold = jnp.dot(shares, program.scores[basis])
        return judged(threshold, found.status, jnp.sign(cutoff), error, program.slack)

    return map_blocks(together, (features, cutoffs), AT_ONCE)
