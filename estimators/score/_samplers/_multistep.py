"""Samplers that remember the last evaluation: DPM-Solver++ 2M, UniPC. One evaluation a step."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from estimators.score._samplers._sampler import Sampler, exponential_step, log_step


class Last(NamedTuple):
    """The latest evaluation, and the log step since."""

    clean: Float[Array, "*batch d"]
    step: Float[Array, ""]  # infinite where there is none: its weight is then zero


class LastTwo(NamedTuple):
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
        return Last(jnp.zeros_like(x), jnp.full_like(sigma, jnp.inf))

    def step(self, denoise, x, memory, before, after, key):
        """See `Sampler.step`."""
        clean = denoise(x, before)
        h = log_step(before, after)
        weight = 0.5 * h / memory.step
        ahead = clean + weight * (clean - memory.clean)
        return exponential_step(x, ahead, before, after), Last(clean, h)


class UniPC(Sampler):
    """UniPC of order two: a multistep prediction, corrected by the evaluation made there.

    The corrected point takes no evaluation of its own: the next step uses the one made at the
    predicted point.

    Reference: Zhao et al., UniPC (2023), algorithms 1 and 2 with B_2(h) = e^h - 1.
    """

    def start(self, denoise, x, sigma):
        """The evaluation at the first level."""
        clean = denoise(x, sigma)
        return LastTwo(clean, clean, jnp.full_like(sigma, jnp.inf))

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
        one, two = _moments(h)
        safe = jnp.where(first, 0, ratio)
        of_backward = (one - two) / (1 - safe)
        of_forward = jnp.where(first, 0.5, one - of_backward)
        corrected = moved - decay * (of_backward * backward + of_forward * (clean - memory.clean))
        return corrected, LastTwo(clean, memory.clean, h)

    def finish(self, denoise, x, memory, sigma):
        """The last evaluation is the denoised point already."""
        return memory.clean


def _moments(h):
    """Right-hand sides of the corrector's equations: `(phi_1 - 1) / B` and `2 phi_2' / B`, with
    z = -h, phi_1 = (e^z - 1) / z, phi_2' = (phi_1 - 1) / z - 1 / 2 and B = e^z - 1.
    """
    z = -h
    grown = jnp.expm1(z)
    # Near zero the differences cancel: there they are their series.
    near = jnp.abs(z) < 0.1
    far = jnp.where(near, 1.0, z)
    first = jnp.expm1(far) / far - 1
    second = first / far - 0.5
    of_first = z * (1 / 2 + z * (1 / 6 + z * (1 / 24 + z * (1 / 120 + z / 720))))
    of_second = z * (1 / 6 + z * (1 / 24 + z * (1 / 120 + z * (1 / 720 + z / 5040))))
    first, second = jnp.where(near, of_first, first), jnp.where(near, of_second, second)
    return first / grown, 2 * second / grown
