"""The network: from features to quantiles of the information, which cannot cross."""

import bisect

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from estimators._core import Stored
from estimators.information._mist._features import exchange

# Quantile levels that the network answers with; the median is the value.
LEVELS = (
    0.01, 0.025, 0.05, 0.1, 0.175, 0.25, 0.325, 0.4, 0.5,
    0.6, 0.675, 0.75, 0.825, 0.9, 0.95, 0.975, 0.99,
)  # fmt: skip
MEDIAN = LEVELS.index(0.5)
UNIT = 0.15  # nats below which the network thinks in nats, above in their logarithm
FAR = 6.0  # standardised features are cut off here
ON_THE_LIMIT = 1e-3  # of standardised features


def compress(information):
    """Nats to the scale on which the network works: linear near zero, then logarithmic."""
    return jnp.sign(information) * jnp.log1p(jnp.abs(information) / UNIT)


def expand(value):
    """The inverse of `compress`; below zero it gives zero."""
    return UNIT * jnp.expm1(jnp.maximum(value, 0))


class Scaling(Stored):
    """Centre and scale of each feature over the training data."""

    centre: Float[Array, " F"]
    scale: Float[Array, " F"]

    def __call__(self, features: Float[Array, " F"]) -> Float[Array, " F"]:
        """Standardised features, cut off where they are far out."""
        standard = (features - self.centre) / self.scale
        return FAR * jnp.tanh(standard / FAR)


class Head(Stored):
    """A residual network on the features, and a linear path beside it."""

    entry: eqx.nn.Linear
    blocks: tuple[tuple[eqx.nn.Linear, eqx.nn.Linear], ...]
    leave: eqx.nn.Linear
    linear: eqx.nn.Linear

    @classmethod
    def random(cls, key: Key[Array, ""], features: int, width: int, depth: int) -> "Head":
        """A head to start from: nearly the Gaussian copula's answer, whatever the features."""
        keys = jax.random.split(key, 2 * depth + 3)
        inner = [eqx.nn.Linear(width, width, key=k) for k in keys[3:]]
        leave = eqx.nn.Linear(width, len(LEVELS), key=keys[1])
        linear = eqx.nn.Linear(features, 1, key=keys[2])
        return cls(
            eqx.nn.Linear(features, width, key=keys[0]),
            tuple(zip(inner[::2], inner[1::2], strict=True)),
            jax.tree.map(lambda leaf: 0.1 * leaf, leave),
            jax.tree.map(lambda leaf: 0.1 * leaf, linear),
        )

    def __call__(
        self, features: Float[Array, " F"], baseline: Float[Array, ""]
    ) -> Float[Array, " levels"]:
        """Quantiles on the compressed scale, increasing.

        `baseline` is what the Gaussian copula says there: the network learns the difference.
        """
        hidden = jax.nn.gelu(self.entry(features))
        for first, second in self.blocks:
            hidden = hidden + second(jax.nn.gelu(first(hidden)))
        raw = self.leave(jax.nn.gelu(hidden))
        steps = 0.2 * jax.nn.softplus(raw)
        median = baseline + self.linear(features)[0] + raw[MEDIAN]
        above = jnp.cumsum(steps[MEDIAN + 1 :])
        below = jnp.cumsum(steps[:MEDIAN][::-1])[::-1]
        return median + jnp.concatenate([-below, jnp.zeros(1, steps.dtype), above])


