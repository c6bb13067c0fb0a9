"""The regime at a point against direct sums, theory and simulation."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from estimators import density
from estimators.density import _condensation
from estimators.density._condensation import CRITICAL_PARTICIPATION
from estimators.testing import refuses


def shares(points, queries, h, weights=None):
    """The kernels' shares of the sum, `(*batch, n)`, from the whole matrix."""
    squares = jnp.sum((queries[..., None, :] - points[None, None]) ** 2, -1)
    weights = jnp.ones(points.shape[0]) if weights is None else weights
    kernel = weights[None, None] * jnp.exp(-0.5 * squares / h**2)
    return kernel / kernel.sum(-1, keepdims=True)


def problem():
    points = jax.random.normal(jax.random.key(0), (500, 4))
    weights = jax.random.uniform(jax.random.key(1), (500,))
    return points, weights, jax.random.normal(jax.random.key(2), (2, 5, 4))


def test_equals_the_direct_sum(x64):
    points, weights, queries = problem()
    fitted = density.KDE(1.5).fit(points, weights)
    got = density.regime(fitted, queries)
    share = shares(points, queries, 1.5, weights)
    prior = weights / weights.sum()
    np.testing.assert_allclose(got.participation_ratio, (share**2).sum(-1), rtol=1e-9)
    np.testing.assert_allclose(got.effective_points * got.participation_ratio, 1.0)
    np.testing.assert_allclose(got.log_density, fitted.log_density(queries), rtol=1e-12)
    np.testing.assert_allclose(
        got.variance_participation_ratio,
        (share**4).sum(-1) / (share**2).sum(-1) ** 2,
        rtol=1e-9,
    )
    variance = ((share - prior[None, None]) ** 2).sum(-1) / (1 - (prior**2).sum())
    offered = np.asarray(got.code == 0)
    assert offered.sum() >= 5
    np.testing.assert_allclose(got.standard_error[offered] ** 2, variance[offered], rtol=1e-8)
    assert jnp.isposinf(got.standard_error[~offered]).all()
    assert got.label.shape == got.reason.shape == (2, 5)


def test_the_index_is_where_the_participation_is_critical(x64):
    """At the condensation bandwidth of each query its participation ratio is .2."""
    points, weights, queries = problem()
    for h in (0.05, 0.6, 3.0):
        got = density.regime(density.KDE(h).fit(points, weights), queries)
        critical = h * got.condensation_bandwidth
        np.testing.assert_allclose(critical, h / jnp.sqrt(got.stable_index))
        at = shares(points, queries, critical[..., None], weights)
        np.testing.assert_allclose((at**2).sum(-1), CRITICAL_PARTICIPATION, rtol=2e-3)


@pytest.mark.thorough
def test_the_variance_is_that_over_fresh_data_sets(x64):
    """The standard error squared has the expectation of the squared error: 4000 data sets."""
    n, h, x = 200, 1.0, jnp.array([[0.3, -0.2, 0.5]])
    target = -0.5 * jnp.sum(x**2, -1) / (1 + h**2) - 1.5 * jnp.log(2 * jnp.pi * (1 + h**2))

    def one(key):
        of_points, of_weights = jax.random.split(key)
        points = jax.random.normal(of_points, (n, 3))
        weights = jax.random.uniform(of_weights, (n,)) + 0.2
        got = density.regime(density.KDE(h).fit(points, weights), x)
        return jnp.expm1(got.log_density - target), got.standard_error, got.code

    error, standard_error, code = jax.jit(lambda k: jax.lax.map(one, k))(
        jax.random.split(jax.random.key(0), 4000)
    )
    assert (code == 0).all()
    # The relative standard deviation of a variance from 4000 is .022.
    ratio = jnp.mean(standard_error**2) / jnp.mean(error**2)
    assert abs(ratio - 1) < 4 * 0.025


# n = 1e5, d = 20: h_G at finite n and d is .666 (spec table). Predicted participation is
# 1 - m in the limit; the simulated column of that table is at finite n and d.
@pytest.mark.parametrize(
    ("ratio", "participation"),
    [
        pytest.param(0.4, 0.834, marks=pytest.mark.thorough),
        pytest.param(0.6, 0.643, marks=pytest.mark.thorough),
        (0.8, 0.411),
        pytest.param(1.25, 0.052, marks=pytest.mark.thorough),
    ],
)
def test_participation_and_index_follow_the_theory(ratio, participation):
    keys = jax.random.split(jax.random.key(7), 2)
    points = jax.random.normal(keys[0], (100_000, 20))
    queries = jax.random.normal(keys[1], (300, 20))
    got = density.regime(density.KDE(0.666 * ratio).fit(points), queries)
    # 300 queries, standard deviation of the ratio at most .25: 4 standard errors are .058
    # on the simulated figure, false alarm below 1e-4.
    assert abs(float(got.participation_ratio.mean()) - participation) < 0.058
    index = float(jnp.median(got.stable_index))
    assert abs(index / ratio**2 - 1) < 0.25
    expected = "condensed" if ratio < 1 else "heavy-tailed"
    values, counts = np.unique(got.label, return_counts=True)
    assert values[counts.argmax()] == expected
    assert (got.code != 0).all()


