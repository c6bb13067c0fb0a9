"""Random arrays for rows of the contract: functions of a key and a dtype."""

import jax


def normal(*shape):
    return lambda key, dtype: (jax.random.normal(key, shape, dtype),)


def uniform(*shape):
    return lambda key, dtype: (jax.random.uniform(key, shape, dtype, 0.05, 0.95),)


def pair(*shapes):
    def draw(key, dtype):
        keys = jax.random.split(key, len(shapes))
        return tuple(jax.random.normal(k, s, dtype) for k, s in zip(keys, shapes, strict=True))

    return draw
