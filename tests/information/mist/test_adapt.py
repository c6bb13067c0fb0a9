"""Training further, on data sets of a user's own kind."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from estimators import information
from estimators.testing import refuses


def draw(key):
    """The information of 100 noisy copies, of noise that the shipped network knows."""
    of_x, of_size = jax.random.split(key)
    x, noise = jax.random.normal(of_x, (2, 100, 1))
    size = jnp.exp(jax.random.uniform(of_size, minval=-1.0, maxval=1.5))
    return x, x + size * noise, 0.5 * jnp.log1p(size**-2)


@pytest.mark.thorough
def test_adapted_to_one_kind_of_law():
    """On 400 fresh data sets: less error than the shipped network, and calibrated.

    Coverage is binomial beside the calibration's own error (250 data sets): 4.5 standard errors
    of both together are .11.
    """
    shipped = information.MIST()
    adapted = information.adapt(shipped, draw, key=jax.random.key(0), data_sets=2000, steps=300)
    x, y, truth = jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(1), 400))
    before, after = (
        jax.jit(lambda x, y, m=m: jax.lax.map(lambda a: m.estimate(*a), (x, y)))(x, y)
        for m in (shipped, adapted)
    )
    errors = [np.mean(np.abs(e.value - truth)) for e in (before, after)]
    assert errors[1] < errors[0]
    lower, upper = jax.vmap(lambda e: e.interval(0.9))(after)
    assert abs(np.mean((lower <= truth) & (truth <= upper)) - 0.9) < 0.11
    assert adapted.network is not shipped.network


def test_refusals():
    mist, key = information.MIST(), jax.random.key(0)
    with refuses("data_sets must be"):
        information.adapt(mist, draw, key=key, data_sets=100)
    with refuses("draw must give an x of shape"):
        information.adapt(mist, lambda k: (jnp.ones((600, 1)), jnp.ones((600, 1)), 0.0), key=key)
    with refuses("at least 32 rows"):
        information.adapt(mist, lambda k: (jnp.ones((10, 1)), jnp.ones((10, 1)), 0.0), key=key)
