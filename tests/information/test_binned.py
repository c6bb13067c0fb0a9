"""Binned information against scikit-learn's counts, plain numpy, and closed forms."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from estimators import information
from estimators.testing import refuses


def codes_by_hand(column, bins, edges):
    if edges == "equal_width":
        limits = np.linspace(column.min(), column.max(), bins + 1)[1:-1]
        return np.digitize(column, limits)
    ranks = np.argsort(np.argsort(column))
    return np.floor((ranks + 0.5) * bins / len(column)).astype(int)


def joined(columns, bins, edges):
    codes = [codes_by_hand(column, bins, edges) for column in columns.T]
    return np.unique(np.stack(codes, 1), axis=0, return_inverse=True)[1].reshape(-1)


def by_hand(x, y, bins, edges):
    """Plug-in value by scikit-learn, Miller's correction from three entropies, standard error."""
    n = len(x)
    of_x, of_y, both = (joined(a, bins, edges) for a in (x, y, np.hstack([x, y])))
    of = [np.bincount(c) for c in (of_x, of_y, both)]
    m_x, m_y, m = map(len, of)
    ratio = np.log(n * of[2][both] / (of[0][of_x] * of[1][of_y]))
    correction = ((m_x - 1) + (m_y - 1) - (m - 1)) / (2 * n)
    error = np.sqrt(ratio.var() / n + (m_x - 1) * (m_y - 1) / (2 * n**2))
    return mutual_info_score(of_x, of_y), correction, error


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("edges", ["equal_count", "equal_width"])
@pytest.mark.parametrize(("n", "dx", "dy", "bins"), [(50, 1, 1, 7), (300, 2, 1, 4)])
def test_against_scikit_learn(n, dx, dy, bins, edges):
    rng = np.random.default_rng(n)
    x = rng.normal(size=(n, dx))
    y = x[:, :1] ** 2 + rng.normal(size=(n, dy))
    value, correction, error = by_hand(x, y, bins, edges)
    options = {"bins": bins, "edges": edges}
    plain = information.binned(x, y, **options, bias_correction=False)
    np.testing.assert_allclose(float(plain), value, atol=1e-12)
    estimate = information.Binned(**options).estimate(x, y)
    np.testing.assert_allclose(float(estimate.value), value + correction, atol=1e-12)
    np.testing.assert_allclose(float(estimate.standard_error), error, atol=1e-12)
    assert float(information.binned(x, y, **options)) == float(estimate.value)


def test_discrete_columns_and_many_bins():
    # Three values each, fewer than bins: the joint table as it is. Ties share a bin.
    x = jax.random.randint(jax.random.key(0), (90, 1), 0, 3)
    y = (x + jax.random.bernoulli(jax.random.key(1), 0.3, (90, 1))) % 3
    truth = mutual_info_score(np.asarray(x)[:, 0], np.asarray(y)[:, 0])
    for edges in ("equal_count", "equal_width"):
        value = information.binned(x, y, bins=64, edges=edges, bias_correction=False)
        assert float(value) == pytest.approx(truth, abs=1e-5)


def test_limit_of_two_bins():
    # The medians of a normal pair cut it into quadrants of probability 1/4 +- asin(rho)/(2 pi).
    rho, n = 0.7, 50_000
    x, noise = jax.random.normal(jax.random.key(0), (2, n, 1))
    value = information.binned(x, rho * x + np.sqrt(1 - rho**2) * noise, bins=2)
    p = 0.25 + np.arcsin(rho) / (2 * np.pi)
    truth = 2 * p * np.log(4 * p) + (1 - 2 * p) * np.log(2 - 4 * p)
    assert abs(float(value) - truth) < 5 * np.sqrt(2 * truth / n)


@pytest.mark.parametrize(("bins", "edges"), [
    (6, "equal_count"), (None, "equal_count"), (5, "equal_width"),
])  # fmt: skip
def test_the_correction_takes_most_of_the_bias(bins, edges):
    # Independent columns: the plug-in has about (bins - 1)^2 / (2 n) too much. Mean of 400,
    # 5 Monte Carlo standard errors and a quarter of that.
    n = 200
    x, y = jax.random.normal(jax.random.key(3), (2, 400, n, 1))

    def mean(correct):
        of = functools.partial(information.binned, bins=bins, edges=edges, bias_correction=correct)
        values = np.asarray(jax.jit(jax.vmap(of))(x, y))
        return values.mean(), values.std() / 20

    (plain, error), (corrected, _) = mean(False), mean(True)
    assert plain > 0.02
    assert abs(corrected) < plain / 4 + 5 * error


def test_increasing_maps_change_nothing_with_equal_counts():
    x, y = jax.random.normal(jax.random.key(0), (2, 100, 2))
    chex.assert_trees_all_equal(
        information.Binned(3).estimate(x, y), information.Binned(3).estimate(jnp.exp(x), y**3)
    )


def test_refusals():
    x = jnp.arange(20.0)[:, None]
    with refuses("bins must be a whole number >= 2"):
        information.Binned(bins=1)
    with refuses("edges must be one of"):
        information.binned(x, x, edges="quantile")
    with refuses("bins must be below"):
        information.binned(x, x, bins=2**30)
