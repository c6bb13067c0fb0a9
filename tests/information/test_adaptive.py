"""The adaptive partition against a recursive version in numpy, and against known laws."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from laws import LAWS
from sklearn.metrics import mutual_info_score

from estimators import information
from estimators.information._plug_in import _adaptive
from estimators.testing import refuses

pytestmark = pytest.mark.thorough


def by_hand(x, y, depth, significance=0.05):
    """Darbellay & Vajda's recursion; value, number of cells, and standard error."""
    n = len(x)
    u, v = ((scipy.stats.rankdata(a) - 0.5) / n for a in (x, y))
    limits = scipy.stats.chi2.isf(significance, [3, 15])
    found = []

    def places(number, of, corner, width):
        return np.floor((of - corner) * number / width).astype(int)

    def uneven(inside, left, low, width, cuts):
        number = 2**cuts
        cell = number * places(number, u[inside], left, width)
        cell += places(number, v[inside], low, width)
        counts = np.bincount(cell, minlength=number**2)
        return scipy.stats.chisquare(counts).statistic > limits[cuts - 1]

    def descend(inside, left, low, width, level):
        if not len(inside):
            return
        left_to_go = depth - level
        if any(uneven(inside, left, low, width, cuts) for cuts in (1, 2) if cuts <= left_to_go):
            half = width / 2
            for a in (left, left + half):
                for b in (low, low + half):
                    part = (u[inside] >= a) & (u[inside] < a + half)
                    part &= (v[inside] >= b) & (v[inside] < b + half)
                    descend(inside[part], a, b, half, level + 1)
            return
        in_x = ((u >= left) & (u < left + width)).sum()
        in_y = ((v >= low) & (v < low + width)).sum()
        found.append((len(inside), np.log(n * len(inside) / (in_x * in_y))))

    descend(np.arange(n), 0.0, 0.0, 1.0, 0)
    counts, ratios = np.array(found).T
    value = (counts * ratios).sum() / n
    variance = (counts * ratios**2).sum() / n - value**2
    freedom = max(len(found) - 1, 3)
    return value, len(found), np.sqrt(variance / n + freedom / (2 * n**2))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ["normal 1x1, rho = 0.9", "mixture of rho = +-0.9"])
@pytest.mark.parametrize(("n", "depth", "significance"), [(203, 6, 0.05), (1000, 8, 0.01)])
def test_against_a_recursion(name, n, depth, significance):
    x, y = LAWS[name][1](jax.random.key(1), n)
    value, cells, error = by_hand(np.ravel(x), np.ravel(y), depth, significance)
    assert cells > 16
    spec = information.AdaptiveBinned(significance, depth)
    estimate = spec.estimate(x, y)
    np.testing.assert_allclose(float(estimate.value), value, atol=1e-12)
    np.testing.assert_allclose(float(estimate.standard_error), error, atol=1e-12)
    kernel = information.adaptive_binned(x, y, significance=significance, depth=depth)
    assert float(kernel) == float(estimate.value)


def test_all_cuts_are_a_table():
    # At a significance of nearly one every cell is cut to the end: 8 x 8 equal-count bins.
    x, noise = jax.random.normal(jax.random.key(0), (2, 40_000, 1))
    y = x + noise
    value = information.adaptive_binned(x, y, significance=1 - 1e-6, depth=3)
    u, v = (np.asarray(_adaptive.equal_count_codes(a[:, 0], 8)) for a in (x, y))
    assert float(value) == pytest.approx(mutual_info_score(u, v), abs=1e-5)


@pytest.mark.parametrize("freedom", [3, 15])
@pytest.mark.parametrize("tail", [0.5, 0.05, 0.001])
def test_chi_squared_quantile(freedom, tail):
    ours = _adaptive.chi_squared_quantile(jnp.asarray(tail), freedom)
    np.testing.assert_allclose(float(ours), scipy.stats.chi2.isf(tail, freedom), rtol=1e-4)


@pytest.mark.parametrize(("name", "slack"), [
    ("normal 1x1, rho = 0", 0.01), ("normal 1x1, rho = 0.5", 0.02),
    ("normal 1x1, rho = 0.9", 0.06), ("mixture of rho = +-0.9", 0.06),
])  # fmt: skip
def test_known_laws(name, slack):
    # Mean of 20 data sets of 2000 rows; the slack is for the cells' bias, 5 Monte Carlo errors.
    truth, sample = LAWS[name]
    keys = jax.random.split(jax.random.key(0), 20)
    values = jax.lax.map(lambda key: information.adaptive_binned(*sample(key, 2000)), keys)
    assert abs(float(values.mean()) - truth) < slack + 5 * float(values.std()) / np.sqrt(20)


def test_ranks_only_and_ties():
    x, y = jax.random.normal(jax.random.key(0), (2, 200, 1))
    spec = information.AdaptiveBinned()
    chex.assert_trees_all_equal(spec.estimate(x, y), spec.estimate(jnp.exp(x), y**3))
    signs = jnp.sign(x)  # two values: the first cut tells them apart, and the others nothing
    assert float(information.adaptive_binned(signs, signs)) == pytest.approx(
        mutual_info_score(np.ravel(signs), np.ravel(signs)), abs=1e-5
    )


def test_refusals():
    x = jnp.arange(20.0)[:, None]
    with refuses("one column"):
        information.adaptive_binned(jnp.concatenate([x, x**2], 1), x)
    with refuses("significance must lie strictly between"):
        information.AdaptiveBinned(significance=0.0)
    with refuses("depth must be at most 15"):
        information.AdaptiveBinned(depth=16)
    inside = jax.jit(lambda level: information.adaptive_binned(x, x, significance=level))(2.0)
    assert np.isnan(inside)
