"""Weights that may depend on the row: global logits, and a network's on top of them."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Key

from estimators._core import Stored
from estimators.quantile._layers import random_layers

RESOLUTIONS = ("coarse", "medium", "product", "fine")


class Dropout(NamedTuple):
    """Shares of hidden units and of models that a training step leaves out."""

    units: float
    models: float


class Gate(Stored):
    """Logits of the weights of one row.

    With j a model, v a source level, k an output level, the base has logits b_j, b_jk or b_jvk,
    to which the network of the row's inputs adds

        coarse a_j      medium a_jk      product a_jk + c_jv      fine a_jvk

    and the softmax is over models, or over models and source levels where there are any.

    Attributes:
        base: `(models,)`, `(models, levels)` or `(models, levels, levels)`.
        layers: of the network; none for weights that do not depend on the row.
        resolution: of the network.
    """

    base: Float[Array, "models ..."]
    layers: tuple[eqx.nn.Linear, ...]
    resolution: str = eqx.field(static=True)

    @classmethod
    def random(cls, key, base, levels: int, inputs: int, resolution: str, width: int, depth: int):
        """A gate whose network says next to nothing: it starts at the base."""
        models = base.shape[0]
        outputs = {
            "coarse": models,
            "medium": models * levels,
            "product": 2 * models * levels,
            "fine": models * levels * levels,
        }[resolution]
        layers = random_layers([inputs, *[width] * depth, outputs], base.dtype, key)
        last = (0.1 * layers[-1].weight, 0 * layers[-1].bias)
        layers[-1] = eqx.tree_at(lambda layer: (layer.weight, layer.bias), layers[-1], last)
        return cls(base, tuple(layers), resolution)

    def logits(
        self,
        inputs: Float[Array, "rows inputs"],
        key: Key[Array, ""] | None = None,
        dropout: float = 0.0,
    ) -> Float[Array, "rows outputs"]:
        """What the network adds, before it is given its shape."""
        hidden = inputs
        *inner, last = self.layers
        for i, layer in enumerate(inner):
            hidden = jax.nn.elu(jax.vmap(layer)(hidden))
            if key is not None and dropout > 0:
                kept = _kept(jax.random.fold_in(key, i), dropout, hidden.shape)
                hidden = jnp.where(kept, hidden / (1 - dropout), 0)
        return jax.vmap(last)(hidden)

    def combine(
        self,
        inputs: Float[Array, "rows inputs"],
        predictions: Float[Array, "rows models levels"],
        mask: Bool[Array, "rows models levels"] | None = None,
        *,
        key: Key[Array, ""] | None = None,
        dropout: Dropout | None = None,
    ) -> Float[Array, "rows levels"]:
        """Weighted averages, not sorted; NaN where the mask leaves nothing."""
        units = None
        if dropout is not None and key is not None:
            units, models = jax.random.split(key)
            mask = _without_some_models(models, dropout.models, predictions, mask)
        if mask is not None:
            predictions = jnp.where(mask, predictions, 0)
        share = 0.0 if dropout is None else dropout.units
        if self._factorised:
            return self._combine_factors(self._factors(inputs, units, share), predictions, mask)
        logits = self._logits(inputs, units, share)
        over = (1, 2) if logits.ndim == 4 else (1,)
        logits = logits[..., None] if logits.ndim == 2 else logits
        if mask is None:
            return _average(predictions, jax.nn.softmax(logits, over))
        there = mask[..., None] if logits.ndim == 4 else mask
        weights = _unnormalised(logits, over) * there
        return _average(predictions, weights) / jnp.sum(weights, over)

    def _combine_factors(self, factors, predictions, mask):
        """Weights that are products of one of the row and one of the base.

        No array of all weights of all rows, and matrix products for the sums over levels.
        """
        output, source = factors
        base, output = _unnormalised(self.base, (0, 1)), _unnormalised(output, (1,))
        if source is None and mask is None:
            # XLA (jax 0.10 and 0.12) miscompiles a product with constant ones, mapped and
            # then summed, on the CPU: what is the same for all rows is summed as it is.
            total = jnp.sum(base, 1)
            above = _over_sources(predictions, base)
            return jnp.sum(output * above, 1) / jnp.sum(output * total[None], 1)
        factor = 1.0 if source is None else _unnormalised(source, (1, 2))
        factor = factor if mask is None else factor * mask
        above = _over_sources(factor * predictions, base)
        return jnp.sum(output * above, 1) / jnp.sum(output * _over_sources(factor, base), 1)

    def weights(self, inputs: Float[Array, "rows inputs"]) -> Float[Array, "rows models ..."]:
        """All weights of each row, in the finer shape of base and network."""
        if self._factorised:
            output, source = self._factors(inputs, None, 0.0)
            logits = self.base[None] + output[:, :, None]
            logits = logits if source is None else logits + source[..., None]
        else:
            logits = self._logits(inputs, None, 0.0)
        weights = jax.nn.softmax(logits, (1, 2) if logits.ndim == 4 else 1)
        return jnp.broadcast_to(weights, (inputs.shape[0], *weights.shape[1:]))

    @property
    def _factorised(self) -> bool:
        return self.base.ndim == 3 and (self.resolution != "fine" or not self.layers)

    def _factors(self, inputs, key, dropout):
        """Logits by output level, and by source level where there are any: `(rows, models, .)`."""
        models = self.base.shape[0]
        if not self.layers:
            return jnp.zeros((1, models, 1), self.base.dtype), None
        added = self.logits(inputs, key, dropout).reshape(inputs.shape[0], models, -1)
        if self.resolution == "product":
            return jnp.split(added, 2, -1)
        return added, None

    def _logits(self, inputs, key, dropout):
        """Logits of base and network, in the shape of the base and one axis for the rows."""
        if not self.layers:
            return self.base[None]
        shape = self.base.shape if self.resolution == "fine" else (self.base.shape[0], -1)
        shape = shape[: self.base.ndim]
        added = self.logits(inputs, key, dropout).reshape(inputs.shape[0], *shape)
        return self.base[None] + added


_HIGHEST = lax.Precision.HIGHEST


def _average(predictions, weights):
    """Sum over models, and source levels; weights `(rows or 1, models, [levels,] levels or 1)`."""
    if weights.ndim == 4:
        formula = "njv,njvk->nk"
    elif weights.shape[-1] == 1:
        formula, weights = "njk,nj->nk", weights[..., 0]
    else:
        formula = "njk,njk->nk"
    if weights.shape[0] == 1:  # a product with what is the same for all rows
        formula, weights = formula.replace(",n", ","), weights[0]
    return jnp.einsum(formula, predictions, weights, precision=_HIGHEST)


def _over_sources(values, base):
    return jnp.einsum("njv,jvk->njk", values, base, precision=_HIGHEST)


def _unnormalised(logits, axes):
    """exp, up to a factor that is one for all entries along the axes."""
    return jnp.exp(logits - lax.stop_gradient(jnp.max(logits, axes, keepdims=True)))


def _kept(key, share, shape):
    return jax.random.uniform(key, shape, jnp.float32) >= share


def _without_some_models(key, share, predictions, mask):
    """A mask that also leaves out a share of the models of each row, but never all of them."""
    if share == 0:
        return mask
    kept = _kept(key, share, (*predictions.shape[:2], 1))
    there = kept if mask is None else mask & kept
    enough = jnp.any(there, 1, keepdims=True)
    everything = jnp.ones_like(there) if mask is None else mask
    return jnp.broadcast_to(jnp.where(enough, there, everything), predictions.shape)
