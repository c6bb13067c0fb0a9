"""The three routes to the modes of a covariance, and shrinkage, against numpy and scikit-learn."""

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.datasets import load_digits

from estimators import score
from estimators.score._models import _spectrum
from estimators.testing import refuses


def power_law(n, d, dtype=np.float64):
    """Rows whose spectrum falls as that of photographs, in a rotated basis."""
    generator = np.random.default_rng(0)
    rotation = np.linalg.qr(generator.normal(size=(d, d)))[0]
    scales = 1.0 / np.arange(1, d + 1)
    return (3.0 + (generator.normal(size=(n, d)) * scales) @ rotation).astype(dtype)


@pytest.mark.parametrize("way", ["dual", "subspace"])
def test_every_route_finds_the_modes_of_the_covariance(x64, monkeypatch, way):
    n, d, rank = (40, 100, 8) if way == "dual" else (300, 200, 12)
    points = power_law(n, d)
    monkeypatch.setattr(_spectrum, "route", lambda *shape: way)
    weights, mean = jnp.full(n, 1 / (n - 1)), jnp.asarray(points.mean(0))
    found = _spectrum.spectrum(jnp.asarray(points), weights, mean, rank)
    values, vectors = np.linalg.eigh(np.cov(points.T))
    values, vectors = values[::-1], vectors[:, ::-1]
    np.testing.assert_allclose(found.eigenvalues, values[:rank], rtol=1e-3)
    np.testing.assert_allclose(found.total, values.sum(), rtol=1e-12)
    np.testing.assert_allclose(found.floor, values[rank:].mean(), rtol=1e-3)
    np.testing.assert_allclose(found.basis.T @ found.basis, np.eye(rank), atol=1e-12)
    overlap = np.abs(vectors[:, :6].T @ found.basis)[np.arange(6), np.arange(6)]
    np.testing.assert_allclose(overlap, 1, atol=1e-3)


def test_the_routes_are_chosen_by_shape():
    assert _spectrum.route(5000, 64, 16) == "exact"
    assert _spectrum.route(50_000, 3072, 128) == "subspace"
    assert _spectrum.route(200, 3072, 64) == "dual"
    assert _spectrum.route(50_000, 3072, 3072) == "exact"


def test_subspace_of_rows_that_span_less_than_its_columns(x64, monkeypatch):
    monkeypatch.setattr(_spectrum, "route", lambda *shape: "subspace")
    points = power_law(300, 5) @ np.random.default_rng(1).normal(size=(5, 40))
    found = _spectrum.spectrum(
        jnp.asarray(points), jnp.full(300, 1 / 299), jnp.asarray(points.mean(0)), 8
    )
    values = np.linalg.eigvalsh(np.cov(points.T))[::-1]
    np.testing.assert_allclose(found.eigenvalues[:5], values[:5], rtol=1e-8)
    assert np.all(np.abs(found.eigenvalues[5:]) < 1e-8 * values[0])


@pytest.mark.parametrize("n", [12, 40, 400])
def test_shrinkage_is_that_of_scikit_learn_and_of_the_paper(x64, n):
    points = np.random.default_rng(2).normal(size=(n, 10)) * np.linspace(1, 3, 10)
    sample = np.cov(points.T, bias=True)
    trace, square = np.trace(sample), np.trace(sample @ sample)
    of_paper = ((1 - 2 / 10) * square + trace**2) / ((n + 1 - 2 / 10) * (square - trace**2 / 10))
    for rule, expected in (
        ("ledoit-wolf", ledoit_wolf_shrinkage(points)),
        ("oas", min(of_paper, 1)),
    ):
        fitted = score.Gaussian(shrinkage=rule).fit(points)
        np.testing.assert_allclose(fitted.info.shrinkage, expected, rtol=1e-9)
        low = score.Gaussian(4, shrinkage=rule).fit(points)
        np.testing.assert_allclose(low.info.shrinkage, expected, rtol=1e-9)


def test_shrunken_covariance(x64):
    points = power_law(50, 6)
    plain = np.cov(points.T)
    fitted = score.Gaussian(shrinkage=0.25).fit(points)
    got = (fitted.basis * fitted.eigenvalues[None]) @ fitted.basis.T
    expected = 0.75 * plain + 0.25 * np.trace(plain) / 6 * np.eye(6)
    np.testing.assert_allclose(got, expected, atol=1e-12)


def test_a_floor_keeps_low_ranks_usable_at_small_noise():
    """Digits at noise .1, rank d/4: within 1.3 of the full covariance's error, where dropping
    the rest of the variance costs a factor of 6.9.
    """
    rows = (load_digits().data / 8 - 1).astype(np.float32)
    rows = rows[np.random.default_rng(0).permutation(1797)]
    train, fresh = rows[:1500], rows[1500:]
    x = fresh + 0.1 * np.random.default_rng(1).normal(size=fresh.shape).astype(np.float32)

    def error(fitted):
        return float(jnp.mean(jnp.sum((fitted.denoise(x, 0.1) - fresh) ** 2, -1)))

    full, low = score.Gaussian().fit(train), score.Gaussian(16).fit(train)
    cut = score.FittedGaussian(low.mean, low.basis, low.eigenvalues, jnp.zeros(()), low.info)
    assert error(low) < 1.3 * error(full) < 5 * error(full) < error(cut)


def test_weights_are_counts(x64):
    points = power_law(30, 4)
    weights = np.arange(30) % 3
    repeated = score.Gaussian(2).fit(np.repeat(points, weights, axis=0))
    weighted = score.Gaussian(2).fit(points, weights)
    np.testing.assert_allclose(weighted.mean, repeated.mean)
    ratio = weighted.eigenvalues / repeated.eigenvalues
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-10)  # another divisor, no other law


def test_what_cannot_be_fitted_is_refused():
    points = power_law(5, 8, np.float32)
    with refuses("rank must be at most 4: 5 rows span no more"):
        score.Gaussian(5).fit(points)
    with refuses(r"shrinkage must lie in \[0, 1\]"):
        score.Gaussian(shrinkage=1.5)
    with refuses("shrinkage must be one of 'ledoit-wolf', 'oas'"):
        score.Gaussian(shrinkage="lw")
    with refuses("weights must be None with shrinkage='oas'"):
        score.Gaussian(shrinkage="oas").fit(points, np.ones(5, np.float32))
    with refuses("weights must be positive for at least 2 rows"):
        score.Gaussian().fit(points, np.eye(5, dtype=np.float32)[0])
    with refuses("needs all 2048 eigenvalues"):
        score.Gaussian(2, shrinkage="oas").fit(jnp.ones((1500, 2048)))