class Network(Stored):
    """Several heads, averaged, and what they were trained on.

    Attributes:
        scaling: of the features.
        heads: with a leading axis, one entry a head.
        shift: `(*BINS, levels)`, bins of rows and of columns: where a quantile lies above the
            median of the heads, in its `units`. By split conformal, from data sets that no head
            was trained on.
        limits: `(2, F)`: nearly all of the training features, standardised, lay between.
        shared: the share of the squared error that two parts of one data set have in common:
            what averaging over parts cannot remove.
        widening: by how much quantiles spread where the heads disagree, for each bin of rows.
    """

    scaling: Scaling
    heads: Head
    shift: Float[Array, "sizes columns levels"]
    limits: Float[Array, "2 F"]
    shared: Float[Array, ""]
    widening: Float[Array, " sizes"]

    def __call__(self, parts: Float[Array, "parts F"]) -> Float[Array, " levels"]:
        """Quantiles in nats; x and y exchanged give the same.

        `parts` are features of equal parts of a data set; of a small one there is one part.
        """
        return expand(self.calibrated(parts))

    def calibrated(self, parts: Float[Array, "parts F"]) -> Float[Array, " levels"]:
        """Quantiles on the compressed scale."""
        quantiles = self.compressed(parts)
        moved = self.shift[bins(parts)] * units(quantiles)
        return jax.lax.cummax(quantiles[MEDIAN] + moved)

    def compressed(self, parts: Float[Array, "parts F"]) -> Float[Array, " levels"]:
        """Quantiles on the compressed scale, not yet calibrated.

        Those of several parts are averaged on this scale, where they may lie below zero: in nats,
        where they may not, the average of independent data would lie above zero.
        """
        widening = self.widening[bins(parts)[0]]
        mean = jnp.mean(jax.vmap(lambda part: self._of_part(part, widening))(parts), 0)
        # What averaging removes of the error makes the quantiles narrower.
        kept = jnp.sqrt(self.shared + (1 - self.shared) / parts.shape[0])
        return mean[MEDIAN] + kept * (mean - mean[MEDIAN])

    def _of_part(self, features, widening):
        both = jax.vmap(self.scaling)(jnp.stack([features, exchange(features)]))
        baseline = compress(features[0])

        def one(head):
            return jnp.mean(jax.vmap(head, (0, None))(both, baseline), 0)

        answers = eqx.filter_vmap(one)(self.heads)
        quantiles = jnp.mean(answers, 0)
        # Heads that saw the same laws disagree most on data unlike them all: their variance joins
        # that of the quantiles, as if all were normal.
        apart = widening * jnp.sqrt(jnp.var(answers[:, MEDIAN]) + 1e-12)
        median = quantiles[MEDIAN]
        normal = jax.scipy.special.ndtri(jnp.asarray(LEVELS, median.dtype))
        # Beside the median: a root has no derivative at zero.
        away = jnp.arange(len(LEVELS)) != MEDIAN
        side = jnp.where(away, quantiles - median, 1)
        wide = jnp.sign(normal) * jnp.hypot(side, apart * normal)
        return median + jnp.where(away, wide, 0)

    def outside(self, features: Float[Array, " F"]) -> Float[Array, ""]:
        """The fraction of features that lie beyond what training saw."""
        standard = (features - self.scaling.centre) / self.scaling.scale
        # A feature of few values lies on its limit, where rounding must not decide.
        low, high = self.limits[0] - ON_THE_LIMIT, self.limits[1] + ON_THE_LIMIT
        beyond = (standard < low) | (standard > high)
        return jnp.mean(beyond.astype(features.dtype))


UNSHIFTED = tuple(float(np.sign(level - 0.5)) for level in LEVELS)


def units(quantiles: Float[Array, "*batch levels"]) -> Float[Array, "*batch levels"]:
    """The distance of each quantile from the median, which calibration stretches; 1 for itself.

    Where nothing is in doubt a quantile so moves by little.
    """
    apart = jnp.abs(quantiles - quantiles[..., MEDIAN, None])
    return apart.at[..., MEDIAN].set(1)


def covers(quantiles: Float[np.ndarray, "m levels"], information: Float[np.ndarray, " m"]):
    """Whether the interval of 90 % of each row of quantiles, in nats, holds its information."""
    low, high = (quantiles[:, LEVELS.index(level)] for level in (0.05, 0.95))
    return (low <= information) & (information <= high)


SIZES = (48, 96, 192, 384)  # rows of data sets of one part
PARTS = (2, 3, 5)
COLUMNS = (3, 6, 12)
BINS = (len(SIZES) + 1 + len(PARTS), len(COLUMNS) + 1)


def bins(parts: Float[Array, "*batch parts F"]):
    """Which calibration bin: of the number of rows, or of parts, and of columns together."""
    size = jnp.exp(parts[..., 0, LOG_SIZE])
    columns = jnp.exp(parts[..., 0, LOG_COLUMNS])
    of_one = jnp.searchsorted(jnp.asarray(SIZES, size.dtype), size, side="right")
    more = bisect.bisect_right(PARTS, parts.shape[-2])
    return (
        jnp.full_like(of_one, len(SIZES) + more) if more else of_one,
        jnp.searchsorted(jnp.asarray(COLUMNS, size.dtype) + 0.5, columns),
    )


# Where the features hold log n and log(dx + dy), see `_features`.
LOG_SIZE, LOG_COLUMNS = 1, 4
