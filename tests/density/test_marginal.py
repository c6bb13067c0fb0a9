"""Marginals and conditionals against numerical integrals, direct sums and scipy."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from kernels import KERNEL, log_mixture, mixture
from scipy import stats

from estimators import density
from estimators.testing import refuses


@pytest.mark.parametrize("widths", [False, True])
@pytest.mark.parametrize("columns", [[1], [2, 0], [-1, 1, 0]])
def test_marginal_is_the_sum_of_the_kernels_marginals(x64, columns, widths):
    fitted, centres, width, weights, kernel = mixture(widths=widths)
    x = np.random.default_rng(1).normal(size=(20, len(columns))) * 3 + 10
    got = density.marginal(fitted, columns)
    expected = log_mixture(x, centres[:, columns], width, weights, kernel[np.ix_(columns, columns)])
    np.testing.assert_allclose(got.log_density(x), expected, rtol=1e-12)
    np.testing.assert_allclose(got.bandwidth, kernel[np.ix_(columns, columns)])
    np.testing.assert_allclose(got.factor @ got.factor.T, got.bandwidth, rtol=1e-13)
    assert np.isnan(got.info.log_likelihood)


def test_marginal_is_the_integral(x64):
    """The trapezoidal rule converges faster than any power for Gaussian kernels."""
    fitted, *_ = mixture(d=2)
    grid = np.linspace(-15.0, 35.0, 1001)
    at = np.array([8.0, 10.0, 13.0])
    pairs = np.stack(np.meshgrid(at, grid, indexing="ij"), -1)
    integral = np.exp(fitted.log_density(pairs)).sum(1) * (grid[1] - grid[0])
    got = density.marginal(fitted, [0]).log_density(at[:, None])
    np.testing.assert_allclose(np.exp(got), integral, rtol=1e-12)


@pytest.mark.parametrize("widths", [False, True])
@pytest.mark.parametrize("columns", [[1], [2, 0]])
def test_conditional_is_joint_over_marginal(x64, columns, widths):
    fitted, centres, width, weights, kernel = mixture(widths=widths)
    x = np.random.default_rng(2).normal(size=(20, 3)) * 2 + 10
    free = [i for i in range(3) if i not in columns]
    for row in x[:3]:
        given = density.conditional(fitted, columns, row[columns])
        filled = x.copy()
        filled[:, columns] = row[columns]
        block = kernel[np.ix_(columns, columns)]
        expected = log_mixture(filled, centres, width, weights, kernel) - log_mixture(
            row[None, columns], centres[:, columns], width, weights, block
        )
        np.testing.assert_allclose(given.log_density(x[:, free]), expected, rtol=1e-11)
        np.testing.assert_allclose(jnp.exp(given.log_weights).sum(), 1, rtol=1e-12)


def test_marginal_of_conditional_is_conditional_of_marginal(x64):
    fitted, *_ = mixture()
    x = np.linspace(5.0, 15.0, 9)[:, None]
    one = density.marginal(density.conditional(fitted, [0], jnp.array([9.0])), [1])
    other = density.conditional(density.marginal(fitted, [2, 0]), [-1], jnp.array([9.0]))
    np.testing.assert_allclose(one.log_density(x), other.log_density(x), rtol=1e-11)


def test_one_kernel_gives_the_regression(x64):
    """With one centre the conditional is that of a Gaussian, to any distance."""
    fitted = density.KDE(KERNEL).fit(np.array([[1.0, 2.0, 3.0]]))
    for value in (0.0, 1e6):
        given = density.conditional(fitted, [0], jnp.array([value]))
        slope = KERNEL[1:, 0] / KERNEL[0, 0]
        np.testing.assert_allclose(
            given.location + given.factor @ given.points[0],
            np.array([2.0, 3.0]) + slope * (value - 1.0),
            rtol=1e-12,
        )
        left = KERNEL[1:, 1:] - np.outer(slope, KERNEL[0, 1:])
        np.testing.assert_allclose(given.bandwidth, left, rtol=1e-12)


def test_far_values_do_not_underflow():
    """A hundred bandwidths out every kernel is 0 in float32; the nearest row is the answer."""
    points = np.float32([[0.0, 1.0], [1.0, -1.0], [2.0, 5.0]])
    given = density.conditional(density.KDE(0.1).fit(points), [0], np.float32([12.0]))
    assert given.log_weights.dtype == jnp.float32
    expected = stats.norm(5.0, 0.1).logpdf(5.05)
    np.testing.assert_allclose(given.log_density(np.float32([5.05])), expected, rtol=1e-4)
    np.testing.assert_allclose(given.info.effective_sample_size, 1.0, rtol=1e-6)


def test_leave_one_out_of_either_is_that_of_its_rows(x64):
    """Row i left out by hand: the same estimate without its kernel."""
    points = np.random.default_rng(3).normal(size=(30, 2)) @ KERNEL[:2, :2]
    fitted = density.KDE(np.array([[0.05, 0.02], [0.02, 0.04]])).fit(points)
    marginal = density.marginal(fitted, [1])
    at = np.array([0.1])
    given = density.conditional(fitted, [0], at)
    for of, change in (
        (marginal, lambda f: density.marginal(f, [1])),
        (given, lambda f: density.conditional(f, [0], at)),
    ):
        alone = of.leave_one_out_log_density()
        for i in (0, 7):
            without = density.KDE(fitted.bandwidth).fit(np.delete(points, i, 0))
            np.testing.assert_allclose(
                alone[i], change(without).log_density(points[i, 1:]), rtol=1e-9
            )


def test_rows_stay_the_rows_where_centres_are_not(x64):
    """In data units, after either operation, the rows are those of the fit."""
    fitted, *_ = mixture(n=10)
    factor, location = np.asarray(fitted.factor), np.asarray(fitted.location)
    data = np.random.default_rng(7).normal(size=(5, 3)) + location
    rows = np.linalg.solve(factor, (data - location).T).T
    fitted = dataclasses.replace(fitted, rows=jnp.asarray(rows), labels=jnp.arange(5))
    for of, kept in (
        (density.marginal(fitted, [2, 0]), [2, 0]),
        (density.conditional(fitted, [1], jnp.array([9.0])), [0, 2]),
    ):
        got = np.asarray(of.location)[None] + of.rows @ of.factor.T
        np.testing.assert_allclose(got, data[:, kept], rtol=1e-12)
        assert of.leave_one_out_log_density().shape == (5,)


def test_samples_of_a_conditional_have_its_moments(x64):
    """Mean and standard deviation within 5 standard errors: false alarm below 1e-5."""
    fitted, *_ = mixture()
    given = density.conditional(fitted, [1, 2], np.array([9.0, 11.0]))
    weights = np.exp(given.log_weights)
    centres = np.asarray(given.location)[None] + given.points @ given.factor.T
    mean = weights @ centres[:, 0]
    spread = (np.asarray(given.widths) * float(given.factor[0, 0])) ** 2
    variance = weights @ (spread + (centres[:, 0] - mean) ** 2)
    draws = np.asarray(given.sample(20_000, key=jax.random.key(0)))[:, 0]
    assert abs(draws.mean() - mean) < 5 * np.sqrt(variance / 20_000)
    fourth = np.mean((draws - mean) ** 4)
    assert abs(draws.var() - variance) < 5 * np.sqrt((fourth - variance**2) / 20_000)


def test_vmap_and_gradient_in_the_values(x64):
    fitted, *_ = mixture()

    def value(at):
        return density.conditional(fitted, [0, 2], at).log_density(jnp.array([10.5]))

    at = jnp.array([[9.0, 10.0], [11.0, 9.5]])
    np.testing.assert_allclose(jax.vmap(value)(at), [value(a) for a in at], rtol=1e-12)
    step = 1e-5
    for i, unit in enumerate(np.eye(2)):
        slope = (value(at[0] + step * unit) - value(at[0] - step * unit)) / (2 * step)
        np.testing.assert_allclose(jax.grad(value)(at[0])[i], slope, rtol=1e-6)


@pytest.mark.thorough
def test_a_gradient_passes_to_the_bandwidth(x64):
    points = np.random.default_rng(4).normal(size=(20, 3))

    def value(h):
        fitted = density.KDE(h).fit(points)
        one = density.marginal(fitted, [2, 0]).log_density(jnp.zeros(2))
        return one + density.conditional(fitted, [1], jnp.array([0.2])).log_density(jnp.zeros(2))

    slope = (value(0.5 + 1e-6) - value(0.5 - 1e-6)) / 2e-6
    np.testing.assert_allclose(jax.grad(value)(0.5), slope, rtol=1e-7)


def test_values_that_are_not_finite():
    fitted = density.KDE(0.5).fit(np.float32([[0.0, 1.0], [1.0, -1.0]]))
    with refuses("values must be finite"):
        density.conditional(fitted, [0], [jnp.nan])
    given = jax.jit(lambda v: density.conditional(fitted, [0], v))(jnp.array([jnp.nan]))
    assert given.info.status == 1
    assert jnp.isnan(given.log_density(jnp.zeros((3, 1)))).all()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ([], "columns must name at least one column"),
        ([3], r"columns must lie in \[-3, 3\).*got 3"),
        ([-4], r"columns must lie in \[-3, 3\).*got -4"),
        ([0, -3], r"columns must not repeat a column; got \[0, -3\]"),
        ([0.5], "columns must be a sequence of whole numbers"),
        (1, "columns must be a sequence of whole numbers"),
    ],
)
def test_bad_columns_are_refused(columns, message):
    fitted = density.KDE(0.5).fit(np.ones((2, 3), np.float32))
    with refuses(message):
        density.marginal(fitted, columns)
    with refuses(message):
        density.conditional(fitted, columns, [0.0])


def test_student_kernels_keep_their_shape_in_a_marginal(x64):
    """Against scipy's multivariate t, whose shape matrix is the covariance (nu - 2) / nu."""
    points = np.random.default_rng(5).normal(size=(20, 3))
    fitted = dataclasses.replace(density.KDE(KERNEL).fit(points), kernel=density.Student(5.0))
    x = np.random.default_rng(6).normal(size=(9, 2))
    law = stats.multivariate_t(shape=KERNEL[np.ix_([2, 0], [2, 0])] * 3 / 5, df=5)
    expected = np.log(np.mean([law.pdf(x - point) for point in points[:, [2, 0]]], axis=0))
    got = density.marginal(fitted, [2, 0]).log_density(x)
    np.testing.assert_allclose(got, expected, rtol=1e-11)