@pytest.mark.thorough
def test_the_search_takes_few_passes(monkeypatch):
    """Five to seven evaluations for 300 queries, whatever the bandwidth to start from."""
    points = jax.random.normal(jax.random.key(0), (2000, 16))
    queries = jax.random.normal(jax.random.key(1), (300, 16))
    passes = []

    def count():
        passes.append(1)

    statistics = _condensation.kernel_statistics

    def counted(*arguments, **options):
        jax.debug.callback(count)
        return statistics(*arguments, **options)

    monkeypatch.setattr(_condensation, "kernel_statistics", counted)
    for h in (0.4, 0.7, 2.0):
        passes.clear()
        kernel_sum = _condensation.KernelSum(
            queries / h, points / h, jnp.full(2000, -jnp.log(2000.0)), None
        )
        here = kernel_sum.statistics(jnp.zeros(300))
        jax.block_until_ready(_condensation.stable_index(kernel_sum, here))
        jax.effects_barrier()
        assert 3 <= len(passes) <= 9


def test_labels_and_reasons():
    points = jax.random.normal(jax.random.key(0), (2000, 3))
    queries = jnp.array([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [3.2, 0.0, 0.0], [9.0, 9.0, 9.0]])
    got = density.regime(density.KDE("scott").fit(points), queries)
    assert list(got.label) == ["classical", "classical", "heavy-tailed", "condensed"]
    assert (np.diff(got.stable_index) < 0).all()
    assert list(got.reason[:2]) == ["", ""]
    assert got.reason[2].startswith("heavy-tailed: ")
    assert got.reason[3].startswith("condensed: ")
    lower, upper = got.interval(0.9)
    np.testing.assert_array_equal(np.isfinite(lower), [True, True, False, False])
    assert (lower[2:] == -jnp.inf).all()
    assert (upper[2:] == jnp.inf).all()
    wider = got.interval(0.99)
    assert (wider[0][:2] < lower[:2]).all()
    assert (wider[1][:2] > upper[:2]).all()
    with pytest.raises(ValueError, match="coverage must lie strictly between 0 and 1"):
        got.interval(1.0)
    with refuses("coverage"):
        got.interval(-0.5)
    for coverage in (-0.5, 0.0, 1.0):
        assert jnp.isnan(jnp.stack(jax.jit(density.Regime.interval)(got, coverage))).all()


@pytest.mark.parametrize("coverage", [0.5, 0.95, 0.999])
def test_the_interval_is_students(x64, coverage):
    stats = pytest.importorskip("scipy.stats")
    ratio = jnp.array([1e-4, 0.03, 0.0999])
    one = jnp.ones(3)
    got = density.Regime(0 * one, one, one, ratio, one, jnp.zeros(3, int))
    expected = stats.t(2 / np.asarray(ratio)).ppf(0.5 + coverage / 2)
    np.testing.assert_allclose(got.interval(coverage)[1], expected, rtol=1e-3)


def test_few_points_are_never_classical():
    """Ten points, or a thousand copies of two, however wide the kernel."""
    queries = jax.random.normal(jax.random.key(1), (20, 2))
    few = jax.random.normal(jax.random.key(0), (10, 2))
    for points in (few, few[:3]):
        got = density.regime(density.KDE(5.0).fit(points), queries)
        assert (got.code != 0).all()
    assert (got.code == 2).all()  # three points: condensed at any bandwidth


def test_unequal_widths(x64):
    """Widths that are all c are a kernel of bandwidth c."""
    points, weights, queries = problem()
    plain = density.KDE(1.2).fit(points, weights)
    unequal = dataclasses.replace(
        plain, points=2 * plain.points, factor=plain.factor / 2, widths=jnp.full(500, 2.0)
    )
    for got, expected in zip(
        jax.tree.leaves(density.regime(unequal, queries)),
        jax.tree.leaves(density.regime(plain, queries)),
        strict=True,
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-6)


