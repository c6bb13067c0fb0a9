"""Laws that no network is trained on, and no benchmark has.

A choice that must hold for laws unlike the training's is made on these, so that the benchmarks
are left to report.
"""

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln

from estimators.information._mist._draw import Draw, live, log_uniform, put
from estimators.information._mist._laws import MONTE_CARLO


def curve(key, rows: int, width: int, dx, dy) -> Draw:
    """Noise about a closed curve: one column of x and of y on a Lissajous figure."""
    keys = jax.random.split(key, 6)
    sigma = log_uniform(keys[0], 0.03, 0.5)
    turns = jax.random.randint(keys[1], (2,), 1, 4).astype(float)
    start = jax.random.uniform(keys[2], maxval=2 * jnp.pi)
    nodes = jnp.arange(256) * (2 * jnp.pi / 256)

    def place(angle):
        return jnp.stack([jnp.sin(turns[0] * angle), jnp.sin(turns[1] * angle + start)], -1)

    total = rows + MONTE_CARLO
    angle = nodes[jax.random.randint(keys[3], (total,), 0, 256)]
    points = place(angle) + sigma * jax.random.normal(keys[4], (total, 2))
    fresh = points[:MONTE_CARLO]
    squares = (fresh[:, None] - place(nodes)[None]) ** 2 / (-2 * sigma**2)
    joint, one, two = (
        jax.nn.logsumexp(s, axis=1) - jnp.log(256.0)
        for s in (squares.sum(-1), squares[..., 0], squares[..., 1])
    )
    return _beside(
        keys[5], rows, width, (dx, dy), points[MONTE_CARLO:], jnp.mean(joint - one - two)
    )


def checkerboard(key, rows: int, width: int, dx, dy) -> Draw:
    """Uniform on every k-th cell of a board: the information is log k."""
    keys = jax.random.split(key, 6)
    kinds = jax.random.randint(keys[0], (), 2, 5)
    cells = kinds * jax.random.randint(keys[1], (), 1, 3)
    row = jax.random.randint(keys[2], (rows,), 0, cells)
    other = jax.random.randint(keys[3], (rows,), 0, cells // kinds) * kinds + row % kinds
    inside = jax.random.uniform(keys[4], (rows, 2))
    points = jnp.stack([row, other], -1) + inside
    return _beside(keys[5], rows, width, (dx, dy), points, jnp.log(kinds.astype(float)))


def product(key, rows: int, width: int, dx, dy) -> Draw:
    """Y is the product of two columns of x and noise: no pair of columns is correlated."""
    keys = jax.random.split(key, 6)
    sigma = log_uniform(keys[0], 0.1, 2.0)
    total = rows + 1024
    x = jax.random.normal(keys[1], (total, 2))
    x = jnp.where((jnp.arange(2) < dx)[None], x, 1.0)
    single = dx < 2  # then a square
    mean = jnp.where(single, x[:, 0] ** 2 / 2**0.5, x[:, 0] * x[:, 1])
    y = mean + sigma * jax.random.normal(keys[2], (total,))
    logs = -((y[:1024, None] - mean[None, :1024]) ** 2) / (2 * sigma**2)
    among = jax.nn.logsumexp(logs, axis=1) - jnp.log(1024.0)
    information = jnp.mean(jnp.diagonal(logs) - among)
    side_x, side_y = jax.random.normal(keys[3], (2, rows, width))
    side_x = put(side_x, x[1024:], jnp.minimum(dx, 2))
    side_y = put(side_y, y[1024:, None], 1)
    return Draw(side_x * live(dx, width)[None], side_y * live(dy, width)[None], information)


def frailty(key, rows: int, width: int, dx, dy) -> Draw:
    """Exponential times that share a gamma frailty (the Clayton copula of many columns)."""
    keys = jax.random.split(key, 4)
    shape = log_uniform(keys[0], 0.3, 5.0)
    total = rows + MONTE_CARLO
    times = jax.random.exponential(keys[1], (total, 2 * width))
    times = times / jax.random.gamma(keys[2], shape, (total, 1))
    fresh = times[:MONTE_CARLO]
    used_x, used_y = live(dx, width), live(dy, width)

    def log_density(used):
        d = used.sum()
        constant = gammaln(shape + d) - gammaln(shape)
        return constant - (shape + d) * jnp.log1p(jnp.sum(fresh * used[None], 1))

    both = jnp.concatenate([used_x, used_y])
    nothing = jnp.zeros(width)
    ratio = log_density(both)
    ratio -= log_density(jnp.concatenate([used_x, nothing]))
    ratio -= log_density(jnp.concatenate([nothing, used_y]))
    logs = jnp.log(times[MONTE_CARLO:])
    x, y = logs[:, :width] * used_x[None], logs[:, width:] * used_y[None]
    return Draw(x, y, jnp.maximum(jnp.mean(ratio), 0))


def _beside(key, rows, width, columns, points, information) -> Draw:
    """A pair of columns beside noise."""
    x, y = jax.random.normal(key, (2, rows, width))
    x, y = put(x, points[:, :1], 1), put(y, points[:, 1:], 1)
    x, y = x * live(columns[0], width)[None], y * live(columns[1], width)[None]
    return Draw(x, y, jnp.maximum(information, 0))


UNSEEN = (curve, checkerboard, product, frailty)
