"""What a sampler is: a step from one noise level to the next, and what it remembers."""

import abc
from collections.abc import Callable
from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from estimators._core import Spec

Denoise = Callable[[Float[Array, "*batch d"], Float[Array, ""]], Float[Array, "*batch d"]]


class Sampler(Spec):
    """Solves the probability flow `dx / dsigma = (x - D(x, sigma)) / sigma`, or its SDE.

    Levels are positive in `step`. The last step, to noise zero, is `finish`: every solver of
    this family then returns the denoised point. A sampler of your own needs `step`; whatever
    it remembers is a pytree that `start` makes.
    """

    stochastic: ClassVar[bool] = False

    def start(self, denoise: Denoise, x: Float[Array, "*batch d"], sigma: Float[Array, ""]) -> Any:
        """What is remembered before the first step."""
        return None

    @abc.abstractmethod
    def step(
        self,
        denoise: Denoise,
        x: Float[Array, "*batch d"],
        memory: Any,
        before: Float[Array, ""],
        after: Float[Array, ""],
        key: Key[Array, ""],
    ) -> tuple[Float[Array, "*batch d"], Any]:
        """From level `before` to the lower level `after`."""

    def finish(
        self,
        denoise: Denoise,
        x: Float[Array, "*batch d"],
        memory: Any,
        sigma: Float[Array, ""],
    ) -> Float[Array, "*batch d"]:
        """From the last level to zero."""
        return denoise(x, sigma)


def exponential_step(x, clean, before, after):
    """The exact flow from `before` to `after` while the denoised point stays `clean`."""
    ratio = after / before
    return ratio * x + (1 - ratio) * clean


def log_step(before, after):
    """How far the log signal-to-noise ratio rises."""
    return jnp.log(before) - jnp.log(after)
