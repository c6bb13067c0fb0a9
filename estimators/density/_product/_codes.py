"""Discrete columns: `Categorical` and `Ordered`, given as codes 0, 1, ..., levels - 1.

Their density is with respect to counting measure: it is the probability of the code.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp

from estimators._core import checks
from estimators.density._product._columns import Column


class _Discrete(Column):
    levels: int = eqx.field(static=True)
    continuous = False

    def __init__(self, levels: int):
        self.levels = checks.integer("levels", levels, at_least=2)

    @property
    def wanted(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        return f"one of the codes 0..{self.levels - 1}"

    def holds(self, values):
        return (values >= 0) & (values < self.levels) & (values == jnp.round(values))

    def spread(self, coordinates, weights):
        return jnp.ones((), coordinates.dtype)


class Categorical(_Discrete):
    """Names without an order, coded 0, 1, ..., `levels - 1`.

    Kernel of Aitchison & Aitken (1976): `1 - bandwidth` on the point's own level, and
    `bandwidth / (levels - 1)` on each other. Bandwidth 0 counts frequencies; at its largest,
    `(levels - 1) / levels`, the column plays no part.

    Args:
        levels: how many there are, seen or not.
    """

    def limit(self, dtype):
        return (self.levels - 1) / self.levels

    def log_kernel(self, query, point, bandwidth):
        moved = _log(bandwidth) - math.log(self.levels - 1)
        return jnp.where(query == point, _log(1 - bandwidth), moved)

    def sample(self, key, coordinates, bandwidth):
        of_whether, of_whither = jax.random.split(key)
        moves = jax.random.uniform(of_whether, coordinates.shape, coordinates.dtype) < bandwidth
        step = jax.random.randint(of_whither, coordinates.shape, 1, self.levels)
        moved = jnp.mod(coordinates + step.astype(coordinates.dtype), self.levels)
        return jnp.where(moves, moved, coordinates)


class Ordered(_Discrete):
    """Names in an order, or counts, coded 0, 1, ..., `levels - 1`.

    Kernel `bandwidth^|x - y|`, divided by its sum over the levels (Racine, Li & Yan 2020).
    Bandwidth 0 counts frequencies; at bandwidth 1 the column plays no part. Wang & van Ryzin
    (1981) normalise over all whole numbers instead, and lose mass beyond the last level.

    Args:
        levels: how many there are, seen or not.
    """

    def limit(self, dtype):
        return 1.0

    def log_kernel(self, query, point, bandwidth):
        levels = jnp.arange(self.levels, dtype=point.dtype)
        flat = point.reshape(-1)
        powers = self._log_power(jnp.abs(levels[:, None] - flat[None, :]), bandwidth)
        total = jax.nn.logsumexp(powers, 0).reshape(point.shape)
        return self._log_power(jnp.abs(query - point), bandwidth) - total

    def sample(self, key, coordinates, bandwidth):
        levels = jnp.arange(self.levels, dtype=coordinates.dtype)
        distance = jnp.abs(levels[None, :] - coordinates[:, None])
        drawn = jax.random.categorical(key, self._log_power(distance, bandwidth))
        return drawn.astype(coordinates.dtype)

    def _log_power(self, distance, bandwidth):
        at_home = distance == 0  # 0 * log 0
        return jnp.where(at_home, 0, jnp.where(at_home, 1, distance) * _log(bandwidth))


def _log(x):
    """Logarithm with log 0 = -inf that has no derivative there."""
    zero = x == 0
    return jnp.where(zero, -jnp.inf, jnp.log(jnp.where(zero, 1, x)))