@pytest.mark.parametrize("unequal", [False, True])
def test_kernels_of_one_row_vary_together(x64, unequal):
    """Every row owns two kernels: the variance is that of the rows."""
    points, weights, queries = problem()
    plain = density.KDE(1.5).fit(points, weights)
    apart = plain.points + jnp.array([[0.3, 0.0, -0.2, 0.1]])
    half = plain.log_weights - jnp.log(2)
    twice = dataclasses.replace(
        plain,
        points=jnp.concatenate([plain.points, apart]),
        rows=plain.points,
        log_weights=jnp.concatenate([half, half]),
        widths=jnp.repeat(jnp.array([1.0, 1.4]), 500) if unequal else None,
    )
    got = density.regime(twice, queries)
    s = jnp.ones(1000) if twice.widths is None else twice.widths
    white = (queries - plain.location[None, None]) / 1.5
    squares = jnp.sum((white[..., None, :] - twice.points[None, None]) ** 2, -1)
    kernel = jnp.exp(twice.log_weights - 4 * jnp.log(s) - 0.5 * jnp.log(1.0))[None, None]
    kernel = kernel * jnp.exp(-0.5 * squares / s[None, None] ** 2)
    share = (kernel / kernel.sum(-1, keepdims=True)).reshape(2, 5, 2, 500).sum(2)
    np.testing.assert_allclose(got.participation_ratio, (share**2).sum(-1), rtol=1e-9)
    prior = jnp.exp(plain.log_weights)
    variance = ((share - prior[None, None]) ** 2).sum(-1) / (1 - (prior**2).sum())
    offered = np.asarray(got.code == 0)
    assert offered.any()
    np.testing.assert_allclose(got.standard_error[offered] ** 2, variance[offered], rtol=1e-8)


@pytest.mark.thorough
def test_derivatives(x64):
    points, weights, queries = problem()
    queries = 0.5 * queries[0]

    def values(points, queries):
        got = density.regime(density.KDE(1.5).fit(points, weights), queries)
        return got.stable_index, got.standard_error, got.participation_ratio, got.log_density

    assert (density.regime(density.KDE(1.5).fit(points, weights), queries).code == 0).all()
    # The index is found to about 1e-4: differences of it need wide steps.
    check_grads(
        lambda *a: values(*map(jnp.asarray, a)),
        (points, queries),
        order=1,
        modes=["rev"],
        eps=1e-3,
        rtol=5e-2,
        atol=5e-2,
    )


def test_undefined_where_the_density_is(x64):
    def code(points):
        return density.regime(density.KDE("scott").fit(points), jnp.zeros((2, 2)))

    got = jax.jit(code)(jnp.full((10, 2), jnp.nan))
    assert list(got.label) == ["undefined", "undefined"]
    assert list(got.reason) == ["undefined: the density is NaN"] * 2
    assert jnp.isnan(got.stable_index).all()
    assert jnp.isnan(got.standard_error).all()
    assert jnp.isnan(got.interval()[0]).all()


def test_other_kernels_are_refused():
    fitted = density.KDE(1.0).fit(jnp.arange(10.0)[:, None])
    with pytest.raises(ValueError, match="fitted must have a Gaussian kernel; got Epanechnikov"):
        density.regime(dataclasses.replace(fitted, kernel=density.Epanechnikov()), jnp.ones((2, 1)))


def test_copies_of_a_row_are_one_observation(x64):
    points = jax.random.normal(jax.random.key(0), (300, 2))
    weights = jax.random.uniform(jax.random.key(2), (300,)) + 0.5
    queries = jax.random.normal(jax.random.key(1), (5, 2))
    once = density.regime(density.KDE(0.6).fit(points, weights=weights), queries)
    # Four copies of each row, in another order, that share its weight.
    copies, of_copies = jnp.tile(points, (4, 1))[::-1], jnp.tile(weights, 4)[::-1] / 4
    repeated = density.regime(density.KDE(0.6).fit(copies, weights=of_copies), queries)
    for name in ("log_density", "standard_error", "participation_ratio", "stable_index"):
        ours, theirs = getattr(repeated, name), getattr(once, name)
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, err_msg=name)


def test_the_density_of_a_narrow_kernel_is_that_of_the_fit():
    points = np.random.default_rng(0).normal(size=(500, 3)).astype(np.float32)
    queries = points[:40] + 1e-4 * np.random.default_rng(1).normal(size=(40, 3)).astype(np.float32)
    fitted = density.KDE(1e-4).fit(points)
    got = density.regime(fitted, queries).log_density
    np.testing.assert_allclose(got, fitted.log_density(queries), rtol=1e-6)
