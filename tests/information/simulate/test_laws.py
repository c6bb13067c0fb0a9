"""Laws against scipy's entropies, quadrature, and the densities of their own samples."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from estimators import information
from estimators.data._mixture import MixtureTruth
from estimators.information import simulate
from estimators.information.simulate._additive_uniform import additive_uniform_information
from estimators.information.simulate._student import student_correction
from estimators.testing import refuses

KEY = jax.random.key(0)
ROOT = np.random.default_rng(3).normal(size=(5, 5))
COVARIANCE = ROOT @ ROOT.T / 5 + 0.2 * np.eye(5)

WEIGHTS = np.array([0.5, 0.3, 0.2])
MEANS = np.array([[0.0, 0.0, 0.0], [2.0, -1.0, 1.0], [-1.0, 2.0, 2.0]])
COVARIANCES = np.array([np.diag([1.0, 0.3, 0.5]), COVARIANCE[:3, :3], COVARIANCE[2:, 2:]])


def gaussian(covariance, degrees=None):
    d = len(covariance)
    if degrees is None:
        return scipy.stats.multivariate_normal(np.zeros(d), covariance)
    return scipy.stats.multivariate_t(np.zeros(d), covariance, df=degrees)


def log_ratio(law, x, y):
    """log p(x, y) / p(x) p(y) by scipy, from the law's parameters."""
    dx = law.dx
    rows = np.hstack([x, y]).astype(float)
    if isinstance(law, simulate.Mixture):
        truth = MixtureTruth(*(np.asarray(a, float) for a in (law.weights, law.means)),
                             np.asarray(law.covariances, float))  # fmt: skip
        d = rows.shape[1]
        parts = truth, truth.marginal(list(range(dx))), truth.marginal(list(range(dx, d)))
        joint, of_x, of_y = (
            part.log_density(columns)
            for part, columns in zip(parts, (rows, rows[:, :dx], rows[:, dx:]), strict=True)
        )
        return joint - of_x - of_y
    student = isinstance(law, simulate.Student)
    matrix = np.asarray(law.dispersion if student else law.covariance, float)
    degrees = float(law.degrees) if student else None
    joint = gaussian(matrix, degrees).logpdf(rows)
    of_x = gaussian(matrix[:dx, :dx], degrees).logpdf(rows[:, :dx])
    return joint - of_x - gaussian(matrix[dx:, dx:], degrees).logpdf(rows[:, dx:])


LAWS = {
    "normal": simulate.Normal(COVARIANCE.astype(np.float32), dx=2),
    "student": simulate.Student(COVARIANCE.astype(np.float32), 2.5, dx=3),
    "mixture": simulate.Mixture(
        *(a.astype(np.float32) for a in (WEIGHTS, MEANS, COVARIANCES)), dx=2
    ),
}


@pytest.mark.parametrize("name", LAWS)
def test_information_is_the_mean_log_ratio_of_the_samples(name):
    # Within 4 standard errors: false alarm 6e-5 a law. It ties what is drawn to what is known.
    law = LAWS[name]
    x, y = law.sample(KEY, 20_000)
    assert (x.shape[1], y.shape[1]) == law.dimensions
    ratio = log_ratio(law, x, y)
    error = np.hypot(ratio.std() / np.sqrt(20_000), law.standard_error)
    assert error < 0.05 * law.mutual_information
    assert abs(ratio.mean() - float(law.mutual_information)) < 4 * error


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("degrees", [None, 0.7, 3.0, 40.0])
def test_against_entropies_of_scipy(degrees):
    entropies = [
        gaussian(block, degrees).entropy()
        for block in (COVARIANCE[:2, :2], COVARIANCE[2:, 2:], COVARIANCE)
    ]
    if degrees is None:
        law = simulate.Normal(COVARIANCE, dx=2)
    else:
        law = simulate.Student(COVARIANCE, degrees, dx=2)
    truth = entropies[0] + entropies[1] - entropies[2]
    np.testing.assert_allclose(float(law.mutual_information), truth, rtol=1e-9)
    assert law.mutual_information.dtype == jnp.float64
    assert float(law.standard_error) == 0


