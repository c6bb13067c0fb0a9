"""Samplers that remember the last evaluation: DPM-Solver++ 2M, UniPC. One evaluation a step."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from estimators.score._samplers._sampler import Sampler, exponential_step, log_step


class Last(NamedTuple):
    """The latest evaluation, the one before it, and the log step between them."""

    clean: Float[Array, "*batch d"]
    earlier: Float[Array, "*batch d"]
    step: Float[Array, ""]  # infinite where there is no earlier one: its weight is then zero


class MultistepDPM(Sampler):
    """DPM-Solver++ 2M: extrapolates the denoised point from the last two evaluations.

    The standard where evaluations are few.

    Reference: Lu et al., DPM-Solver++ (2022), algorithm 2.
    """

    def start(self, denoise, x, sigma):
        """Nothing has been evaluated yet."""
        return Last(jnp.zeros_like(x), jnp.zeros_like(x), jnp.full_like(sigma, jnp.inf))

    def step(self, denoise, x, memory, before, after, key):
        """See `Sampler.step`."""
        clean = denoise(x, before)
        h = log_step(before, after)
        weight = 0.5 * h / memory.step
        ahead = clean + weight * (clean - memory.clean)
        return exponential_step(x, ahead, before, after), Last(clean, memory.clean, h)


class UniPC(Sampler):
    """UniPC of order two: a multistep prediction, corrected by the evaluation made there.

    The corrected point takes no evaluation of its own: the next step uses the one made at the
    predicted point.

    Reference: Zhao et al., UniPC (2023), algorithms 1 and 2 with B_2(h) = e^h - 1.
    """

    def start(self, denoise, x, sigma):
        """The evaluation at the first level."""
        clean = denoise(x, sigma)
        return Last(clean, clean, jnp.full_like(sigma, jnp.inf))

    def step(self, denoise, x, memory, before, after, key):
        """See `Sampler.step`."""
        h = log_step(before, after)
        decay = jnp.expm1(-h)
        # Differences per unit of the present step, at its start (backwards) and, later, its end.
        ratio = -memory.step / h
        first = jnp.isinf(memory.step)
        backward = jnp.where(first, 0, (memory.earlier - memory.clean) / ratio)
        moved = exponential_step(x, memory.clean, before, after)
        predicted = moved - decay * 0.5 * backward
        clean = denoise(predicted, after)
        # Weights that make the correction exact for a quadratic: a system of two equations.
        phi = decay / -h - 1
        one = phi / decay
        two = (phi / -h - 0.5) * 2 / decay
        safe = jnp.where(first, 0, ratio)
        of_backward = (one - two) / (1 - safe)
        of_forward = one - of_backward
        of_forward = jnp.where(first, 0.5, of_forward)
        corrected = moved - decay * (of_backward * backward + of_forward * (clean - memory.clean))
        return corrected, Last(clean, memory.clean, h)

    def finish(self, denoise, x, memory, sigma):
        """The last evaluation is the denoised point already."""
        return memory.clean
