"""Samplers that add noise on the way: they forget what an early step did wrong."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from estimators._core import checks
from estimators.score._samplers._one_step import Heun
from estimators.score._samplers._sampler import Sampler, exponential_step


class EulerMaruyama(Sampler):
    """The reverse diffusion in steps of Euler and Maruyama, one evaluation a step.

    `x + (before^2 - after^2) score + sqrt(before^2 - after^2) noise`: the reverse of
    `dx = sqrt(2 sigma) dw` (Song et al. 2021, eq. 6). First order: it needs many steps.
    """

    stochastic: ClassVar[bool] = True

    def step(self, denoise, x, memory, before, after, key):
        """See `Sampler.step`."""
        lost = before**2 - after**2
        score = (denoise(x, before) - x) / before**2
        return x + lost * score + jnp.sqrt(lost) * _noise(key, x), None


class Ancestral(Sampler):
    """The transition that would be exact if the clean point were the denoised one.

    `N(D + (after / before)^2 (x - D), after^2 (before^2 - after^2) / before^2)`: the sampler of
    DDPM (Ho, Jain & Abbeel 2020) in this room's variables, one evaluation a step.
    """

    stochastic: ClassVar[bool] = True

    def step(self, denoise, x, memory, before, after, key):
        """See `Sampler.step`."""
        clean = denoise(x, before)
        spread = after * jnp.sqrt(1 - (after / before) ** 2)
        mean = exponential_step(x, clean, before, after**2 / before)
        return mean + spread * _noise(key, x), None


class StochasticHeun(Sampler):
    """Heun's method with churn: noise is added before each step, and removed with it.

    Args:
        churn: how much, as a share of each level: sigma grows by at most this factor less one,
            at most sqrt(2) - 1. In the terms of the paper, `S_churn / steps`.
        sigma_min: no churn below.
        sigma_max: no churn above.
        inflation: factor of the added noise (S_noise).

    Reference: Karras et al. 2022, algorithm 2, without churn in the last step.
    """

    stochastic: ClassVar[bool] = True
    churn: float = eqx.field(static=True, default=0.1)
    sigma_min: float = eqx.field(static=True, default=0.0)
    sigma_max: float = eqx.field(static=True, default=float("inf"))
    inflation: float = eqx.field(static=True, default=1.0)

    def __check_init__(self):
        checks.positive("churn", self.churn, zero=True)
        checks.positive("inflation", self.inflation)
        if not 0 <= self.sigma_min < self.sigma_max:
            raise ValueError(
                f"sigma_min must be below sigma_max = {self.sigma_max}; got {self.sigma_min}"
            )

    def step(self, denoise, x, memory, before, after, key):
        """See `Sampler.step`."""
        inside = (before >= self.sigma_min) & (before <= self.sigma_max)
        raised = before * (1 + jnp.where(inside, min(self.churn, 2**0.5 - 1), 0.0))
        added = jnp.sqrt(raised**2 - before**2)
        x = x + self.inflation * added * _noise(key, x)
        return Heun().step(denoise, x, None, raised, after, key)


def _noise(key, x):
    return jax.random.normal(key, x.shape, x.dtype)
