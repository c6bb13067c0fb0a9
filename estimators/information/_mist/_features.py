"""From two variables of any size to a vector of fixed length, without any parameter."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.scipy.special import digamma
from jaxtyping import Array, Float, Int

from estimators.information._mist._moments import best_columns, moment_features, pair_moments
from estimators.information._mist._prepare import Pair, Part, prepare, ranks
from estimators.information._mist._profiles import kernel_sums, profile_features

TOP = 4  # canonical correlations that the network reads one by one


def features(
    x: Float[Array, "N D"],
    y: Float[Array, "N E"],
    count: Int[Array, ""],
    columns: Int[Array, " 2"],
    rank: Callable = ranks,
) -> Float[Array, " F"]:
    """Features of the first `count` rows and `columns` columns: `(F,)`.

    The first feature is the information of the Gaussian copula, in nats.
    """
    pair = prepare(x, y, count, columns, rank)
    moments, ranks_x, ranks_y = pair_moments(pair, rank)
    normal = _normal_log_ratio(pair)
    sums = kernel_sums(pair.white_x, pair.white_y, pair.columns, pair.real, 12)
    whole = profile_features(sums, normal, pair)

    def of_columns(both):
        x, y = both
        sums = kernel_sums(x, y, jnp.ones(2, jnp.float32), pair.real, 6, 2)
        return profile_features(sums, normal, pair)

    first = pair.canonical_x[:, :1], pair.canonical_y[:, :1]
    best = best_columns(moments, ranks_x, ranks_y)
    columns_of = jax.tree.map(lambda a, b: jnp.stack([a, b]), first, best)
    of_first, of_best = zip(*jax.lax.map(of_columns, columns_of), strict=True)
    parts = [_global(pair, normal), moment_features(moments), whole]
    parts += [Part(*of_first), Part(*of_best)]
    return jnp.concatenate([jnp.concatenate(side) for side in zip(*parts, strict=True)])


# How many of the features belong to x alone, and as many to y; they come last.
OF_ONE = 3 + 9 + 2 * (12 + 6 + 6)


def exchange(features: Float[Array, "*batch F"]) -> Float[Array, "*batch F"]:
    """The features of the data with x and y exchanged."""
    start = features.shape[-1] - 2 * OF_ONE
    shared, of_x, of_y = jnp.split(features, [start, start + OF_ONE], axis=-1)
    return jnp.concatenate([shared, of_y, of_x], -1)


def _normal_log_ratio(pair: Pair) -> Float[Array, " N"]:
    """Pointwise information of each row under the Gaussian copula of these correlations."""
    x, y, r = pair.canonical_x, pair.canonical_y, pair.correlations[None]
    square = r**2
    quadratic = (square * (x**2 + y**2) - 2 * r * x * y) / (1 - square)
    return -0.5 * jnp.sum(jnp.log1p(-square) + quadratic, 1)


def _global(pair: Pair, normal: Float[Array, " N"]) -> Part:
    n, (dx, dy) = pair.count, pair.columns
    correlations = pair.correlations
    plug_in = -0.5 * jnp.sum(jnp.log1p(-(correlations**2)))
    information = plug_in - gaussian_bias(n, dx, dy, correlations.shape[0])
    first = jnp.pad(correlations, (0, max(0, TOP - correlations.shape[0])))[:TOP]
    first = -0.5 * jnp.log1p(-(first**2))
    radii = [jnp.sum(w**2, 1) for w in (pair.white_x, pair.white_y)]
    logs = [jnp.log(r + 1e-6) for r in radii]

    def mean(values):
        return jnp.sum(values * pair.real) / n

    centred = [(v - mean(v)) * pair.real for v in logs]
    variances = [mean(c**2) for c in centred]
    together = mean(centred[0] * centred[1])
    kurtosis = [mean(r**2) / (d * (d + 2)) for r, d in zip(radii, (dx, dy), strict=True)]
    distance = jnp.maximum(radii[0] + radii[1] - 2 * (normal - plug_in), 0)  # Mahalanobis, jointly
    joint = jnp.log(distance + 1e-6)
    joint = (joint - mean(joint)) * pair.real
    off = (normal - mean(normal)) * pair.real
    total = dx + dy
    least = jnp.minimum(dx, dy)
    shared = [
        information,
        jnp.log(n),
        (dx + dy) / n,
        dx * dy / n,
        jnp.log(dx + dy),
        jnp.log(least),
        plug_in,
        jnp.sum(correlations**2),
        together,
        together / jnp.sqrt(variances[0] * variances[1] + 1e-8),
        mean(joint**2),
        jnp.log(mean(distance**2) / (total * (total + 2)) + 1e-6),
        jnp.log(mean(off**2) + 1e-6),
        mean(off * joint) / jnp.sqrt(mean(off**2) * mean(joint**2) + 1e-8),
        mean(jnp.clip(off, -20, 20) ** 3) / (mean(off**2) ** 1.5 + 1e-6),
        mean(radii[0] * radii[1]) / (dx * dy),
        *first,
    ]
    of_x, of_y = (
        jnp.stack([jnp.log(d), v, jnp.log(k)])
        for d, v, k in zip((dx, dy), variances, kurtosis, strict=True)
    )
    return Part(jnp.stack(shared), of_x, of_y)


def gaussian_bias(n, dx, dy, width: int) -> Float[Array, ""]:
    """What the plug-in information of a Gaussian copula has in excess, see `GaussianCopula`."""
    least, most = jnp.minimum(dx, dy), jnp.maximum(dx, dy)
    i = jnp.arange(1, width + 1, dtype=n.dtype)
    halves = [jnp.maximum((n - i) / 2, 0.5), jnp.maximum((n - most - i) / 2, 0.5)]
    terms = digamma(halves[0]) - digamma(halves[1])
    return jnp.sum(jnp.where(i <= least, terms, 0)) / 2
