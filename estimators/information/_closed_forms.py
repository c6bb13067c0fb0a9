"""Information of some laws in closed form, for the room of laws and for training data alike."""

import jax.numpy as jnp
from jax.scipy.special import digamma, gammaln
from jaxtyping import Array, Float, Int


def additive_uniform_information(epsilon: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """Information in nats of one column with its noisy copy, elementwise.

    `epsilon - log(2 epsilon)` up to 1/2, `1 / (4 epsilon)` from there.
    """
    narrow = jnp.minimum(epsilon, 0.5)
    wide = jnp.maximum(epsilon, 0.5)
    return jnp.where(epsilon < 0.5, narrow - jnp.log(2 * narrow), 1 / (4 * wide))


def student_correction(
    degrees: Float[Array, "*batch"], dx: int | Int[Array, ""], dy: int | Int[Array, ""]
) -> Float[Array, "*batch"]:
    """What Student's law has beyond the normal one of equal dispersion, in nats.

    f(v) + f(v + dx + dy) - f(v + dx) - f(v + dy),   f(v) = lnGamma(v/2) - (v/2) psi(v/2)
    """
    v = degrees / 2
    return _f(v) + _f(v + (dx + dy) / 2) - _f(v + dx / 2) - _f(v + dy / 2)


SERIES_FROM = 16.0


def _f(v):
    """`lnGamma(v) - v psi(v) + v`; what is added to f is linear and cancels, digits do not.

    For large v by Stirling's series (Abramowitz & Stegun 6.1.40, 6.3.18), to 1e-13.
    """
    small, large = jnp.minimum(v, SERIES_FROM), jnp.maximum(v, SERIES_FROM)
    direct = gammaln(small) - small * digamma(small) + small
    inverse = 1 / large
    square = inverse**2
    tail = inverse * (1 / 6 - square * (1 / 90 - square * (1 / 210 - square / 210)))
    series = (jnp.log(2 * jnp.pi * inverse) + 1) / 2 + tail
    return jnp.where(v < SERIES_FROM, direct, series)
