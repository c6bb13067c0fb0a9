"""Diagnostics against closed forms, peers and simulations with known truth."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy import stats
from sklearn.datasets import load_digits

from estimators import score
from estimators.testing import refuses


def test_condensation_noise_solves_its_equation(x64):
    points = np.random.default_rng(0).normal(size=(200, 8)) * np.linspace(0.2, 3, 8)
    for rank in (None, 3):
        gaussian = score.Gaussian(rank).fit(points)
        found = float(score.condensation_noise(gaussian, 200))
        modes = np.log1p(np.asarray(gaussian.eigenvalues) / found**2).sum()
        rest = (8 - gaussian.eigenvalues.size) * np.log1p(float(gaussian.floor) / found**2)
        np.testing.assert_allclose(0.5 * (modes + rest), np.log(200), rtol=1e-10)

    def of_scale(scale):
        return score.condensation_noise(score.Gaussian().fit(scale * points), 200)

    np.testing.assert_allclose(of_scale(2.0), 2 * of_scale(1.0), rtol=1e-10)
    check_grads(of_scale, (jnp.asarray(1.3),), order=1, modes=["rev"], rtol=1e-6)


@pytest.mark.parametrize(("d", "n"), [(1, 1e9), (1, 1e12), (1, 1e15), (3, 1e12), (40, 3)])
def test_condensation_noise_of_any_number_of_rows(d, n):
    """Of d equal modes of variance v it is the root of `v / (n^(2/d) - 1)`, in float32 too."""
    gaussian = score.Gaussian().fit(jax.random.normal(jax.random.key(0), (50, d)))
    equal = eqx.tree_at(lambda g: g.eigenvalues, gaussian, jnp.full(d, 4.0))
    expected = (4 / np.expm1(2 * np.log(n) / d)) ** 0.5
    np.testing.assert_allclose(score.condensation_noise(equal, n), expected, rtol=2e-5)


def test_noise_that_is_not_found_is_nan():
    gaussian = score.Gaussian().fit(jax.random.normal(jax.random.key(0), (50, 1)))
    noise = jax.jit(score.condensation_noise)
    for bad in (0.5, 1.0, -3.0, jnp.inf, jnp.nan, 1e30):  # the last below float32's range
        assert jnp.isnan(noise(gaussian, bad))

    empirical = score.Empirical().fit(jax.random.normal(jax.random.key(0), (50, 1)))
    share = jax.jit(lambda s: score.memorised_share(empirical, s, key=jax.random.key(1), draws=9))
    assert jnp.isnan(share(-1.0))


def test_memorisation_of_digits():
    """The spec's table: s_C = .90 for 1500 digits, and the share of rows that dominate there."""
    points = (load_digits().data / 8 - 1).astype(np.float32)
    points = points[np.random.default_rng(0).permutation(1797)[:1500]]
    noise = score.condensation_noise(score.Gaussian().fit(points), 1500)
    assert abs(float(noise) - 0.90) < 0.02
    empirical = score.Empirical().fit(points)
    for sigma, expected in ((1.2, 0.01), (0.9, 0.10), (0.7, 0.38), (0.3, 0.99)):
        share = float(score.memorised_share(empirical, sigma, key=jax.random.key(0)))
        # Another draw of the digits and of 1000 noises: four standard errors, and .02.
        assert abs(share - expected) < 4 * (expected * (1 - expected) / 1000) ** 0.5 + 0.02


def test_the_suggested_noise_meets_its_divergence(x64):
    """The divergence of the noised Gaussian from pure noise, by the textbook formula."""
    points = 3 + np.random.default_rng(0).normal(size=(300, 5)) * np.linspace(0.2, 2, 5)
    for rank in (None, 2):
        gaussian = score.Gaussian(rank).fit(points)
        found = score.suggest_noise(gaussian, tolerance=0.02)
        variance = float(found.sigma_max) ** 2
        rest = [float(gaussian.floor)] * (5 - gaussian.eigenvalues.size)
        ratios = np.concatenate([gaussian.eigenvalues, rest]) / variance
        divergence = 0.5 * (np.sum(ratios - np.log1p(ratios)) + np.sum(gaussian.mean**2) / variance)
        np.testing.assert_allclose(divergence, 0.02, rtol=1e-4)


