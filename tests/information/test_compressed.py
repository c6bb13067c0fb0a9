"""Compression: components by numpy, known information, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.decomposition import PCA

from estimators import information
from estimators.information._compressed import principal_components
from estimators.testing import refuses

pytestmark = pytest.mark.thorough

GAUSSIAN = information.CanonicalCorrelation()


def shared(n, dx, dy, latent=1, seed=0):
    """Columns of x and y that are a few shared numbers, mixed, and noise of variance one."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, latent))
    return tuple(
        jnp.asarray(z @ rng.choice([-1.0, 1.0], (latent, d)) + rng.normal(size=(n, d)))
        for d in (dx, dy)
    )


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("n", "d", "number"), [(60, 5, 2), (20, 50, 3)])
def test_components_against_scikit_learn(n, d, number):
    x = np.random.default_rng(0).gamma(2.0, size=(n, d)) @ np.diag(np.arange(1.0, d + 1))
    scaled = (x - x.mean(0)) / x.std(0)
    theirs = PCA(number, svd_solver="full").fit_transform(scaled)
    theirs = theirs / theirs.std(0)
    ours = np.asarray(principal_components(jnp.asarray(x), number))
    ours = ours * np.sign((ours * theirs).sum(0))
    np.testing.assert_allclose(ours, theirs, atol=1e-8)


def test_many_columns_share_one_number():
    # 39 and 300 columns, each z and noise: their means have noise of variance 1/39 and 1/300,
    # and carry all that x and y share. Within 5 standard errors of a Gaussian pair.
    n, dx, dy = 400, 39, 300
    x, y = shared(n, dx, dy)
    squared = 1 / ((1 + 1 / dx) * (1 + 1 / dy))
    truth = -0.5 * np.log(1 - squared)
    estimate = information.Compressed(GAUSSIAN, 1, 1).estimate(x, y)
    assert abs(float(estimate.value) - truth) < 5 * np.sqrt(squared / n)
    # KSG is at home in one column a side, and sees little of it in 339.
    found = information.Compressed(information.KSG(), 1, 1).estimate(x, y)
    assert abs(float(found.value) - truth) < (truth - float(information.ksg(x, y))) / 4


def test_a_side_of_the_asked_width_stays_as_it_is():
    x, y = shared(100, 2, 7, latent=2)
    spec = information.Compressed(GAUSSIAN, columns_x=2, columns_y=1)
    expected = GAUSSIAN.estimate(x, principal_components(y, 1))
    assert float(spec.estimate(x, y).value) == pytest.approx(float(expected.value), abs=1e-5)


def test_random_projections_stay_below_the_truth():
    # Each is a lower bound. Three projections of a side of ten columns: 20 keys, Gaussian rows,
    # so that the estimate of each bound is unbiased; 5 standard errors.
    x, y = shared(500, 10, 10, latent=2)
    truth = float(GAUSSIAN.estimate(x, y).value)
    spec = information.Compressed(GAUSSIAN, 3, 3, by="random_projection")
    keys = jax.random.split(jax.random.key(0), 20)
    values = np.asarray(jax.lax.map(lambda key: spec.estimate(x, y, key=key).value, keys))
    assert len(np.unique(values)) == 20
    assert (values < truth).all()
    assert values.mean() > 0.05


def test_it_nests_and_compiles():
    x, y = shared(80, 6, 5)
    spec = information.Compressed(information.KSG(), 1, 1)
    interval = information.subsampling_interval(
        x, y, key=jax.random.key(0), estimator=spec, subsamples=39
    )
    assert float(interval.lower) < float(interval.value) < float(interval.upper)
    inside = jax.jit(lambda x, y: spec.estimate(x, y))(x.at[0, 0].set(jnp.nan), y)
    assert np.isnan(inside.value)
    assert int(inside.info.status) == 1


def test_refusals():
    x, y = shared(50, 3, 3)
    with refuses("base must be an estimator"):
        information.Compressed(information.KSG, 1, 1)
    with refuses("base must be an estimator"):
        information.Compressed(information.ksg, 1, 1)
    with refuses("by must be one of"):
        information.Compressed(information.KSG(), 1, 1, by="pca")
    with refuses("y must have at least columns_y = 4 columns"):
        information.Compressed(information.KSG(), 1, 4).estimate(x, y)
    with refuses("key must be a new-style key"):
        information.Compressed(information.KSG(), 1, 1, by="random_projection").estimate(x, y)
    with refuses("key must be left out"):
        information.Compressed(information.KSG(), 1, 1).estimate(x, y, key=jax.random.key(0))


@pytest.mark.parametrize("rows", [100, 6])
def test_components_that_are_rounding_are_refused(rows):
    z, y = jax.random.normal(jax.random.key(0), (2, rows, 1))
    x = jnp.concatenate([z, 2 * z, 3 * z + 1, z, -z, 4 * z, z + 2], 1)
    spec = information.Compressed(information.GaussianCopula(), columns_x=2, columns_y=1)
    with refuses("columns_x must be at most the number of columns that do not depend"):
        spec.estimate(x, y)
    assert np.isnan(jax.jit(information.Compressed.estimate)(spec, x, y).value)
