"""Dynamically tuned ACI: exponential weights that never forget an expert entirely."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp

from estimators._core import checks
from estimators.conformal._online._experts import ExpertSpec


class DtACI(ExpertSpec):
    """Dynamically tuned adaptive conformal inference (Gibbs & Candes 2024).

    `ACI` with every one of `steps` at once; the threshold is taken at the mean of their levels.
    With b the share of the window below the score, weights are multiplied by

        exp(-eta * loss),   loss = (1 - coverage) (level - b) - min(0, level - b)

    the pinball loss of each level, and mixed with equal ones: `(1 - sigma) w + sigma / experts`.

    Args:
        coverage: share of the steps that should be covered in the long run, in (0, 1).
        steps: `(experts,)`, not negative. One step is `ACI`.
        window: how many scores of the past count.
        horizon: stretches of about this many steps are where it should do as well as the best of
            `steps`. It sets `sigma = 1 / (2 horizon)` and eta, for m = 1 - coverage, to
            `sqrt(3 (log(2 experts horizon) + 1) / (horizon ((1 - m)^2 m^3 + m^2 (1 - m)^3)))`,
            which is 2.72 for the defaults, as in the authors' experiments.

    Guarantee: its regret is bounded on every stretch. Long-run coverage is proven
    where the level is drawn by the weights and eta and sigma vanish; the mean of the levels, as
    here and in the paper's experiments, comes near it.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> scores = jnp.abs(jnp.sin(jnp.arange(1000.0))) * jnp.where(jnp.arange(1000) < 500, 1, 3)
        >>> run = conformal.DtACI(coverage=0.9, window=100).run(scores)
        >>> print(f"{run.covered.mean():.2f}", run.state.levels.shape)
        0.90 (8,)

    Reference: Gibbs & Candes 2024, Conformal inference for online prediction with arbitrary
    distribution shifts, algorithm 1.

    When it fails: as `ACI`. Nothing bounds the share covered of a finite series.
    """

    horizon: int = eqx.field(static=True, default=500, kw_only=True)

    given = "weights that change ever more slowly, and a level drawn by them in place of their mean"

    def __check_init__(self):
        checks.integer("horizon", self.horizon, at_least=1)

    def _remember(self, levels):
        return jnp.full_like(levels, 1 / levels.shape[0])

    def _weights(self, memory):
        return memory

    def _learn(self, state, score, missed):
        gap = state.levels - state.window.share_below(score)
        loss = self.miss * gap - jnp.minimum(0, gap)
        experts = state.levels.shape[0]
        shared = 1 / (2 * self.horizon)
        followed = jax.nn.softmax(jnp.log(state.memory) - self._rate(experts) * loss)
        return (1 - shared) * followed + shared / experts

    def _rate(self, experts: int) -> float:
        covered, miss = 1 - self.miss, self.miss
        squared = covered**2 * miss**3 + miss**2 * covered**3
        information = math.log(2 * experts * self.horizon) + 1
        return math.sqrt(3 * information / (self.horizon * squared))