def pair(n=400, d=3, shift=1.0):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(n, d))
    y = 1.5 * generator.normal(size=(n + 50, d))
    return x, y + shift


def test_energy_distance_is_the_sum_over_pairs(x64):
    x, y = pair()
    found = score.energy_distance(x, y)

    def mean(a, b, same):
        apart = np.linalg.norm(a[:, None] - b[None], axis=-1)
        return apart.sum() / (len(a) * (len(b) - same))

    expected = 2 * mean(x, y, 0) - mean(x, x, 1) - mean(y, y, 1)
    np.testing.assert_allclose(found.value, expected, rtol=1e-6)
    column = score.energy_distance(x[:, :1], y[:, :1])
    biased = stats.energy_distance(x[:, 0], y[:, 0]) ** 2
    np.testing.assert_allclose(column.value, biased, atol=0.02)


@pytest.mark.parametrize(
    "distance",
    [
        score.energy_distance,
        functools.partial(score.maximum_mean_discrepancy, bandwidth=1.5),
    ],
    ids=["energy", "kernel"],
)
def test_the_error_of_two_sample_statistics_is_their_spread(distance):
    """Over 60 pairs of samples the spread is the mean error, within three of its own errors."""
    values = []
    for seed in range(60):
        of_x, of_y = jax.random.split(jax.random.key(seed))
        x = jax.random.normal(of_x, (300, 2))
        y = 0.7 + jax.random.normal(of_y, (300, 2))
        values.append(distance(x, y))
    spread = np.std([float(v.value) for v in values], ddof=1)
    error = np.mean([float(v.standard_error) for v in values])
    assert abs(spread / error - 1) < 3 / np.sqrt(2 * 59)


def test_the_error_for_equal_laws_is_too_large_by_the_root_of_two():
    """Where the statistic is degenerate the projections overstate it; within 30 % of the theory."""
    values = []
    for seed in range(100):
        x, y = jax.random.normal(jax.random.key(seed), (2, 200, 2))
        values.append(score.maximum_mean_discrepancy(x, y, bandwidth=1.5))
    spread = np.std([float(v.value) for v in values], ddof=1)
    error = np.sqrt(np.mean([float(v.standard_error) ** 2 for v in values]))
    assert abs(error / spread / 2**0.5 - 1) < 0.3


def test_sliced_wasserstein_of_a_shift(x64):
    """A shift by m moves every projection by its component: the root mean square is |m|/sqrt d."""
    x = np.random.default_rng(0).normal(size=(500, 4))
    shift = np.array([3.0, 0, 4.0, 0])
    found = score.sliced_wasserstein(x, x + shift, key=jax.random.key(0), directions=4000)
    assert abs(float(found.value) - 5 / 2) < 4 * float(found.standard_error)
    same = score.sliced_wasserstein(x, x[::-1], key=jax.random.key(0))
    assert float(same.value) < 1e-12
    assert jnp.isfinite(same.standard_error)


def test_sliced_wasserstein_in_one_dimension_is_scipys_quantiles(x64):
    x, y = pair(d=1)
    found = score.sliced_wasserstein(x, y[:400], key=jax.random.key(0))
    expected = np.sqrt(np.mean((np.sort(x[:, 0]) - np.sort(y[:400, 0])) ** 2))
    np.testing.assert_allclose(found.value, expected, rtol=1e-10)


def test_frechet_distance_of_commuting_gaussians(x64):
    x, _ = pair(n=2000)
    y = 2 * x + 1
    mean, covariance = x.mean(0), np.cov(x.T)
    expected = ((mean + 1) ** 2).sum() + np.trace(covariance)  # (2 - 1)^2 of the root
    found = score.frechet_distance(x, y)
    np.testing.assert_allclose(found.value, expected, rtol=1e-8)
    assert 0 < float(found.standard_error) < 0.2 * expected


def test_distances_far_from_zero_are_those_near_it():
    """The same two samples, a million away: what float32 has of them there, moved back exactly."""
    x, y = jax.random.normal(jax.random.key(0), (2, 500, 3)) + 1e6
    near = x - 1e6, y - 1e6

    def distances(x, y):
        sliced = score.sliced_wasserstein(x, y, key=jax.random.key(1)).value
        return sliced, score.frechet_distance(x, y).value

    np.testing.assert_allclose(distances(x, y), distances(*near), rtol=1e-3)


