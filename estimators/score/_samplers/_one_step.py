"""Samplers that remember nothing: Euler, Heun, DPM-Solver++ 2S."""

import jax.numpy as jnp

from estimators.score._samplers._sampler import Sampler, exponential_step


class Euler(Sampler):
    """Euler's method, one evaluation a step; the same as DDIM.

    Reference: Song, Meng & Ermon, Denoising Diffusion Implicit Models (2021).
    """

    def step(self, denoise, x, memory, before, after, key):
        """See `Sampler.step`."""
        return exponential_step(x, denoise(x, before), before, after), None


class Heun(Sampler):
    """Heun's method, two evaluations a step and one for the last: the solver of EDM.

    Reference: Karras et al. 2022, algorithm 1.
    """

    def step(self, denoise, x, memory, before, after, key):
        """See `Sampler.step`."""
        slope = (x - denoise(x, before)) / before
        there = x + (after - before) * slope
        corrected = (there - denoise(there, after)) / after
        return x + (after - before) * 0.5 * (slope + corrected), None


class SinglestepDPM(Sampler):
    """DPM-Solver++ 2S: a midpoint in log sigma, two evaluations a step.

    Reference: Lu et al., DPM-Solver++ (2022), algorithm 1 with r = 1/2.
    """

    def step(self, denoise, x, memory, before, after, key):
        """See `Sampler.step`."""
        middle = jnp.sqrt(before * after)
        halfway = exponential_step(x, denoise(x, before), before, middle)
        return exponential_step(x, denoise(halfway, middle), before, after), None
