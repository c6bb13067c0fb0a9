"""The upper concave envelope of points, read at one place without building the hull."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


@jax.jit
def concave_envelope(
    levels: Float[Array, " k"],
    values: Float[Array, " k"],
    at: Float[Array, ""],
    last: Int[Array, ""] | int,
) -> Float[Array, ""]:
    """Upper concave envelope, at `at`, of the points `(levels, values)` with index 0 to `last`.

    Both coordinates must not decrease, and `at >= levels[0]`. To the right of the last point
    the envelope is flat. It solves the Lagrangian dual of the knapsack
    `max sum values[r_j]` over `sum levels[r_j] <= m at`, and m times it bounds that.

    A chord from the first point to the last is raised to the point that lies highest above it,
    on the side of `at` where that one is, until none lies above: O(k) for each raise, of which
    there are about log(k).
    """
    index = jnp.arange(levels.shape[0])
    known_levels, known_values, place = jax.lax.stop_gradient((levels, values, at))

    def raise_chord(state):
        left, right, _ = state
        rise, run = known_values - known_values[left], known_levels - known_levels[left]
        inside = (index > left) & (index < right)
        above = jnp.where(inside, rise - rise[right] / run[right] * run, 0)
        highest = jnp.argmax(above)
        higher = above[highest] > 0
        is_left = known_levels[highest] <= place
        left = jnp.where(higher & is_left, highest, left)
        right = jnp.where(higher & ~is_left, highest, right)
        return left, right, higher

    last = jnp.asarray(last, index.dtype)
    flat = place >= known_levels[last]
    start = (jnp.zeros_like(last), last, ~flat)
    left, right, _ = jax.lax.while_loop(lambda state: state[2], raise_chord, start)
    run = jnp.where(flat, 1, levels[right] - levels[left])
    share = (at - levels[left]) / run
    return jnp.where(flat, values[last], values[left] + share * (values[right] - values[left]))
