"""Mixtures of Gaussians against scipy, scikit-learn, autodiff and the Gaussian itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from sklearn.mixture import GaussianMixture

from estimators import score
from estimators.score._models import _spectrum
from estimators.testing import refuses


def clusters(n=600, d=4, dtype=np.float64):
    generator = np.random.default_rng(3)
    centres = 6.0 * generator.normal(size=(3, d))
    labels = generator.choice(3, n, p=[0.5, 0.3, 0.2])
    spread = generator.normal(size=(3, d, d))
    noise = np.einsum("nij,nj->ni", spread[labels], generator.normal(size=(n, d)))
    return (centres[labels] + noise).astype(dtype)


def covariance(fitted, k):
    basis = np.asarray(fitted.basis[k])
    within = basis @ basis.T
    return (basis * np.asarray(fitted.eigenvalues[k])) @ basis.T + float(fitted.floor[k]) * (
        np.eye(basis.shape[0]) - within
    )


@pytest.mark.parametrize("rank", [None, 2, 0])
@pytest.mark.parametrize("sigma", [0.0, 0.7, 30.0])
def test_log_density_equals_scipy(x64, rank, sigma):
    points = clusters()
    fitted = score.Mixture(3, rank).fit(points, key=jax.random.key(0))
    x = points[:40] + 0.3
    expected = np.zeros(40)
    for k in range(3):
        law = stats.multivariate_normal(
            fitted.means[k], covariance(fitted, k) + sigma**2 * np.eye(4)
        )
        expected += np.exp(fitted.log_weights[k]) * law.pdf(x)
    np.testing.assert_allclose(fitted.log_density(x, sigma), np.log(expected), rtol=1e-9)


@pytest.mark.parametrize("rank", [None, 2, 0])
def test_score_is_the_gradient_and_tweedie_holds(x64, rank):
    points = clusters()
    fitted = score.Mixture(3, rank).fit(points, key=jax.random.key(0))
    x = jnp.asarray(points[:30])
    for sigma in (0.01, 0.5, 4.0, 80.0):
        gradient = jax.grad(lambda x, s: jnp.sum(fitted.log_density(x, s)))(x, sigma)
        np.testing.assert_allclose(fitted.score(x, sigma), gradient, atol=1e-10, rtol=1e-10)
        tweedie = x + sigma**2 * fitted.score(x, sigma)
        np.testing.assert_allclose(fitted.denoise(x, sigma), tweedie, atol=1e-9)


def test_the_fit_reaches_the_likelihood_of_scikit_learn(x64):
    """Three well separated clusters have one maximum that any start finds."""
    points = clusters()
    ours = score.Mixture(3, tolerance=1e-8, regularisation=0.0).fit(points, key=jax.random.key(0))
    theirs = GaussianMixture(3, tol=1e-8, reg_covar=0, max_iter=500, random_state=0).fit(points)
    assert int(ours.info.status) == 0
    np.testing.assert_allclose(ours.info.log_likelihood, theirs.score(points), atol=1e-5)
    order, other = np.argsort(ours.log_weights), np.argsort(theirs.weights_)
    np.testing.assert_allclose(ours.means[order], theirs.means_[other], atol=1e-3)


@pytest.mark.parametrize("rank", [None, 2, 0])
def test_one_component_is_the_gaussian(x64, rank):
    points = clusters()
    n = points.shape[0]
    mixture = score.Mixture(1, rank, regularisation=0.0).fit(points, key=jax.random.key(0))
    spectrum = np.linalg.eigvalsh(np.cov(points.T))[::-1] * (n - 1) / n
    kept = 4 if rank is None else rank
    np.testing.assert_allclose(mixture.means[0], points.mean(0))
    np.testing.assert_allclose(mixture.eigenvalues[0], spectrum[:kept])
    if kept < 4:
        np.testing.assert_allclose(mixture.floor[0], spectrum[kept:].mean())


def test_samples_have_the_mixtures_moments():
    """Four standard errors: a false alarm in 2000 keys for each of 4 + 10 numbers."""
    fitted = score.Mixture(3, 2).fit(clusters(dtype=np.float32), key=jax.random.key(0))
    n, sigma = 40_000, 1.5
    drawn = fitted.sample(n, sigma, key=jax.random.key(1))
    weights = np.exp(fitted.log_weights)
    mean = weights @ np.asarray(fitted.means)
    second = sum(
        weights[k]
        * (covariance(fitted, k) + np.outer(fitted.means[k] - mean, fitted.means[k] - mean))
        for k in range(3)
    ) + sigma**2 * np.eye(4)
    centred = np.asarray(drawn) - mean
    assert (abs(centred.mean(0)) < 4 * centred.std(0) / n**0.5).all()
    products = centred[:, :, None] * centred[:, None, :]
    error = products.std(0) / n**0.5
    assert (abs(products.mean(0) - second) < 4 * error).all()


def test_responsibilities_name_the_component():
    points = clusters(dtype=np.float32)
    fitted = score.Mixture(3).fit(points, key=jax.random.key(0))
    own = fitted.log_responsibilities(fitted.means)
    assert (jnp.argmax(own, -1) == jnp.arange(3)).all()
    np.testing.assert_allclose(jnp.exp(own).sum(-1), 1, rtol=1e-5)


def test_float32_at_small_noise_and_far_away():
    points = clusters(dtype=np.float32)
    for rank in (None, 2):
        narrow = score.Mixture(3, rank).fit(points, key=jax.random.key(0))
        x = points[:20]
        with jax.enable_x64(True):
            wide = jax.tree.map(
                lambda a: a.astype(jnp.float64) if jnp.issubdtype(a.dtype, jnp.floating) else a,
                narrow,
            )
            expected = np.asarray(wide.score(x.astype(float), 0.002))
            far = np.asarray(wide.score(1e4 * x.astype(float), 0.002))
        scale = np.abs(expected).max()
        np.testing.assert_allclose(narrow.score(x, 0.002), expected, atol=1e-3 * scale)
        got = narrow.score(1e4 * x, 0.002)
        np.testing.assert_allclose(got, far, atol=1e-3 * np.abs(far).max())


def test_bad_input_is_refused():
    points = clusters(dtype=np.float32)
    key = jax.random.key(0)
    with refuses("at least 2 rows a component"):
        score.Mixture(301).fit(points, key=key)
    with refuses("rank must be at most the 4 columns"):
        score.Mixture(2, 5).fit(points, key=key)
    with refuses("rank must be at most 3: 4 rows span"):
        score.Mixture(2, 4).fit(points[:4], key=key)
    with refuses("components must be a whole number >= 1"):
        score.Mixture(0)
    with refuses("points must be finite"):
        score.Mixture(2).fit(points * np.nan, key=key)
    with refuses("tolerance must be finite and positive"):
        score.Mixture(2, tolerance=0.0)


def test_the_subspace_route_reaches_the_likelihood_of_the_exact_one(x64, monkeypatch):
    generator = np.random.default_rng(0)
    scales = 1.0 / np.arange(1, 41)
    points = generator.normal(size=(310, 40)) * scales
    points[:150, :3] += 6
    exact = score.Mixture(2, 12).fit(points, key=jax.random.key(0))
    monkeypatch.setattr(_spectrum, "route", lambda *shape: "subspace")
    found = score.Mixture(2, 12).fit(points[:309], key=jax.random.key(0))  # compiled anew
    assert int(found.info.status) == 0
    # One row fewer of 310, and modes that mix where they are nearly equal.
    np.testing.assert_allclose(found.info.log_likelihood, exact.info.log_likelihood, atol=0.15)
    gram = jnp.einsum("kdr,kds->krs", found.basis, found.basis)
    np.testing.assert_allclose(gram, jnp.stack([jnp.eye(12)] * 2), atol=1e-10)


def test_noise_that_is_not_allowed_gives_nan_inside_jit():
    points = clusters(dtype=np.float32)
    mixture = score.Mixture(2).fit(points, key=jax.random.key(0))
    empirical = score.Empirical().fit(points)
    for model, sigma in ((mixture, -1.0), (empirical, 0.0), (empirical, -1.0)):
        value = jax.jit(lambda s, m=model: m.score(points[:2], s))(sigma)
        assert jnp.isnan(value).all()
    with refuses("sigma must be finite and positive"):
        empirical.denoise(points[:2], 0.0)


def test_copies_of_one_row_have_no_variance_but_a_fit():
    """All seeds coincide; the floor is the regularisation, here of a variance of zero."""
    points = np.concatenate([np.ones((20, 2)), np.zeros((20, 2))]).astype(np.float32)
    with refuses("points must give every component some variance"):
        score.Mixture(2, regularisation=0.0).fit(0 * points, key=jax.random.key(0))
    fitted = score.Mixture(2).fit(points, key=jax.random.key(0))
    assert jnp.isfinite(fitted.score(points, 0.1)).all()
    np.testing.assert_allclose(np.sort(fitted.means[:, 0]), [0, 1], atol=1e-6)


def test_options_out_of_their_range_are_nan_inside_jit():
    points = clusters(60, dtype=np.float32)

    @jax.jit
    def fit(regularisation, tolerance):
        spec = score.Mixture(2, 0, steps=3, regularisation=regularisation, tolerance=tolerance)
        fitted = spec.fit(points, key=jax.random.key(0))
        return fitted.info, fitted.log_density(points[:3], 1.0)

    for options in ((-0.1, 1e-4), (1e-4, -1.0), (1e-4, jnp.nan)):
        info, density = fit(*options)
        assert info.status == 1
        assert jnp.isnan(info.log_likelihood)
        assert jnp.isnan(density).all()
