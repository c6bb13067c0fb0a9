"""The regression on the calibration rows alone, from which the path to every new row starts."""

import jax
import jax.numpy as jnp

from estimators._core import product
from estimators.conformal._conditional._program import (
    ABOVE,
    BASIC,
    BELOW,
    Corner,
    Program,
    balanced,
)
from estimators.conformal._conditional._walk import Walk, walk

GUESSES = 30


def first_corner(scores, features, coverage) -> tuple[Program, Walk]:
    """Solve the quantile regression exactly.

    At a guess of the coefficients the artificial rows are the basis, and the corner is optimal
    for the right-hand side that it has; the walk from there to that of the regression is the
    shorter, the better the guess.
    """
    n, d = features.shape
    guess = approximate(scores, features, coverage)
    unit = jnp.eye(d, dtype=features.dtype)
    program = Program(jnp.concatenate([features, unit]), jnp.concatenate([scores, guess]))
    side = jnp.where(scores < product(features, guess), BELOW, ABOVE)
    sides = jnp.concatenate([side, jnp.full(d, BASIC)]).astype(jnp.int8)
    corner = Corner(
        jnp.arange(n, n + d, dtype=jnp.int32), unit, jnp.zeros(d, features.dtype), sides
    )
    direction = balanced(program, corner, coverage * jnp.sum(features, 0))
    one = jnp.ones((), features.dtype)
    return program, walk(program, corner, direction, one, 10 * (n + d) + 100)


def approximate(scores, features, coverage):
    """Coefficients of the regression, roughly: weighted least squares, again and again.

    The pinball loss lies below a parabola that touches it at the residuals of the last round
    (Hunter & Lange 2000); each round minimises the sum of these.
    """
    eps = jnp.finfo(scores.dtype).eps
    lean = (2 * coverage - 1) * jnp.sum(features, 0)

    def again(_, state):
        _, weights = state
        weighed = features * weights[:, None]
        gram = product(features.T, weighed)
        # Columns may depend on each other, and some may be zero.
        ridge = 8 * eps * features.shape[0] * jnp.diagonal(gram) + jnp.finfo(gram.dtype).tiny
        found = jnp.linalg.solve(gram + jnp.diag(ridge), product(weighed.T, scores) + lean)
        gap = jnp.abs(scores - product(features, found))
        return found, 1 / (gap + 1e-3 * jnp.mean(gap) + jnp.finfo(gap.dtype).tiny)

    start = jnp.zeros(features.shape[1], scores.dtype), jnp.ones_like(scores)
    found, _ = jax.lax.fori_loop(0, GUESSES, again, start)
    return jnp.where(jnp.isfinite(found).all(), found, 0)
