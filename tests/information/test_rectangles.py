"""Algorithm 2 of KSG against numpy, deletion, and the truth."""

import counts_by_hand
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import LAWS

from estimators import information
from estimators.information._neighbours import _rectangles
from estimators.testing import refuses

pytestmark = pytest.mark.thorough


def data(digits, n=36):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 2))
    y = x[:, :1] + rng.normal(size=(n, 1))
    return (x, y) if digits is None else (np.round(x, digits), np.round(y, digits))


@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("digits", [None, 1, 0])
def test_value_and_standard_error_by_hand(k, digits, x64):
    x, y = data(digits)
    expected = counts_by_hand.rectangles(x, y, k)
    by_deletion = counts_by_hand.jackknife(lambda x, y: counts_by_hand.rectangles(x, y, k), x, y)
    x, y = jnp.asarray(x), jnp.asarray(y)
    assert abs(float(_rectangles.rectangle_value(x, y, k)) - expected) < 1e-12
    value, error = jax.jit(_rectangles.rectangle_jackknife, static_argnums=2)(x, y, k)
    assert abs(float(value) - expected) < 1e-12
    by_deletion = counts_by_hand.jackknife(lambda x, y: counts_by_hand.rectangles(x, y, k), x, y)
    np.testing.assert_allclose(error, by_deletion, rtol=1e-10)


def test_the_public_functions_agree():
    x, y = data(None)
    x, y = np.float32(x), np.float32(y)
    estimate = information.KSG(neighbours=4, algorithm=2).estimate(x, y)
    value = information.ksg(x, y, neighbours=4, algorithm=2)
    assert abs(float(value - estimate.value)) < 1e-6
    assert float(value) != float(information.ksg(x, y, neighbours=4))
    with refuses("algorithm must be 1 or 2; got 3"):
        information.KSG(algorithm=3)
    with refuses("algorithm must be 1 or 2; got '1'"):
        information.ksg(x, y, algorithm="1")


@pytest.mark.parametrize("name", ["normal 1x1, rho = 0", "normal 1x1, rho = 0.75"])
def test_finds_the_truth(name):
    # Mean of 20 data sets of 400 within .03 (bias) and 5 standard errors: false alarm < 1e-5.
    truth, sample = LAWS[name]
    keys = jax.random.split(jax.random.key(0), 20)
    values = jax.lax.map(lambda key: information.ksg(*sample(key, 400), algorithm=2), keys)
    assert abs(values.mean() - truth) < 0.03 + 5 * jnp.std(values) / np.sqrt(20)
