"""From simulated features to a network: scaling, heads, calibration, tables of error."""

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
    COLUMNS,
    LEVELS,
    MEDIAN,
    SIZES,
    Head,
    Network,
    Scaling,
    bins,
    compress,
    covers,
    expand,
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
    shift = jnp.zeros((len(SIZES) + 1, len(COLUMNS) + 1, len(LEVELS)))
    return Network(scaling, heads, shift, limits, jnp.asarray(1.0), jnp.zeros(len(SIZES) + 1))


@eqx.filter_jit
def predict(network: Network, features, *, calibrated: bool = False):
    """Quantiles on the compressed scale for rows of stored features."""
    one = network.calibrated if calibrated else network.compressed
    return jax.lax.map(one, features.astype(jnp.float32), batch_size=256)


FEWEST_TO_CALIBRATE = 200


def calibrated(network: Network, held_out: Rows) -> Network:
    """Shift every quantile so that it is one on held-out data, in each bin of n and columns.

    Split conformal, one-sided at every level: the shift is the order statistic of the residuals
    that makes the level exact for a fresh data set of the bin. A bin of few is shifted like all of
    its number of rows.
    """
    predicted = np.asarray(predict(network, held_out.features))
    target = np.asarray(compress(held_out.information))
    features = np.asarray(held_out.features, np.float32)
    size, columns = (np.asarray(b) for b in bins(jnp.asarray(features)))
    shift = np.zeros((len(SIZES) + 1, len(COLUMNS) + 1, len(LEVELS)), np.float32)
    for i in range(shift.shape[0]):
        for j in range(shift.shape[1]):
            mine = (size == i) & (columns == j)
            if mine.sum() < FEWEST_TO_CALIBRATE:
                mine = size == i
            if mine.sum() < FEWEST_TO_CALIBRATE:
                continue
            residual = np.sort(target[mine, None] - predicted[mine], axis=0)
            m = len(residual)
            for k, level in enumerate(LEVELS):
                # Upper levels err upwards, lower ones downwards.
                place = np.ceil((m + 1) * level) if level >= 0.5 else np.floor((m + 1) * level)
                shift[i, j, k] = residual[int(np.clip(place - 1, 0, m - 1)), k]
    return eqx.tree_at(lambda n: n.shift, network, jnp.asarray(shift))


WIDENINGS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
BEYOND = 0.85  # least coverage of a 90 % interval on laws that were never seen


def widened(network: Network, held_out: Rows, unseen: Rows) -> Network:
    """Calibrate, with the least widening whose intervals also cover laws that were never seen.

    On the held-out data 90 % intervals stay what they are called: what they gain where the heads
    disagree, calibration takes from where they do not. On the unseen laws their coverage is at
    least `BEYOND` by two standard errors, for each bin of the number of rows; where no widening
    reaches that, it is the largest.
    """
    information = np.asarray(unseen.information)
    size = np.asarray(bins(jnp.asarray(unseen.features, jnp.float32))[0])
    covered = {}
    for widening in WIDENINGS:
        trial = calibrated(_with_widening(network, [widening] * (len(SIZES) + 1)), held_out)
        quantiles = np.asarray(expand(predict(trial, unseen.features, calibrated=True)))
        covered[widening] = covers(quantiles, information)

    def least(mine):
        slack = 2 * (BEYOND * (1 - BEYOND) / max(mine.sum(), 1)) ** 0.5
        enough = (w for w in WIDENINGS if covered[w][mine].sum() >= (BEYOND + slack) * mine.sum())
        return next(enough, WIDENINGS[-1])

    chosen = [least(size == i) for i in range(len(SIZES) + 1)]
    return calibrated(_with_widening(network, chosen), held_out)


def _with_widening(network, factors):
    return eqx.tree_at(lambda n: n.widening, network, jnp.asarray(factors, jnp.float32))


def with_shared(network: Network, features, information) -> Network:
    """Set `shared` from the halves of data sets, features `(m, 2, F)`: what their errors share."""
    predicted = np.stack([predict(network, jnp.asarray(features[:, i])) for i in (0, 1)], 1)
    error = predicted[:, :, MEDIAN] - np.asarray(compress(information))[:, None]
    shared = np.mean(error[:, 0] * error[:, 1]) / np.mean(error**2)
    return eqx.tree_at(lambda n: n.shared, network, jnp.asarray(np.clip(shared, 0, 1), jnp.float32))
