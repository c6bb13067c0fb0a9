"""What the specifications share: a risk that is asked for, and a parameter that is chosen."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Real

from estimators._core import checks

Losses = (
    Real[ArrayLike, "n parameters"] | Bool[ArrayLike, "n parameters"] | Callable[[Array], Array]
)


class Chosen(NamedTuple):
    """A parameter, and whether it is promised anything.

    Attributes:
        parameter: the parameter.
        index: its place among the parameters.
        valid: whether the promise was found to hold; where it is false see the method.
    """

    parameter: Float[Array, "..."]
    index: Int[Array, "..."]
    valid: Bool[Array, "..."]


def check_risk(risk: float, largest_loss: float) -> None:
    """Refuse a risk that is not above 0 and below the largest loss."""
    checks.positive("largest_loss", largest_loss)
    checks.known("risk", risk)
    if isinstance(risk, str) or not 0 < risk < largest_loss:
        raise ValueError(
            f"risk must lie strictly between 0 and largest_loss, {largest_loss:g}; got {risk!r}"
        )


def take(parameters, index, known) -> Float[Array, "..."]:
    """The parameters of these places; NaN where it is not known which."""
    found = parameters[index]
    shape = jnp.shape(index) + (1,) * (parameters.ndim - 1)
    return jnp.where(known.reshape(shape), found, jnp.nan)
