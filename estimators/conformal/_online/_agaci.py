"""Aggregated ACI: Bernstein online aggregation of many steps."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from estimators._core import Stored
from estimators.conformal._online._experts import ExpertSpec


class Regrets(Stored):
    """What Bernstein online aggregation remembers.

    Attributes:
        total: `(experts,)`, regrets less their second order.
        squares: `(experts,)`, of the regrets.
        largest: regret of any expert so far, in size.
    """

    total: Float[Array, " experts"]
    squares: Float[Array, " experts"]
    largest: Float[Array, ""]


class AgACI(ExpertSpec):
    """Aggregated adaptive conformal inference (Zaffran et al. 2022).

    `ACI` with every one of `steps` at once, mixed by Bernstein online aggregation with the gradient
    trick (Wintenberger 2017). The regret to an expert is the derivative of the pinball loss
    at the mixture, times its distance from the mixture:

        r = (missed - (1 - coverage)) (level of the expert - level of the mixture)

    and weights are `eta exp(eta * sum(r - eta r^2))`, with a rate for each expert,
    `eta = min(1 / (2 max abs(r)), sqrt(log(experts) / sum(r^2)))`.

    This version mixes levels and takes one quantile, at their mean, where the paper mixes the
    quantiles, of each end of an interval by itself: an expert's quantile may be infinite,
    and a mean of levels needs no rule for that. For two ends use two runs, as `OnlineSpec` shows.

    Args:
        coverage: share of the steps that should be covered in the long run, in (0, 1).
        steps: `(experts,)`, not negative; those of `DtACI`. One step is `ACI`.
        window: how many scores of the past count.

    Guarantee: the pinball loss comes near that of the best step; no bound is proven for the share
    covered.

    Example:
        >>> import jax.numpy as jnp
        >>> from estimators import conformal
        >>> scores = jnp.abs(jnp.sin(jnp.arange(1000.0))) * jnp.where(jnp.arange(1000) < 500, 1, 3)
        >>> run = conformal.AgACI(coverage=0.9, window=100).run(scores)
        >>> print(f"{run.covered.mean():.2f}", run.levels.shape)
        0.90 (1000,)

    Reference: Zaffran, Feron, Goude, Josse & Dieuleveut 2022, Adaptive conformal predictions for
    time series, algorithm 1; Wintenberger 2017, Optimal learning with Bernstein online aggregation.

    When it fails: as `ACI`. Weights follow the whole past; where the best step changes, `DtACI`
    forgets faster.
    """

    given = "one step that stays the best; nothing is proven for a mixture"

    def _remember(self, levels):
        nothing = jnp.zeros_like(levels)
        return Regrets(nothing, nothing, jnp.zeros((), levels.dtype))

    def _weights(self, memory: Regrets):
        rate = _rates(memory.squares, memory.largest)
        return jax.nn.softmax(jnp.log(rate) + rate * memory.total)

    def _learn(self, state, score, missed):
        memory, level = state.memory, self._level(state)
        regret = (missed - jnp.asarray(self.miss, level.dtype)) * (state.levels - level)
        squares = memory.squares + regret**2
        largest = jnp.maximum(memory.largest, jnp.max(jnp.abs(regret)))
        second = _rates(squares, largest) * regret**2
        return Regrets(memory.total + regret - second, squares, largest)


def _rates(squares, largest):
    # An expert that never differed has no squares; before any differed all rates are alike.
    cap = jnp.where(largest > 0, 0.5 / jnp.where(largest > 0, largest, 1), 1)
    safe = jnp.where(squares > 0, squares, 1)
    rate = jnp.sqrt(math.log(squares.shape[0]) / safe)
    return jnp.where(squares > 0, jnp.minimum(rate, cap), cap)
