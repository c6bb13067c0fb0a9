"""Calibration: quantiles that are what they are called, on data sets that trained no head."""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from estimators.information._mist._network import (
    BINS,
    LEVELS,
    MEDIAN,
    UNSHIFTED,
    Network,
    bins,
    compress,
    covers,
    expand,
    units,
)


class DataSets(NamedTuple):
    """Data sets of equally many parts.

    Attributes:
        features: `(m, parts, F)`.
        information: `(m,)`, nats.
    """

    features: np.ndarray
    information: np.ndarray


@eqx.filter_jit
def predict(network: Network, features, *, calibrated: bool = False):
    """Quantiles on the compressed scale, `(m, levels)`, for features `(m, parts, F)`."""
    one = network.calibrated if calibrated else network.compressed
    return jax.lax.map(one, jnp.asarray(features, jnp.float32), batch_size=256)


FEWEST = 200  # data sets that decide a shift


def calibrated(network: Network, held_out: Sequence[DataSets]) -> Network:
    """Shift every quantile so that it is one on held-out data, in each bin of rows and columns.

    Split conformal, one-sided at every level: the shift is the order statistic of the residuals, in
    the quantile's own units, that makes the level exact for a fresh data set of the bin. A bin of
    few is shifted like all of its number of rows; where these are few too, like that of fewer rows.
    """
    predicted = np.concatenate([predict(network, of.features) for of in held_out])
    unit = np.maximum(units(jnp.asarray(predicted)), np.finfo(np.float32).tiny)
    target = np.concatenate([compress(of.information) for of in held_out])
    size, columns = _bins(held_out)
    residuals = (target[:, None] - predicted[:, MEDIAN, None]) / unit
    shift = np.broadcast_to(np.asarray(UNSHIFTED, np.float32), (*BINS, len(LEVELS))).copy()
    for i in range(BINS[0]):
        shift[i] = shift[max(i - 1, 0)]
        for j in range(BINS[1]):
            mine = (size == i) & (columns == j)
            if mine.sum() < FEWEST:
                mine = size == i
            if mine.sum() < FEWEST:
                continue
            residual = np.sort(residuals[mine], axis=0)
            m = len(residual)
            for k, level in enumerate(LEVELS):
                # Upper levels err upwards, lower ones downwards.
                place = np.ceil((m + 1) * level) if level >= 0.5 else np.floor((m + 1) * level)
                shift[i, j, k] = residual[int(np.clip(place - 1, 0, m - 1)), k]
    return eqx.tree_at(lambda n: n.shift, network, jnp.asarray(shift))


WIDENINGS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
BEYOND = 0.85  # least coverage of a 90 % interval on laws that were never seen


def widened(network: Network, held_out: Sequence[DataSets], unseen: Sequence[DataSets]) -> Network:
    """Calibrate, with the least widening whose intervals also cover laws that were never seen.

    On the held-out data 90 % intervals stay what they are called: what they gain where the heads
    disagree, calibration takes from where they do not. On the unseen laws their coverage is at
    least `BEYOND` by two standard errors, for each bin of rows; where no widening reaches that, it
    is the largest.
    """
    size, _ = _bins(unseen)
    covered = {}
    for widening in WIDENINGS:
        trial = calibrated(_with_widening(network, [widening] * BINS[0]), held_out)
        answers = [expand(predict(trial, of.features, calibrated=True)) for of in unseen]
        covered[widening] = np.concatenate(
            [covers(np.asarray(a), of.information) for a, of in zip(answers, unseen, strict=True)]
        )

    def least(mine):
        slack = 2 * (BEYOND * (1 - BEYOND) / max(mine.sum(), 1)) ** 0.5
        enough = (w for w in WIDENINGS if covered[w][mine].sum() >= (BEYOND + slack) * mine.sum())
        return next(enough, WIDENINGS[-1])

    chosen = [least(size == i) for i in range(BINS[0])]
    return calibrated(_with_widening(network, chosen), held_out)


def with_shared(network: Network, large: DataSets) -> Network:
    """Set `shared` from data sets of several parts: what the errors of their parts share."""
    m, parts, _ = large.features.shape
    single = predict(network, large.features.reshape(m * parts, 1, -1))[:, MEDIAN]
    error = np.asarray(single).reshape(m, parts) - np.asarray(compress(large.information))[:, None]
    squares = np.sum(error**2, 1)
    products = (np.sum(error, 1) ** 2 - squares) / (parts - 1)
    shared = np.clip(np.sum(products) / np.sum(squares), 0, 1)
    return eqx.tree_at(lambda n: n.shared, network, jnp.asarray(shared, jnp.float32))


def _bins(groups: Sequence[DataSets]):
    found = [bins(jnp.asarray(of.features, jnp.float32)) for of in groups]
    return tuple(np.concatenate(part) for part in zip(*found, strict=True))


def _with_widening(network, factors):
    return eqx.tree_at(lambda n: n.widening, network, jnp.asarray(factors, jnp.float32))