def test_student_correction_keeps_its_digits():
    degrees = np.array([0.5, 1, 5, 31, 31.999, 32, 200, 1e4, 1e6])
    single = student_correction(jnp.asarray(degrees, jnp.float32), 5, 7)
    with jax.enable_x64(True):
        double = np.asarray(student_correction(jnp.asarray(degrees), 5, 7))
    np.testing.assert_allclose(single, double, atol=5e-6)
    # The correction of a nearly normal law falls as dx dy / (2 v^2), to first order.
    np.testing.assert_allclose(double[-2] * 1e8, 5 * 7 / 2, rtol=0.01)


def test_additive_uniform_against_quadrature():
    for epsilon in (0.05, 0.5, 0.9):

        def density(y, e=epsilon):
            return (min(1.0, y + e) - max(0.0, y - e)) / (2 * e)

        def integrand(y):
            return -density(y) * np.log(density(y)) if density(y) > 0 else 0.0

        corners = sorted({-epsilon, epsilon, 1 - epsilon, 1 + epsilon})
        entropy = sum(
            scipy.integrate.quad(integrand, a, b)[0] for a, b in itertools.pairwise(corners)
        )
        truth = entropy - np.log(2 * epsilon)
        np.testing.assert_allclose(
            additive_uniform_information(jnp.asarray(epsilon)), truth, rtol=1e-5
        )
    law = simulate.AdditiveUniform(jnp.array([0.1, 0.75]))
    assert law.dimensions == (2, 2)
    np.testing.assert_allclose(law.mutual_information, 1.7094 + 0.3333, atol=1e-4)


def test_additive_uniform_samples():
    # Kolmogorov-Smirnov at 1e-3 for each of four columns, independence at 4 standard errors.
    law = simulate.AdditiveUniform(jnp.array([0.1, 0.75]))
    x, y = (np.asarray(a) for a in law.sample(KEY, 5000))
    noise = (y - x) / np.asarray(law.epsilon)
    for column in (*x.T, *(noise.T + 1) / 2):
        assert scipy.stats.kstest(column, "uniform").pvalue > 1e-3
    together = np.corrcoef(np.hstack([x, noise]).T)
    assert np.abs(together - np.eye(4)).max() < 4 / np.sqrt(5000)


def test_sample_moments():
    # Each entry within 5 standard errors of the covariance: false alarm 1e-5 in all.
    x, y = LAWS["normal"].sample(KEY, 20_000)
    rows = np.hstack([x, y])
    variance = np.diag(COVARIANCE)
    error = np.sqrt((np.outer(variance, variance) + COVARIANCE**2) / 20_000)
    assert (np.abs(np.cov(rows.T) - COVARIANCE) < 5 * error).all()
    # Of Student's law the squared Mahalanobis distance over d is F(d, v), at 1e-3.
    rows = np.hstack(LAWS["student"].sample(KEY, 20_000)).astype(float)
    square = np.sum(rows * np.linalg.solve(COVARIANCE, rows.T).T, 1) / 5
    assert scipy.stats.kstest(square, scipy.stats.f(5, 2.5).cdf).pvalue > 1e-3
    rows = np.hstack(LAWS["mixture"].sample(KEY, 20_000))
    mean, covariance = MixtureTruth(WEIGHTS, MEANS, COVARIANCES).moments()
    assert (np.abs(rows.mean(0) - mean) < 5 * np.sqrt(np.diag(covariance) / 20_000)).all()
    np.testing.assert_allclose(np.cov(rows.T), covariance, atol=0.1)


@pytest.mark.parametrize("name", ["dense", "sparse", "latent"])
def test_the_gaussian_copula_agrees(name):
    # Mean of 20 data sets of 2000, within 5 Monte Carlo errors and 1 % for the scores' ends.
    matrix = {
        "dense": simulate.dense_correlation(3, 3, correlation=0.3),
        "sparse": simulate.sparse_correlation(3, 3, interacting=1, strength=1.5),
        "latent": simulate.latent_correlation(
            3, 3, interacting=1, shared=0.5, paired=2.0, within=1.0, unpaired=3.0
        ),
    }[name]
    law = simulate.Normal(matrix, dx=3)
    keys = jax.random.split(KEY, 20)
    values = jax.lax.map(lambda key: information.gaussian_copula(*law.sample(key, 2000)), keys)
    truth = law.mutual_information
    assert abs(values.mean() - truth) < 0.01 * truth + 5 * values.std() / np.sqrt(20)


