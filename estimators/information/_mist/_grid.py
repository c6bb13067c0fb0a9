"""A law of densities on a grid: no formula, and yet an information that is known."""

import jax
import jax.numpy as jnp

from estimators.information._mist._draw import Draw, live, log_uniform, put

CELLS = 64  # of a side: on a line, or 8 by 8 in a plane
TERMS = 6


def grid(key, rows: int, width: int, dx, dy) -> Draw:
    """Random densities, constant on the cells of a grid: smooth, in patches, or along curves.

    Their logarithm is a random sum of cosines, or a function of it that is high where the sum
    exceeds a level, or is near it. Cells are products of a cell of x and one of y, so that the
    information is a finite sum.
    """
    keys = jax.random.split(key, 14)
    planes = jax.random.bernoulli(keys[0], 0.35, (2,)) & (jnp.stack([dx, dy]) > 1)
    side = round(CELLS**0.5)

    def middles(plane):
        """Where the cells of a side lie, in [-1, 1]: on a line, or in a plane."""
        index = jnp.arange(CELLS)
        on_line = jnp.stack([(2 * index + 1) / CELLS - 1, jnp.zeros(CELLS)], 1)
        in_plane = (2 * jnp.stack([index // side, index % side], 1) + 1) / side - 1
        return jnp.where(plane, in_plane, on_line)

    places = [middles(plane) for plane in planes]
    fastest = jnp.where(planes.any(), 2.5, 6.0)
    frequency = log_uniform(keys[1], 0.7, 1.0) * fastest ** jax.random.uniform(keys[2])
    directions = frequency * jax.random.normal(keys[3], (2, 2, TERMS)) * 1.5
    start = jax.random.uniform(keys[4], (TERMS,), maxval=2 * jnp.pi)
    sizes = jax.random.normal(keys[5], (TERMS,))
    angle_x, angle_y = places[0] @ directions[0] + start[None], places[1] @ directions[1]
    field = (jnp.cos(angle_x) * sizes[None]) @ jnp.cos(angle_y).T
    field -= (jnp.sin(angle_x) * sizes[None]) @ jnp.sin(angle_y).T
    field = (field - jnp.mean(field)) / (jnp.std(field) + 1e-6)
    level = jax.random.uniform(keys[6], minval=-1.0, maxval=1.0)
    smooth = log_uniform(keys[7], 0.3, 4.0) * field
    patches = log_uniform(keys[8], 0.5, 8.0) * jax.nn.sigmoid(8 * (field - level))
    curves = -0.5 * ((field - level) / log_uniform(keys[9], 0.06, 0.8)) ** 2
    kind = jax.random.choice(keys[10], 3, p=jnp.array([0.25, 0.3, 0.45]))
    cells = jax.nn.softmax(jnp.stack([smooth, patches, curves])[kind].ravel())
    evenly = log_uniform(keys[11], 0.001, 0.6)
    cells = (1 - evenly) * cells + evenly / CELLS**2
    table = cells.reshape(CELLS, CELLS)
    margins = jnp.sum(table, 1, keepdims=True) * jnp.sum(table, 0, keepdims=True)
    information = jnp.maximum(jnp.sum(table * jnp.log(table / margins)), 0)

    uniform = jax.random.uniform(keys[12], (rows,))
    chosen = jnp.clip(jnp.searchsorted(jnp.cumsum(cells), uniform), 0, CELLS**2 - 1)
    of_x, of_y, of_rest = jax.random.split(keys[13], 3)
    rest = jax.random.normal(of_rest, (2, rows, width))

    def placed(key, which, index):
        half = jnp.where(planes[which], 1 / side, jnp.array([1 / CELLS, 1.0]))
        within = half[None] * jax.random.uniform(key, (rows, 2), minval=-1.0)
        points = put(rest[which], places[which][index] + within, 1 + planes[which])
        return points * live((dx, dy)[which], width)[None]

    x, y = placed(of_x, 0, chosen // CELLS), placed(of_y, 1, chosen % CELLS)
    return Draw(x, y, information)
