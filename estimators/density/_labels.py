"""Labels of rows: equal rows leave a leave-one-out sum together."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from estimators._core import runs
from estimators._core._collect import total


def row_labels(points: Float[Array, "n d"]) -> Int[Array, " n"]:
    """A 32-bit hash of each row's bits: equal rows have equal labels.

    Two different rows share one by chance with probability 2^-32; leave-one-out then
    leaves one point too many out of one sum.
    """
    bits = jax.lax.bitcast_convert_type(points + 0.0, jnp.uint32).reshape(points.shape[0], -1)

    def mix(state, column):
        state = (state ^ column) * jnp.uint32(0x85EBCA6B)
        state = (state ^ (state >> 13)) * jnp.uint32(0xC2B2AE35)
        return state ^ (state >> 16), None

    # Not a constant: inside `jax.shard_map` the carry must vary over devices as the points do.
    seed = 0 * bits[:, 0] + jnp.uint32(0x9E3779B9)
    return jax.lax.bitcast_convert_type(jax.lax.scan(mix, seed, bits.T)[0], jnp.int32)


def first_of_equal_labels(
    labels: Int[Array, " n"],
) -> tuple[Bool[Array, " n"], Int[Array, " n"]]:
    """Whether a row is the first of its label, and the number of that first row."""
    order = jnp.argsort(labels, stable=True)
    group = jnp.zeros_like(order).at[order].set(order[runs(labels[order]).start])
    return group == jnp.arange(order.shape[0]), group


def remaining_log_weight(
    query_labels: Int[Array, " m"],
    labels: Int[Array, " n"],
    log_weights: Float[Array, " n"],
    axis_name: str | None = None,
) -> Float[Array, " m"]:
    """Log of the weight that is left when the points of a query's own label are left out.

    `log_weights` are of weights that sum to one. By a sort, not by a pass over the pairs.
    Where nothing is left it is a large negative number: the sum itself is -inf there.
    """
    return log_of_rest(total(weight_of_others(query_labels, labels, log_weights), axis_name))


def log_of_rest(rest: Float[Array, " m"]) -> Float[Array, " m"]:
    """Log of a weight, a large negative number where it is zero."""
    return jnp.log(jnp.maximum(rest, jnp.finfo(rest.dtype).tiny))


def weight_of_others(
    query_labels: Int[Array, " m"], labels: Int[Array, " n"], log_weights: Float[Array, " n"]
) -> Float[Array, " m"]:
    """The weight that the points of other labels than each query's have together.

    It is summed from both ends, not taken from one, of which a heavy row leaves nothing.
    """
    order = jnp.argsort(labels)
    weights, nothing = jnp.exp(log_weights[order]), jnp.zeros(1, log_weights.dtype)
    below = jnp.concatenate([nothing, jnp.cumsum(weights)])
    above = jnp.concatenate([jnp.flip(jnp.cumsum(jnp.flip(weights))), nothing])
    first, last = (
        jnp.searchsorted(labels[order], query_labels, side=side) for side in ("left", "right")
    )
    return below[first] + above[last]