def test_latent_correlation_is_that_of_its_model():
    # The mixing matrix of the model, written out latent by latent.
    shared, paired, within, unpaired = 0.7, 2.0, 0.5, 3.0
    dx, dy, interacting = 3, 2, 1
    columns = []
    for side, width in ((0, dx), (1, dy)):
        for place in range(width):
            own = np.zeros((2, dx))
            z = np.zeros(dx)
            (z if place < interacting else own[side])[place] = (
                paired if place < interacting else unpaired
            )
            noise = np.zeros((2, dx))
            noise[side, place] = 1
            of_side = within * (np.arange(2) == side)
            columns.append(np.concatenate([[shared], of_side, z, own.ravel(), noise.ravel()]))
    covariance = np.array(columns) @ np.array(columns).T
    scale = np.sqrt(np.diag(covariance))
    found = simulate.latent_correlation(
        dx, dy, interacting=interacting, shared=shared, paired=paired, within=within,
        unpaired=unpaired,
    )  # fmt: skip
    np.testing.assert_allclose(found, covariance / np.outer(scale, scale), rtol=1e-6, atol=1e-6)
    traced = jax.jit(
        lambda pairs: simulate.latent_correlation(
            dx, dy, interacting=pairs, shared=shared, paired=paired, within=within,
            unpaired=unpaired,
        )
    )(interacting)  # fmt: skip
    np.testing.assert_allclose(found, traced, rtol=1e-6)


@pytest.mark.thorough
def test_batches_gradients_and_dtypes():
    def law(correlation):
        return simulate.Normal(simulate.dense_correlation(1, 1, correlation=correlation), dx=1)

    rho = jnp.array([0.0, 0.5, 0.9])
    laws = jax.vmap(law)(rho)
    values = jax.jit(jax.vmap(lambda law: law.mutual_information))(laws)
    np.testing.assert_allclose(values, -0.5 * np.log(1 - np.asarray(rho) ** 2), atol=2e-6)
    gradient = jax.vmap(jax.grad(lambda r: law(r).mutual_information))(rho)
    np.testing.assert_allclose(gradient, rho / (1 - rho**2), rtol=1e-4, atol=1e-6)
    keys = jax.random.split(KEY, 3)
    x, y = jax.vmap(lambda law, key: law.sample(key, 7))(laws, keys)
    one, other = law(rho[1]).sample(keys[1], 7)
    np.testing.assert_allclose(x[1], one, rtol=1e-5)
    np.testing.assert_allclose(y[1], other, rtol=1e-5)
    with jax.enable_x64(True):
        for dtype in (jnp.float32, jnp.float64):
            cast = jax.tree.map(lambda a, dtype=dtype: a.astype(dtype), LAWS["student"])
            leaves = (*cast.sample(KEY, 7), cast.mutual_information, cast.standard_error)
            assert {leaf.dtype for leaf in leaves} == {jnp.dtype(dtype)}


def test_refuses():
    indefinite = np.array([[1.0, 2.0], [2.0, 1.0]], np.float32)
    with refuses("covariance must be symmetric and positive definite"):
        simulate.Normal(indefinite, dx=1)
    assert np.isnan(jax.jit(lambda c: simulate.Normal(c, dx=1).mutual_information)(indefinite))
    assert np.isnan(jax.jit(lambda c: simulate.Normal(c, dx=1).standard_error)(indefinite))
    with refuses(r"covariance must have shape .* dx = 2 .* got shape \(2, 2\)"):
        simulate.Normal(np.eye(2, dtype=np.float32), dx=2)
    with refuses("degrees must be finite and positive; got 0"):
        simulate.Student(np.eye(2, dtype=np.float32), 0.0, dx=1)
    with refuses("epsilon must be finite and positive"):
        simulate.AdditiveUniform([0.1, -0.1])
    with refuses(r"covariances must have shape \(1, 2, 2\)"):
        simulate.Mixture(jnp.ones(1), jnp.zeros((1, 2)), jnp.eye(2), dx=1)
    with refuses("weights must not be negative"):
        simulate.Mixture(-jnp.ones(1), jnp.zeros((1, 2)), jnp.eye(2)[None], dx=1)
    with refuses(r"interacting must be at most min\(dx, dy\) = 2; got 3"):
        simulate.sparse_correlation(2, 3, interacting=3)
    with refuses("n must be a whole number >= 1; got 0"):
        LAWS["normal"].sample(KEY, 0)
    with refuses("key must be a new-style key"):
        LAWS["normal"].sample(0, 10)
