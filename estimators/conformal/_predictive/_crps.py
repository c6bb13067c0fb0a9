"""The continuous ranked probability score of one law, shifted and scaled, at many outcomes."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from estimators.conformal._search import search


@jax.jit
def ensemble_crps(
    ordered: Float[Array, " n"], values: Float[Array, "*batch"]
) -> Float[Array, "*batch"]:
    """The score of the law with mass 1/n at each entry of a sorted array, at each value.

        integral of (F(x) - 1{x >= value})^2 dx

    The integrals of F^2 up to each entry and of (1 - F)^2 from it are summed once; a value adds
    its own two pieces. Only positive numbers are added, so nothing cancels.
    """
    n = ordered.shape[0]
    gaps = jnp.diff(ordered)
    shares = jnp.arange(n + 1, dtype=ordered.dtype) / n
    nothing = jnp.zeros(1, ordered.dtype)
    below = jnp.concatenate([nothing, jnp.cumsum(shares[1:-1] ** 2 * gaps)])
    remaining = (1 - shares[1:-1]) ** 2 * gaps
    above = jnp.concatenate([jnp.cumsum(remaining[::-1])[::-1], nothing])

    start = jnp.zeros(values.shape, jnp.int32)
    place = search(ordered, values, start, jnp.full_like(start, n), "right")
    previous, following = jnp.maximum(place - 1, 0), jnp.minimum(place, n - 1)
    # Outside the law one of the two squares is 0, and the other 1.
    left = shares[place] ** 2 * (values - ordered[previous])
    right = (1 - shares[place]) ** 2 * (ordered[following] - values)
    return below[previous] + left + right + above[following]
