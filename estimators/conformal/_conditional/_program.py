"""Linear quantile regression as a linear program: its rows, and one corner of it.

The regression minimises `sum_i pinball(S_i - Phi_i' b)` at the level `coverage`. Its optimum
passes through d rows, the basis; of the others each is above or below. The dual variables are
here the shares: 1 for a row below, 0 for one above, and for a basic row what balances

    sum_i share_i Phi_i = right-hand side,  coverage (Phi_1 + ... + Phi_n) for the regression.

The corner is optimal where all shares lie from 0 to 1. Behind the n rows stand d artificial
ones, unit vectors whose share must be 0: they are the basis that there is before any other, and
stay in it for columns that depend on others.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from estimators._core import Stored, product

ABOVE, BELOW, BASIC, GONE = range(4)


class Program(Stored):
    """The rows of the regression, the artificial ones last.

    Attributes:
        design: `(n + d, d)`, features.
        scores: `(n + d,)`, what is regressed on them.
    """

    design: Float[Array, "rows d"]
    scores: Float[Array, " rows"]

    @property
    def count(self) -> int:
        """Number of rows that are not artificial."""
        return self.design.shape[0] - self.design.shape[1]

    @property
    def slack(self) -> float:
        """How much a share may be off by rounding: shares are differences of sums of n terms."""
        return 2 * float(jnp.finfo(self.scores.dtype).eps) * (self.count + 1)


class Corner(Stored):
    """A basis and where the other rows lie.

    Attributes:
        basis: `(d,)`, rows that the regression passes through.
        inverse: `(d, d)`, of their features.
        shares: `(d,)`, theirs.
        sides: `(n + d,)`, ABOVE, BELOW or BASIC; GONE for an artificial row out of the basis.
    """

    basis: Int[Array, " d"]
    inverse: Float[Array, "d d"]
    shares: Float[Array, " d"]
    sides: Int[Array, " rows"]


def refined(program: Program, basis, inverse):
    """One step of Newton's method for the inverse, which takes out the rounding of updates."""
    twice = 2 * jnp.eye(basis.shape[0], dtype=inverse.dtype)
    return product(inverse, twice - product(program.design[basis], inverse))


def residuals(program: Program, corner: Corner) -> Float[Array, " rows"]:
    """Scores less the regression; those of basic rows, and of rounding alone, are 0."""
    found = product(corner.inverse, program.scores[corner.basis])
    fitted = product(program.design, found)
    eps = jnp.finfo(fitted.dtype).eps
    lengths = jnp.linalg.norm(program.design, axis=1)
    noise = 16 * eps * (jnp.abs(program.scores) + lengths * jnp.linalg.norm(found))
    gap = program.scores - fitted
    return jnp.where((corner.sides == BASIC) | (jnp.abs(gap) <= noise), 0, gap)


def balanced(program: Program, corner: Corner, right: Float[Array, " d"]) -> Float[Array, " d"]:
    """The shares of the basis that give a right-hand side."""
    below = (corner.sides == BELOW).astype(right.dtype)
    return product(corner.inverse.T, right - product(program.design.T, below))


def violation(program: Program, corner: Corner, right: Float[Array, " d"]) -> Float[Array, ""]:
    """How far a corner is from optimal: 0 where it is, in units of shares and of the spread.

    The larger of how far a share leaves its range, and how far a residual is on the wrong
    side, against the mean absolute residual.
    """
    shares, gap = balanced(program, corner, right), residuals(program, corner)
    most = (corner.basis < program.count).astype(shares.dtype)
    outside = jnp.max(jnp.maximum(-shares, shares - most))
    wrong = jnp.where(corner.sides == ABOVE, -gap, jnp.where(corner.sides == BELOW, gap, 0))
    return jnp.maximum(outside, relative(jnp.max(wrong), gap))


def relative(error: Float[Array, ""], gaps: Float[Array, " rows"]) -> Float[Array, ""]:
    """An error of residuals against their mean size; 0 where there is none, NaN where it is."""
    return jnp.where(error == 0, 0, error / jnp.mean(jnp.abs(gaps)))
