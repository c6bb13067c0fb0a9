"""Conditional information and total correlation: numpy, deletion, Gaussian closed forms."""

import counts_by_hand
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import digamma

from estimators import information
from estimators.information._neighbours._ksg import standardise
from estimators.testing import refuses

pytestmark = pytest.mark.thorough

CHAIN = np.array([[1.0, 0.6, 0.7], [0.6, 1.0, 0.5], [0.7, 0.5, 1.0]])


def rows(digits=None, n=40, d=4):
    data = np.random.default_rng(0).normal(size=(n, d)) @ np.triu(np.ones((d, d)))
    data = np.asarray(standardise(jnp.asarray(data)))
    return data if digits is None else np.round(data, digits)


def split(data):
    return data[:, :1], data[:, 1:2], data[:, 2:]


@pytest.mark.parametrize("k", [1, 4])
def test_by_hand(k, x64):
    x, y, z = split(rows())
    conditional = information.ConditionalKSG(neighbours=k).estimate(x, y, z)
    assert abs(conditional.value - counts_by_hand.conditional(x, y, z, k)) < 1e-10
    assert abs(information.conditional_ksg(x, y, z, neighbours=k) - conditional.value) < 1e-12
    error = counts_by_hand.jackknife(
        lambda x, y, z: counts_by_hand.conditional(x, y, z, k), x, y, z
    )
    np.testing.assert_allclose(conditional.standard_error, error, rtol=1e-9)

    total = information.TotalCorrelationKSG(neighbours=k).estimate(rows())
    assert abs(total.value - counts_by_hand.total_correlation(rows(), k)) < 1e-10
    assert abs(information.total_correlation_ksg(rows(), neighbours=k) - total.value) < 1e-12
    error = counts_by_hand.jackknife(lambda data: counts_by_hand.total_correlation(data, k), rows())
    np.testing.assert_allclose(total.standard_error, error, rtol=1e-9)


def test_total_correlation_of_two_columns_is_mutual_information(x64):
    x, y, _ = split(rows())
    for total, mutual in (
        (information.TotalCorrelationKSG(), information.KSG()),
        (information.TotalCorrelationGaussianCopula(), information.GaussianCopula()),
    ):
        of_both, of_pair = total.estimate(np.hstack([x, y])), mutual.estimate(x, y)
        np.testing.assert_allclose(of_both.value, of_pair.value, atol=1e-12)
        np.testing.assert_allclose(of_both.standard_error, of_pair.standard_error, rtol=1e-10)


def test_gaussian_copula_by_hand(x64):
    data, n = rows(), 40
    scores = np.asarray(information.normal_scores(data))

    def entropy(columns):  # of Gaussian rows, without bias but for a constant a column
        d = len(columns)
        half = 0.5 * np.linalg.slogdet(np.cov(scores[:, columns].T).reshape(d, d))[1]
        return half - 0.5 * digamma((n - np.arange(1, d + 1)) / 2).sum()

    value = entropy([0, 2, 3]) + entropy([1, 2, 3]) - entropy([0, 1, 2, 3]) - entropy([2, 3])
    estimate = information.ConditionalGaussianCopula().estimate(*split(data))
    assert abs(float(estimate.value) - value) < 1e-10
    assert float(information.conditional_gaussian_copula(*split(data))) == float(estimate.value)
    value = sum(entropy([i]) for i in range(4)) - entropy([0, 1, 2, 3])
    assert abs(float(information.total_correlation_gaussian_copula(data)) - value) < 1e-10


def half_log_det(*columns):
    return 0.5 * np.linalg.slogdet(CHAIN[np.ix_(columns, columns)])[1]


TRUTHS = {
    "conditional": half_log_det(0, 2) + half_log_det(1, 2) - half_log_det(0, 1, 2),
    "total": -half_log_det(0, 1, 2),
}


@pytest.mark.parametrize(("what", "spec", "bias"), [
    ("conditional", information.ConditionalKSG(), 0.05),
    ("conditional", information.ConditionalGaussianCopula(), 0.002),
    ("total", information.TotalCorrelationKSG(), 0.05),
    ("total", information.TotalCorrelationGaussianCopula(), 0.005),
])  # fmt: skip
def test_finds_the_truth_and_how_far_it_is(what, spec, bias):
    # Three normal columns. The mean of 40 data sets of 500 is within the bias stated and 5
    # standard errors; the standard error is within [.65, 1.9] of the spread of 40 values, which
    # is within 45 % of the truth but for a chance of 1e-4 (the jackknife errs to the safe side).
    factor = np.float32(np.linalg.cholesky(CHAIN))

    def one(key):
        data = jnp.dot(jax.random.normal(key, (500, 3)), factor.T, precision="highest")
        variables = split(data) if what == "conditional" else (data,)
        estimate = spec.estimate(*variables)
        return estimate.value, estimate.standard_error

    values, errors = jax.lax.map(one, jax.random.split(jax.random.key(0), 40))
    spread = np.std(values, ddof=1)
    assert abs(values.mean() - TRUTHS[what]) < bias + 5 * spread / np.sqrt(40)
    assert 0.65 < np.sqrt(np.mean(errors**2)) / spread < 1.9


@pytest.mark.parametrize(
    "spec", [information.ConditionalKSG(), information.ConditionalGaussianCopula()]
)
def test_what_is_common_through_z_is_not_counted(spec):
    # x and y share z alone: |mean of 40 values| within .01 and 5 standard errors.
    def one(key):
        x, y, z = jax.random.normal(key, (3, 400, 1))
        return spec.estimate(x + z, y + z, z).value

    values = jax.lax.map(one, jax.random.split(jax.random.key(1), 40))
    assert abs(values.mean()) < 0.01 + 5 * np.std(values) / np.sqrt(40)


def test_refuses():
    x, y, z = split(np.float32(rows()))
    for spec in (information.ConditionalKSG(), information.ConditionalGaussianCopula()):
        with refuses(r"x and z must have .* the same number of rows"):
            spec.estimate(x, y, z[:30])
        with refuses("z must not have a constant column"):
            spec.estimate(x, y, np.ones_like(z))
        with refuses("z must be finite"):
            spec.estimate(x, y, np.full_like(z, np.nan))
    for spec in (information.TotalCorrelationKSG(), information.TotalCorrelationGaussianCopula()):
        with refuses("data must have at least 2 columns"):
            spec.estimate(x)
        with refuses("data must not have a constant column"):
            spec.estimate(np.hstack([x, np.ones_like(x)]))
    with refuses("x, y and z must have linearly independent columns"):
        information.conditional_gaussian_copula(x, x + z[:, :1] * 0, z)
    with refuses("data must have linearly independent columns"):
        information.total_correlation_gaussian_copula(np.hstack([x, x]))
    assert np.isnan(jax.jit(information.total_correlation_gaussian_copula)(np.hstack([x, x])))
