"""From simulated features to a network that is not calibrated yet: scaling and heads."""

import functools
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Key

from estimators import training
from estimators.information._mist._features import exchange
from estimators.information._mist._network import (
    BINS,
    LEVELS,
    UNSHIFTED,
    Head,
    Network,
    Scaling,
    compress,
)


class Rows(NamedTuple):
    """Simulated data sets as the network sees them.

    Attributes:
        features: `(m, F)`, float16 or float32.
        information: `(m,)`, nats.
    """

    features: Array
    information: Array


def scaling_of(features: np.ndarray) -> tuple[Scaling, Float[Array, "2 F"]]:
    """Robust centre and scale of each feature, and the limits of nearly all of them."""
    sample = features[:: max(1, len(features) // 100_000)].astype(np.float32)
    low, centre, high = np.quantile(sample, [0.16, 0.5, 0.84], axis=0)
    spread = sample.std(0)
    scale = np.maximum(np.maximum((high - low) / 2, 0.3 * spread), 1e-4)
    standard = (sample - centre) / scale
    limits = np.quantile(standard, [0.0002, 0.9998], axis=0)
    return Scaling(jnp.asarray(centre), jnp.asarray(scale)), jnp.asarray(limits)


def pinball(heads, data, key: Key[Array, ""], size: int):
    """Pinball loss on the compressed scale, mean over heads, each with a batch of its own."""
    count = jax.tree.leaves(heads)[0].shape[0]

    def one(head, key):
        draw, turn = jax.random.split(key)
        rows = training.batch(data["rows"], draw, size)
        features = rows.features.astype(jnp.float32)
        turned = jax.random.bernoulli(turn, shape=(size, 1))
        features = jnp.where(turned, exchange(features), features)
        return _loss(head, data["scaling"], features, rows.information)

    return jnp.mean(eqx.filter_vmap(one)(heads, jax.random.split(key, count)))


def validation_pinball(heads, data, key):
    """Pinball loss on all rows, in one orientation, mean over heads."""
    features = data["rows"].features.astype(jnp.float32)

    def one(head):
        return _loss(head, data["scaling"], features, data["rows"].information)

    return jnp.mean(eqx.filter_vmap(one)(heads))


def _loss(head, scaling, features, information):
    baseline = compress(features[:, 0])
    predicted = jax.vmap(head)(jax.vmap(scaling)(features), baseline)
    error = compress(information)[:, None] - predicted
    levels = jnp.asarray(LEVELS, error.dtype)[None]
    return jnp.mean(jnp.maximum(levels * error, (levels - 1) * error))


class Recipe(NamedTuple):
    """How heads are trained.

    Attributes:
        heads: how many are averaged; each draws batches of its own.
        width: of the hidden layers.
        depth: residual blocks.
        steps: updates, the end of the learning-rate schedule.
        batch_size: data sets of an update.
        learning_rate: the largest one.
    """

    heads: int
    width: int
    depth: int
    steps: int
    batch_size: int
    learning_rate: float


WEIGHT_DECAY = 0.1


def optimiser(rate: float | optax.Schedule, weight_decay: float) -> optax.GradientTransformation:
    """What trains every network here: Adam with decoupled decay, on clipped gradients."""
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, weight_decay=weight_decay))


def train_heads(
    rows: Rows,
    held_out: Rows,
    scaling: Scaling,
    recipe: Recipe,
    *,
    key: Key[Array, ""],
    stop: int | None = None,
    chunk: int,
    checkpoint=None,
    progress=None,
):
    """Train heads on stored rows, up to step `stop`; a checkpoint carries on from there."""
    start, run = jax.random.split(key)

    def make(key):
        return Head.random(key, rows.features.shape[1], recipe.width, recipe.depth)

    rate = optax.warmup_cosine_decay_schedule(
        0.0, recipe.learning_rate, 500, max(recipe.steps, 501), recipe.learning_rate / 100
    )
    return training.minimise(
        functools.partial(pinball, size=recipe.batch_size),
        eqx.filter_vmap(make)(jax.random.split(start, recipe.heads)),
        {"rows": rows, "scaling": scaling},
        key=run,
        steps=recipe.steps if stop is None else min(stop, recipe.steps),
        optimiser=optimiser(rate, WEIGHT_DECAY),
        validation={"rows": held_out, "scaling": scaling},
        validation_loss=validation_pinball,
        chunk=chunk,
        checkpoint=checkpoint,
        progress=progress,
    )


def assemble(heads: Head, scaling: Scaling, limits: Float[Array, "2 F"]) -> Network:
    """A network that is not calibrated yet."""
    shift = jnp.broadcast_to(jnp.asarray(UNSHIFTED), (*BINS, len(LEVELS)))
    return Network(scaling, heads, shift, limits, jnp.asarray(1.0), jnp.zeros(BINS[0]))
