"""Training data: a random law, disguised by maps that leave its information unchanged."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from estimators.information._mist._draw import Draw, live, log_uniform
from estimators.information._mist._laws import LAWS, normal

# How often each law is drawn: elliptical, additive, mixture, regression, copulas, grid.
SHARES = (0.31, 0.08, 0.18, 0.14, 0.13, 0.16)
INDEPENDENT, STACKED, EMBEDDED = 0.07, 0.25, 0.15
# Normal laws that nothing hides are frequent in use, and rare among the disguised ones.
PLAIN = 0.15


class DataSet(NamedTuple):
    """A simulated data set, filled up with zeros, and its information in nats."""

    x: Float[Array, "rows width"]
    y: Float[Array, "rows width"]
    count: Int[Array, ""]
    columns: Int[Array, " 2"]
    information: Float[Array, ""]
    law: Int[Array, ""]


def draw(
    key: Key[Array, ""],
    rows: int,
    width: int,
    *,
    laws: tuple[Callable, ...] = LAWS,
    shares: tuple[float, ...] = SHARES,
    plain: float = PLAIN,
) -> DataSet:
    """One data set of `rows / 2` to `rows` rows and up to `width` columns a side.

    A share `plain` of them is of a normal law, which is mixed and no more; its number is that
    after the last of `laws`.
    """
    # `_disguised` splits this key into twelve: these are two others.
    of_kind, of_plain = (jax.random.fold_in(key, i) for i in (12, 13))
    return jax.lax.cond(
        jax.random.bernoulli(of_kind, plain),
        lambda: _plain(of_plain, rows, width, len(laws)),
        lambda: _disguised(key, rows, width, laws, shares),
    )


def _plain(key, rows, width, law) -> DataSet:
    keys = jax.random.split(key, 5)
    columns = _columns(keys[0], width)
    x, y, information = normal(keys[1], rows, width, *columns)
    x, y = _mix(keys[2], x, columns[0]), _mix(keys[3], y, columns[1])
    return DataSet(x, y, _count(keys[4], rows, columns), columns, information, jnp.asarray(law))


def _disguised(key, rows, width, laws, shares) -> DataSet:
    keys = jax.random.split(key, 12)
    columns = _columns(keys[0], width)
    fewer = jax.random.randint(keys[9], (2,), 1, jnp.maximum(columns, 2))
    latent = jnp.where(jax.random.bernoulli(keys[10], EMBEDDED, (2,)), fewer, columns)
    law = jax.random.choice(keys[2], len(laws), p=jnp.array(shares))
    data = _stacked(keys[3], rows, width, latent, law, laws, shares)
    alone = jax.random.uniform(keys[4]) < INDEPENDENT
    shuffled = jax.random.permutation(keys[5], data.y)
    x, y = data.x, jnp.where(alone, shuffled, data.y)
    information = jnp.where(alone, 0, data.information)
    of_x, of_y = jax.random.split(keys[11])
    x, y = embed(of_x, x, latent[0], columns[0]), embed(of_y, y, latent[1], columns[1])
    x, y = disguise(keys[6], x, columns[0]), disguise(keys[7], y, columns[1])
    swap = jax.random.bernoulli(keys[8])
    x, y = jnp.where(swap, y, x), jnp.where(swap, x, y)
    count = _count(keys[1], rows, columns)
    columns = jnp.where(swap, columns[::-1], columns)
    return DataSet(x, y, count, columns, information, law)


def _count(key, rows, columns):
    """Half of the rows at least, and 1.5 a column."""
    least = jnp.maximum(rows // 2 + 1, (1.5 * jnp.sum(columns)).astype(jnp.int32))
    return jax.random.randint(key, (), jnp.minimum(least, rows), rows + 1)


def _columns(key, width):
    """Numbers of columns; small ones are more frequent, equal ones too."""
    keys = jax.random.split(key, 3)
    dx, dy = jnp.ceil(log_uniform(keys[0], 0.6, float(width), (2,))).astype(jnp.int32)
    dx, dy = jnp.clip(dx, 1, width), jnp.clip(dy, 1, width)
    dy = jnp.where(jax.random.uniform(keys[1]) < 0.5, dx, dy)
    return jnp.stack([dx, dy])


def _stacked(key, rows, width, columns, law, laws, shares) -> Draw:
    """One law, or two independent ones side by side: their information adds."""
    keys = jax.random.split(key, 5)

    def one(key, law, columns):
        calls = [lambda k, a, b, f=f: f(k, rows, width, a, b) for f in laws]
        return jax.lax.switch(law, calls, key, columns[0], columns[1])

    if width == 1:
        return one(keys[0], law, columns)
    both = (jax.random.uniform(keys[1]) < STACKED) & (jnp.min(columns) > 1)
    cut = jax.random.randint(keys[2], (2,), 1, jnp.maximum(columns, 2))
    first = one(keys[0], law, jnp.where(both, cut, columns))
    other = jax.random.choice(keys[3], len(laws), p=jnp.array(shares))

    def stack():
        second = one(keys[4], other, columns - cut)
        x = first.x + jnp.roll(second.x, cut[0], axis=1)
        y = first.y + jnp.roll(second.y, cut[1], axis=1)
        return Draw(x, y, first.information + second.information)

    return jax.lax.cond(both, stack, lambda: first)


def embed(key, side, latent, columns):
    """All columns as random sums of cosines of the first `latent` ones, where these are fewer.

    Curves in more dimensions cross only on a set of probability zero: the map can be undone, and
    the information stays.
    """
    width = side.shape[1]
    keys = jax.random.split(key, 3)
    size = jnp.sqrt(jnp.mean(jnp.minimum(side**2, 25.0), 0, keepdims=True)) + 1e-6
    standard = 2 * jnp.arctan(side / (2 * size)) * live(latent, width)[None]
    frequency = log_uniform(keys[0], 0.4, 2.5) / jnp.sqrt(latent.astype(side.dtype))
    directions = frequency * jax.random.normal(keys[1], (4, width, width))
    start = jax.random.uniform(keys[2], (4, 1, width), maxval=2 * jnp.pi)
    values = jnp.sum(jnp.cos(jnp.einsum("nc,wcd->wnd", standard, directions) + start), 0)
    return jnp.where(latent < columns, values * live(columns, width)[None], side)


def disguise(key, side, columns):
    """Invertible maps of the columns in use: bent, mixed, and some twisted or sheared."""
    width = side.shape[1]
    if width == 1:
        return side
    keys = jax.random.split(key, 10)
    used = live(columns, width)[None]

    def perhaps(key, probability, mapped, plain):
        return jnp.where(jax.random.uniform(key) < probability, mapped, plain)

    side = perhaps(keys[0], 0.5, _bend(keys[1], side), side)
    side = perhaps(keys[2], 0.65, _mix(keys[3], side, columns), side)
    size = jnp.sqrt(jnp.mean(jnp.minimum(side**2, 25.0), 0, keepdims=True)) + 1e-6
    standard = side / size
    twisted = jax.lax.switch(
        jax.random.randint(keys[4], (), 0, 3), (_twist, _shear, _couple), keys[5], standard
    )
    twisted = perhaps(keys[6], 0.5, _mix(keys[7], twisted, columns), twisted)
    twist = (jax.random.uniform(keys[8]) < 0.35) & (columns > 1)
    return jnp.where(twist, twisted, side) * used


def _bend(key, side):
    """An increasing map of each column: heavier tails, lighter ones, or skewed."""
    keys = jax.random.split(key, 2)
    width = side.shape[1]
    power = jnp.exp(0.5 * jax.random.normal(keys[0], (1, width)))
    shift = 0.5 * jax.random.normal(keys[1], (1, width))
    return jnp.sinh(jnp.clip(power * jnp.arcsinh(side) + shift, -15, 15))


def _mix(key, side, columns):
    """An invertible matrix on the columns in use."""
    keys = jax.random.split(key, 2)
    width = side.shape[1]
    used = live(columns, width)
    both = used[:, None] * used[None]
    matrix = jax.random.normal(keys[0], (width, width)) * both + jnp.diag(1 - used)
    rotation, _ = jnp.linalg.qr(matrix)
    stretch = jnp.exp(0.4 * jax.random.normal(keys[1], (1, width)))
    return (side * stretch) @ rotation


def _twist(key, side):
    """Turn the first two columns by an angle that grows with the squared radius."""
    speed = jax.random.uniform(key, minval=-1.2, maxval=1.2)
    angle = speed * jnp.minimum(jnp.sum(side**2, 1), 30.0)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    first = cos * side[:, 0] - sin * side[:, 1]
    second = sin * side[:, 0] + cos * side[:, 1]
    return side.at[:, 0].set(first).at[:, 1].set(second)


def _shear(key, side):
    """Move the first column by a function of the second, bowed or stepped."""
    keys = jax.random.split(key, 3)
    size = jax.random.uniform(keys[0], minval=-2.0, maxval=2.0)
    other = side[:, 1]
    bowed = jnp.minimum(other**2, 16.0)
    stepped = 2 * jnp.tanh(jax.random.uniform(keys[1], minval=1.0, maxval=4.0) * other)
    moved = jnp.where(jax.random.bernoulli(keys[2]), bowed, stepped)
    return side.at[:, 0].add(size * moved)


def _couple(key, side):
    """Move the first column by a random sum of cosines of the second."""
    keys = jax.random.split(key, 5)
    frequency = log_uniform(keys[0], 0.5, 6.0) * jax.random.normal(keys[1], (4,))
    start = jax.random.uniform(keys[2], (4,), maxval=2 * jnp.pi)
    size = log_uniform(keys[3], 0.2, 2.0) * jax.random.normal(keys[4], (4,))
    cosines = jnp.cos(side[:, 1:2] * frequency[None] + start[None])
    return side.at[:, 0].add(cosines @ size)
