"""The shipped table is what its law says, and the law's answers are right."""

import numpy as np
from scipy import integrate, stats

from estimators import data
from estimators.data import _first_light


def test_the_file_is_the_one_that_its_script_writes(tmp_path):
    _first_light._write(tmp_path / "again.csv")
    values, columns = data.first_light()
    again = np.loadtxt(tmp_path / "again.csv", delimiter=",", skiprows=1)
    assert columns == _first_light.COLUMNS
    np.testing.assert_array_equal(values, again)


def test_the_columns_have_the_moments_of_the_law():
    """Means within 4 standard errors: false alarm below 4e-4 over six columns."""
    values, _ = data.first_light()
    mean, covariance = data.first_light_truth().moments()
    error = np.sqrt(np.diag(covariance) / len(values))
    assert (np.abs(values.mean(0) - mean) < 4 * error).all()


def test_information_against_closed_forms():
    truth = data.first_light_truth()
    np.testing.assert_allclose(
        truth.mutual_information(2, 3), -0.5 * np.log(1 - 0.75**2), atol=1e-6
    )
    np.testing.assert_allclose(truth.mutual_information(0, 2), 0.0, atol=1e-9)
    # The X of correlations +.9 and -.9: 0.4088 in the BMI benchmark (task 1v1-X-0.9), by a
    # Monte-Carlo mean over 100 000 draws.
    np.testing.assert_allclose(truth.mutual_information(0, 1), 0.4088, atol=3e-3)


def test_density_integrates_to_one_and_noise_is_a_convolution():
    truth = data.first_light_truth().marginal([4, 5])
    mass, _ = integrate.dblquad(
        lambda y, x: np.exp(truth.log_density(np.array([[x, y]]))[0]), -5, 5, -1, 15, epsabs=1e-6
    )
    assert abs(mass - 1) < 1e-4
    single = data.first_light_truth().marginal([4])
    noise = np.linspace(-6, 6, 2001)
    smoothed = np.exp(single.log_density(0.7 - noise[:, None])) * stats.norm.pdf(noise, scale=0.5)
    got = np.exp(single.with_noise(0.5).log_density(np.array([[0.7]])))[0]
    np.testing.assert_allclose(got, np.trapezoid(smoothed, noise), rtol=1e-8)


def test_conditional_quantiles_cover():
    """20 000 fresh rows, level .9: within 4 standard errors, false alarm 6e-5."""
    truth = data.first_light_truth()
    fresh = truth.sample(20_000, np.random.default_rng(0))
    below = fresh[:, 5] <= truth.conditional_quantile(fresh, 0.9, target=5)
    assert abs(below.mean() - 0.9) < 4 * np.sqrt(0.09 / 20_000)


def test_divergence_from_gaussian_against_quadrature():
    law = data.first_light_truth().marginal([4])
    value, error = law.divergence_from_gaussian(np.random.default_rng(1))
    mean, covariance = law.moments()
    gaussian = stats.norm(mean[0], np.sqrt(covariance[0, 0]))
    grid = np.linspace(-8, 8, 4001)
    log = law.log_density(grid[:, None])
    exact = np.trapezoid(np.exp(log) * (log - gaussian.logpdf(grid)), grid)
    assert abs(value - exact) < 4 * error
