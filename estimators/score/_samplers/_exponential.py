"""The Gaussian part of the flow in closed form, the rest in steps."""

import jax.numpy as jnp

from estimators.score._models import (
    FittedGaussian,
    as_gaussian,
    by_mode,
)
from estimators.score._samplers._multistep import Last
from estimators.score._samplers._sampler import Sampler, log_step


class GaussianExponential(Sampler):
    """Integrates the flow of a Gaussian exactly and only what the model adds to it in steps.

    With `D = D_G + R`, each mode of variance lam moves as `c (S2 / S1) + S2 [asinh(sqrt(lam) /
    s) / sqrt(lam)] R`, `S = sqrt(lam + s^2)`; R is extrapolated from the last two evaluations.
    Exact where the model is the Gaussian. At few steps from a high noise it loses to
    teleportation followed by DPM-Solver++: the Gaussian's Jacobian is wrong between clusters.

    Args:
        gaussian: the part to solve in closed form.
    """

    gaussian: FittedGaussian

    def __check_init__(self):
        as_gaussian("gaussian", self.gaussian)

    def start(self, denoise, x, sigma):
        """Nothing has been evaluated yet."""
        return Last(jnp.zeros_like(x), jnp.full_like(sigma, jnp.inf))

    def step(self, denoise, x, memory, before, after, key):
        """See `Sampler.step`."""
        rest = denoise(x, before) - self.gaussian.denoise(x, before)
        h = log_step(before, after)
        ahead = rest + 0.5 * h / memory.step * (rest - memory.clean)
        moved = self.gaussian.transport(x, before, after)
        levels = (jnp.full(x.shape[:-1], level, x.dtype) for level in (before, after))
        driven = by_mode(self.gaussian, _response, ahead, *levels)
        return moved + driven, Last(rest, h)


def _response(variance, before, after):
    """`S2 [asinh(r / s) / r]` from `before` to `after`, r the root of the variance; its limit
    `1 - after / before` where there is none.
    """
    root = jnp.sqrt(variance)
    safe = jnp.where(root > 0, root, 1)
    grown = (jnp.arcsinh(safe / after) - jnp.arcsinh(safe / before)) / safe
    return jnp.where(root > 0, jnp.sqrt(variance + after**2) * grown, 1 - after / before)
