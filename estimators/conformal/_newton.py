"""Newton's method for a convex function of a few numbers."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

STEPS = 40
HALVINGS = 20


def newton(objective: Callable, start: Float[Array, " p"]) -> Float[Array, " p"]:
    """Where a smooth convex function is least, by Newton steps that are halved until they help.

    Where it has no least value the last of `STEPS` places comes back, far out.
    """
    eps = jnp.finfo(start.dtype).eps

    def step(state):
        place, _, count = state
        value, slope = jax.value_and_grad(objective)(place)
        curvature = jax.hessian(objective)(place)
        # Where parameters do not matter, or depend on each other, the matrix is singular. Each is
        # damped by its own curvature, so that their units do not matter.
        own = jnp.diag(curvature)
        matrix = curvature + jnp.diag(10 * eps * own + jnp.finfo(start.dtype).tiny)
        direction = jnp.linalg.solve(matrix, slope)
        enough = 1e-4 * jnp.sum(slope * direction)
        rounding = 4 * eps * jnp.abs(value)

        def too_long(halving):
            length = 0.5**halving
            reached = objective(place - length * direction)
            # Written so that an overflow is too long as well.
            return (halving < HALVINGS) & ~(reached <= value - length * enough + rounding)

        halving = jax.lax.while_loop(too_long, lambda h: h + 1, jnp.zeros((), place.dtype))
        move = 0.5**halving * direction
        return place - move, jnp.max(jnp.abs(move)), count + 1

    def unfinished(state):
        place, moved, count = state
        # False for NaN, which ends it.
        return (moved > 8 * eps * (1 + jnp.max(jnp.abs(place)))) & (count < STEPS)

    infinity = jnp.asarray(jnp.inf, start.dtype)
    return jax.lax.while_loop(unfinished, step, (start, infinity, 0))[0]
