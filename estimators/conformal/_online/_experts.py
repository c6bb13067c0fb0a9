"""Many steps at once: a level for each, and weights that learn which to follow."""

import abc
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from estimators._core import checks
from estimators.conformal._online._aci import followed
from estimators.conformal._online._run import OnlineState
from estimators.conformal._online._spec import OnlineSpec
from estimators.conformal._online._window import Window, filled

# From nearly fixed to forgetting within tens of steps; those of Gibbs & Candes 2024.
STEPS = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128)


class ExpertState(OnlineState):
    """What a method of many experts remembers.

    Attributes:
        window: the newest scores, the same for all.
        levels: `(experts,)`, each moved by its own step and its own misses.
        memory: what the weights are made of.
    """

    window: Window
    levels: Float[Array, " experts"]
    memory: Any


class ExpertSpec(OnlineSpec):
    """What the methods that mix `ACI` of many steps have in common."""

    steps: tuple[float, ...] | Real[ArrayLike, " experts"] = eqx.field(default=STEPS, kw_only=True)
    window: int = eqx.field(static=True, default=500, kw_only=True)

    def __check_init__(self):
        steps = checks.as_float("steps", self.steps)
        if steps.ndim != 1 or steps.shape[0] == 0:
            raise ValueError(f"steps must have shape (experts,), one or more; got {steps.shape}")
        checks.positive("steps", steps, zero=True)
        checks.integer("window", self.window, at_least=1)

    def _begin(self, scores):
        steps = jnp.asarray(self.steps, scores.dtype)
        levels = jnp.full_like(steps, 1 - self.miss)
        return ExpertState(filled(scores, self.window), levels, self._remember(levels))

    def _issue(self, state: ExpertState):
        return state.window.quantile(self._level(state))

    def _observe(self, state: ExpertState, threshold, score):
        missed = score > state.window.quantile(state.levels)
        levels = followed(state.levels, missed, self.steps, self.miss)
        memory = self._learn(state, score, score > threshold)
        return ExpertState(state.window.push(score), levels, memory)

    def _level(self, state: ExpertState):
        return jnp.sum(self._weights(state.memory) * state.levels)

    @abc.abstractmethod
    def _remember(self, levels: Float[Array, " experts"]) -> Any:
        """The memory before the first score."""

    @abc.abstractmethod
    def _weights(self, memory) -> Float[Array, " experts"]:
        """The weight of each expert; they sum to 1."""

    @abc.abstractmethod
    def _learn(self, state: ExpertState, score, missed) -> Any:
        """The memory after a score, which the mixture missed or not."""