def test_energy_distance_has_a_gradient(x64):
    """Against the sum over pairs, two of which coincide: their distance has no derivative."""
    x, y = (jnp.asarray(a[:9]) for a in pair())
    y = y.at[2].set(x[4])

    def mean(a, b, same):
        square = jnp.sum((a[:, None] - b[None]) ** 2, -1)
        apart = square > 1e-20
        root = jnp.where(apart, jnp.sqrt(jnp.where(apart, square, 1)), 0)
        return root.sum() / (len(a) * (len(b) - same))

    expected = jax.grad(lambda x: 2 * mean(x, y, 0) - mean(x, x, 1))(x)
    got = jax.grad(lambda x: score.energy_distance(x, y).value)(x)
    np.testing.assert_allclose(np.delete(got, 4, 0), np.delete(expected, 4, 0), atol=1e-10)
    assert jnp.isfinite(got).all()


def test_a_bandwidth_that_is_none_gives_nan_inside_jit():
    x = jax.random.normal(jax.random.key(0), (30, 2))

    @jax.jit
    def kernel(bandwidth):
        return score.maximum_mean_discrepancy(x, x + 1, bandwidth=bandwidth)

    for bad in (-1.0, 0.0, jnp.inf, jnp.nan):
        assert jnp.isnan(kernel(bad).value)
    assert jnp.isnan(jax.jit(lambda x: score.maximum_mean_discrepancy(x, x))(0 * x).value)


def test_explained_variance_of_a_model_by_itself_and_by_nothing(x64):
    points = np.random.default_rng(0).normal(size=(300, 2))
    points[:150, 0] += 5
    mixture = score.Mixture(2).fit(points, key=jax.random.key(0))
    gaussian = score.Gaussian().fit(points)
    sigmas = jnp.array([0.2, 1.0, 5.0, 40.0])
    itself = score.explained_variance(mixture, mixture, points, sigmas, key=jax.random.key(1))
    np.testing.assert_allclose(itself.of_score, 1, atol=1e-12)
    np.testing.assert_allclose(itself.of_denoiser, 1, atol=1e-12)
    found = score.explained_variance(mixture, gaussian, points, sigmas, key=jax.random.key(1))
    assert found.of_score[-1] > 0.9999
    assert (found.simple_loss[:2] > found.loss[:2]).all()


def test_halves_agree_on_a_law_and_not_on_their_rows(x64):
    points = np.random.default_rng(0).normal(size=(400, 20))
    one, other = points[:200], points[200:]
    sigmas = jnp.array([0.3, 3.0])
    fresh = np.random.default_rng(1).normal(size=(100, 20))
    empirical = score.split_half_agreement(
        score.Empirical().fit(one),
        score.Empirical().fit(other),
        fresh,
        sigmas,
        key=jax.random.key(0),
    )
    gaussian = score.split_half_agreement(
        score.Gaussian().fit(one),
        score.Gaussian().fit(other),
        fresh,
        sigmas,
        key=jax.random.key(0),
    )
    assert empirical.difference[0] > 1 > 0.2 > gaussian.difference[0]
    assert (gaussian.cosine > 0.85).all()
    assert (gaussian.cosine > empirical.cosine).all()


def test_bad_input_is_refused():
    x = jnp.ones((30, 2))
    gaussian = score.Gaussian().fit(np.eye(4, dtype=np.float32))
    with refuses("gaussian must be a FittedGaussian"):
        score.suggest_noise(x)
    with refuses("y must have 2 columns"):
        score.energy_distance(x, jnp.ones((30, 3)))
    with refuses("bandwidth must be given where all rows"):
        score.maximum_mean_discrepancy(x, x)
    with refuses("at least 20 rows each"):
        score.frechet_distance(x[:10], x)
    with refuses("n must be at least 2"):
        score.condensation_noise(gaussian, 1)
    with refuses("sigmas must be finite and positive"):
        model = score.Empirical().fit(x)
        score.explained_variance(model, model, x, jnp.array([0.0]), key=jax.random.key(0))
