"""Maps that can be undone: they are, and the dimensions and derivatives are right."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.stats

from estimators.information import simulate
from estimators.information.simulate._elementwise import ELEMENTWISE, half_cube
from estimators.testing import refuses

pytestmark = pytest.mark.thorough

POINTS = jax.random.normal(jax.random.key(0), (200, 3))
GRID = jnp.linspace(-4, 4, 801)[:, None]


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_maps_increase(name):
    values = np.asarray(simulate.Elementwise(name)(GRID))
    assert (np.diff(values[:, 0]) > 0).all()


def test_half_cube_has_a_derivative_everywhere():
    np.testing.assert_allclose(jax.vmap(jax.grad(half_cube))(jnp.array([-4.0, 0, 4])), [3, 0, 3])


@pytest.mark.usefixtures("x64")
def test_bimodal_against_a_root_finder():
    x = jnp.linspace(-6, 6, 25)[:, None]
    found = np.asarray(simulate.Bimodal(0.3, 0.0, 5.0)(x))[:, 0]
    law = scipy.stats.norm
    for one, t in zip(np.asarray(x)[:, 0], found, strict=True):

        def excess(t, one=one):
            if one < 0:
                return 0.3 * law.cdf(t) + 0.7 * law.cdf(t - 5) - law.cdf(one)
            return law.sf(one) - 0.3 * law.sf(t) - 0.7 * law.sf(t - 5)

        np.testing.assert_allclose(
            t, scipy.optimize.brentq(excess, -10, 20, xtol=1e-13, rtol=1e-14), atol=1e-8
        )


@pytest.mark.usefixtures("x64")
def test_bimodal_has_derivatives_in_everything():
    def value(x, weight, low, high):
        weight, low, high = (jnp.asarray(a) for a in (weight, low, high))
        return simulate.Bimodal(weight, low, high)(jnp.asarray(x))

    x = jnp.array([[-2.0], [0.1], [2.5]])
    jax.test_util.check_grads(value, (x, 0.4, -1.0, 2.0), order=1, atol=1e-5, rtol=1e-5)


def test_bimodal_tails_in_float32():
    t = simulate.Bimodal(0.5, -1.0, 3.0)(jnp.array([[-9.0], [9.0]]))
    # Far out one component is all there is: log Phi(t - low) = log Phi(x) - log weight.
    np.testing.assert_allclose(t[:, 0], [-9.925, 11.925], atol=2e-3)


def test_spiral():
    spiral = simulate.Spiral(0.7, plane=(1, 2))
    turned = spiral(POINTS)
    np.testing.assert_allclose(jnp.sum(turned**2, 1), jnp.sum(POINTS**2, 1), rtol=1e-5)
    np.testing.assert_allclose(
        simulate.Spiral(-0.7, plane=(1, 2))(turned), POINTS, rtol=1e-4, atol=1e-5
    )
    np.testing.assert_array_equal(turned[:, 0], POINTS[:, 0])
    volume = jnp.linalg.det(jax.vmap(jax.jacfwd(lambda x: spiral(x[None])[0]))(POINTS[:20]))
    np.testing.assert_allclose(volume, 1, rtol=1e-4)


def test_swiss_roll_can_be_read():
    u = jnp.linspace(0, 1, 50)[:, None]
    radius = 21 * np.linalg.norm(simulate.SwissRoll()(u), axis=1)
    np.testing.assert_allclose((radius / (1.5 * np.pi) - 1) / 2, u[:, 0], atol=1e-5)


def test_wave_and_affine_are_undone():
    there = simulate.Wave(5.0, 3.0)(POINTS)
    np.testing.assert_allclose(simulate.Wave(-5.0, 3.0)(there), POINTS, atol=1e-5)
    matrix, offset = jnp.eye(3) + 0.3, jnp.arange(3.0)
    there = simulate.Affine(matrix, offset)(POINTS)
    inverse = jnp.linalg.inv(matrix)
    back = simulate.Affine(inverse, -inverse @ offset)(there)
    np.testing.assert_allclose(back, POINTS, atol=1e-5)


@pytest.mark.parametrize("dimension", [1, 4])
def test_random_flows_are_undone(dimension):
    @jax.jit
    def worst(key):
        of_flow, of_points = jax.random.split(key)
        flow = simulate.random_flow(of_flow, dimension)
        points = jax.random.normal(of_points, (300, dimension))
        there = flow(points)
        return jnp.max(jnp.abs(flow.inverse(there) - points)), jnp.std(there - points)

    keys = jax.random.split(jax.random.key(1), 20)
    errors, changes = jax.vmap(worst)(keys)
    assert errors.max() < 1e-3
    assert changes.min() > 0.1  # and they do something


@pytest.mark.usefixtures("x64")
def test_a_flow_in_float64_is_undone_exactly():
    flow = simulate.random_flow(jax.random.key(0), 4)
    points = jax.random.normal(jax.random.key(1), (100, 4))
    np.testing.assert_allclose(flow.inverse(flow(points)), points, atol=1e-11)
    single = points.astype(jnp.float32)
    assert flow(single).dtype == jnp.float32


def test_a_flow_of_strength_zero_is_a_rotation():
    flow = simulate.random_flow(jax.random.key(0), 3, strength=0.0)
    there = flow(POINTS)
    np.testing.assert_allclose(there @ there.T, POINTS @ POINTS.T, atol=1e-4)


def test_transformed():
    base = simulate.Normal(simulate.dense_correlation(1, 2, correlation=0.3), dx=1)
    of_x = (simulate.Elementwise("normal_cdf"), simulate.SwissRoll())
    law = simulate.Transformed(base, of_x=of_x, of_y=simulate.Spiral(1.0))
    assert law.dimensions == (2, 2)
    key = jax.random.key(4)
    x, y = law.sample(key, 30)
    before, after = base.sample(key, 30)
    np.testing.assert_allclose(x, of_x[1](of_x[0](before)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(y, simulate.Spiral(1.0)(after), rtol=1e-5, atol=1e-6)
    assert float(law.mutual_information) == float(base.mutual_information)


def test_refuses():
    base = simulate.Normal(simulate.dense_correlation(1, 1), dx=1)
    with refuses(r"Spiral in the plane \(0, 1\) does not fit 1 columns"):
        simulate.Transformed(base, of_x=simulate.Spiral(1.0))
    with refuses("SwissRoll takes one column; got 2"):
        simulate.Transformed(base, of_y=(simulate.SwissRoll(), simulate.SwissRoll()))
    with refuses("of_x must be a Transformation"):
        simulate.Transformed(base, of_x=jnp.tanh)
    with refuses("name must be one of 'asinh'"):
        simulate.Elementwise("cube")
    with refuses("weight must lie strictly between 0 and 1"):
        simulate.Bimodal(1.0, 0.0, 1.0)
    with refuses("Flow of 2 columns does not fit 1 columns"):
        simulate.Transformed(base, of_x=simulate.random_flow(jax.random.key(0), 2))
    with refuses("plane must be two different columns"):
        simulate.Spiral(1.0, plane=(1, 1))