def test_other_kernels_are_refused():
    points = np.random.default_rng(5).normal(size=(20, 2)).astype(np.float32)
    fitted = dataclasses.replace(density.KDE(1.0).fit(points), kernel=density.Epanechnikov())
    with refuses("fitted must have a Gaussian or Student kernel.*got Epanechnikov"):
        density.marginal(fitted, [0])
    with refuses("fitted must have a Gaussian kernel.*got Epanechnikov"):
        density.conditional(fitted, [0], np.zeros(1, np.float32))
    turned = density.marginal(fitted, [1, 0])  # no column is left out: any kernel will do
    np.testing.assert_allclose(
        turned.log_density(points[:, ::-1]), fitted.log_density(points), rtol=1e-4
    )


def test_other_estimates_are_refused():
    product = density.ProductKDE([density.Real()] * 2, bandwidth=[0.1, 0.1])
    with refuses("fitted must be a FittedKDE; got FittedProductKDE"):
        density.marginal(product.fit(np.ones((3, 2), np.float32)), [0])
    with refuses(r"fitted must be a FittedKDE; got KDE; write KDE\(...\).fit"):
        density.conditional(density.KDE(0.3), [0], [1.0])


def test_bad_values_are_refused():
    fitted = density.KDE(0.5).fit(np.ones((2, 3), np.float32))
    with refuses("columns must leave at least one of the 3 columns free"):
        density.conditional(fitted, [0, 1, 2], [0.0, 0.0, 0.0])
    with refuses(r"values must have length 1; got shape \(2,\)"):
        density.conditional(fitted, [0], [0.0, 1.0])
    with refuses(r"values must have shape \(n,\); got shape \(\)"):
        density.conditional(fitted, [0], 0.0)
