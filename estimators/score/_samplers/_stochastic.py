"""Samplers that add noise on the way: they forget what an early step did wrong."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

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
    churn: Float[Array, ""]
    sigma_min: Float[Array, ""]
    sigma_max: Float[Array, ""]
    inflation: Float[Array, ""]

    def __init__(
        self,
        churn: Real[ArrayLike, ""] = 0.1,
        *,
        sigma_min: Real[ArrayLike, ""] = 0.0,
        sigma_max: Real[ArrayLike, ""] = float("inf"),
        inflation: Real[ArrayLike, ""] = 1.0,
    ):
        self.churn = checks.positive("churn", checks.as_number("churn", churn), zero=True)
        self.inflation = checks.positive("inflation", checks.as_number("inflation", inflation))
        self.sigma_min = checks.as_number("sigma_min", sigma_min)
        self.sigma_max = checks.as_number("sigma_max", sigma_max)
        ends = self.sigma_min, self.sigma_max
        known = all(map(checks.is_concrete, ends))
        if known and not checks.holds(lambda a, b: (a >= 0) & (a < b), *ends):
            raise ValueError(
                f"sigma_min must be below sigma_max = {self.sigma_max}, and not negative; got "
                f"{self.sigma_min}"
            )

    def step(self, denoise, x, memory, before, after, key):
        """See `Sampler.step`."""
        inside = (before >= self.sigma_min) & (before <= self.sigma_max)
        growth = jnp.where(inside, jnp.minimum(self.churn, 2**0.5 - 1).astype(x.dtype), 0)
        # sqrt(raised^2 - before^2), which rounding could take below zero.
        added = before * jnp.sqrt(growth * (2 + growth))
        x = x + self.inflation.astype(x.dtype) * added * _noise(key, x)
        raised = before * (1 + growth)
        return Heun().step(denoise, x, None, raised, after, key)


def _noise(key, x):
    return jax.random.normal(key, x.shape, x.dtype)
