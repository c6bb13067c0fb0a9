"""ProductKDE against statsmodels, its definition and brute force."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy import stats

from estimators import density
from estimators.density import Bounded, Categorical, Ordered, Periodic, ProductKDE, Real
from estimators.testing import refuses


def mixed(n, seed=0):
    """A real, a beta, an hour and two discrete columns, dependent; and their kinds."""
    generator = np.random.default_rng(seed)
    group = generator.integers(3, size=n)
    real = generator.normal(size=n) + group
    hour = (4 * group + generator.vonmises(0, 2, size=n) * 24 / (2 * np.pi)) % 24
    share = generator.beta(1, 3, size=n)
    counts = generator.poisson(1 + group).clip(0, 6)
    kinds = [Real(), Bounded(0, 1), Periodic(24), Categorical(3), Ordered(7)]
    return np.stack([real, share, hour, group, counts], 1), kinds


def test_equals_statsmodels(x64):
    """Frozen from statsmodels 0.15.0, its Aitchison-Aitken and normal kernels:

    kde = KDEMultivariate(data, var_type="cu", bw=[0.5, 0.2])
    np.log(kde.pdf(queries)); kde.loo_likelihood([0.5, 0.2], func=np.log)
    """
    i = np.arange(60)
    levels = (i * 7 + i // 5) % 3
    data = np.stack([2 * np.sin(12.9898 * (i + 1)) + levels, levels], 1)
    queries = np.array([[0.0, 0], [1.5, 1], [2.5, 2], [-1.0, 2]])
    fitted = ProductKDE([Real(), Categorical(3)], bandwidth=[0.5, 0.2]).fit(data)
    expected = [-3.073317556111723, -2.3475858755712147, -4.033230294824319, -4.0271355969494715]
    np.testing.assert_allclose(fitted.log_density(queries), expected, rtol=1e-12)
    # statsmodels returns minus the log-likelihood of sums that are not divided by n - 1.
    alone = fitted.leave_one_out_log_density().sum() + 60 * np.log(59)
    np.testing.assert_allclose(alone, 85.61390265788289, rtol=1e-12)


def test_a_table_equals_the_sum_of_its_columns(x64):
    """The joint kernel is the product, with weights, over more than one block."""
    table, kinds = mixed(1300)
    generator = np.random.default_rng(1)
    weights = generator.uniform(size=1300)
    bandwidth = [0.4, 0.1, 2.0, 0.2, 0.5]
    queries = table[:700]
    got = ProductKDE(kinds, bandwidth=bandwidth).fit(table, weights).log_density(queries)

    def column(j):
        one = ProductKDE([kinds[j]], bandwidth=bandwidth[j : j + 1])
        at = jax.vmap(lambda y: one.fit(y[None, None]).log_density(queries[::50, j, None]))
        return np.asarray(at(jnp.asarray(table[:, j]))).T

    # ProductKDE's own one-point, one-column values: the kernels, which are tested above.
    logs = sum(column(j) for j in range(5))
    expected = np.log(np.exp(logs) @ (weights / weights.sum()))
    np.testing.assert_allclose(got[::50], expected, rtol=1e-11)


def test_leave_one_out_is_the_fit_without_the_row(x64):
    table, kinds = mixed(30)
    weights = np.random.default_rng(2).uniform(size=30)
    spec = ProductKDE(kinds, bandwidth=[0.4, 0.1, 2.0, 0.2, 0.5])
    got = spec.fit(table, weights).leave_one_out_log_density()
    for i in (0, 7):
        rest = np.delete(np.arange(30), i)
        alone = spec.fit(table[rest], weights[rest]).log_density(table[i])
        np.testing.assert_allclose(got[i], alone, rtol=1e-12)


def test_copies_in_leave_one_out(x64):
    """Equal continuous parts leave together, whatever the code; all-discrete rows alone."""
    table = np.array([[0.5, 0], [0.5, 1], [1.5, 0], [2.5, 1]])
    spec = ProductKDE([Real(), Categorical(2)], bandwidth=[0.6, 0.3])
    got = spec.fit(table).leave_one_out_log_density()
    alone = spec.fit(table[2:]).log_density(table[:2])
    np.testing.assert_allclose(got[:2], alone, rtol=1e-12)
    codes = np.array([[0.0], [0.0], [1.0]])
    spec = ProductKDE([Categorical(2)], bandwidth=[0.3])
    got = spec.fit(codes).leave_one_out_log_density()
    np.testing.assert_allclose(np.exp(got), [0.5, 0.5, 0.3], rtol=1e-12)


@pytest.mark.thorough
@pytest.mark.parametrize("weighted", [False, True])
def test_leave_one_out_reaches_the_maximum(x64, weighted):
    """No bandwidth of a grid, nor of 200 random ones, has a larger likelihood."""
    table, kinds = mixed(150)
    columns = [0, 2, 3]
    table, kinds = table[:, columns], [kinds[j] for j in columns]
    weights = np.random.default_rng(3).uniform(size=150) if weighted else np.ones(150)
    best = ProductKDE(kinds).fit(table, weights)
    assert best.info.status == 0

    def likelihood(bandwidth):
        fitted = ProductKDE(kinds, bandwidth=bandwidth).fit(table, weights)
        return jnp.exp(fitted.log_weights) @ fitted.leave_one_out_log_density()

    np.testing.assert_allclose(likelihood(best.bandwidth), best.info.log_likelihood, rtol=1e-9)
    grid = itertools.product(
        np.geomspace(0.1, 2, 9), np.geomspace(0.5, 12, 9), np.linspace(0.01, 0.6, 7)
    )
    near = np.asarray(best.bandwidth) * np.exp(
        np.random.default_rng(4).normal(0, 0.05, size=(200, 3))
    )
    others = jax.lax.map(likelihood, jnp.array([*grid, *near]), batch_size=16)
    assert others.max() < best.info.log_likelihood + 1e-9
    assert others.max() > best.info.log_likelihood - 0.01  # the grid is about the maximum


@pytest.mark.thorough
def test_columns_that_tell_nothing_are_smoothed_out():
    """An independent uniform column of each kind: its kernel becomes nearly uniform."""
    generator = np.random.default_rng(5)
    n = 1500
    table = np.stack(
        [
            generator.normal(size=n),
            generator.uniform(size=n),
            generator.uniform(0, 24, size=n),
            generator.integers(4, size=n),
        ],
        1,
    ).astype(np.float32)
    kinds = [Real(), Bounded(0, 1), Periodic(24), Categorical(4)]
    fitted = ProductKDE(kinds).fit(table)
    alone = ProductKDE(kinds[:1]).fit(table[:, :1])
    assert fitted.bandwidth[1] > 0.3
    assert fitted.bandwidth[2] > 0.3 * 24
    assert fitted.bandwidth[3] > 0.8 * 0.75
    np.testing.assert_allclose(fitted.bandwidth[0], alone.bandwidth[0], rtol=0.1)


@pytest.mark.thorough
@pytest.mark.parametrize("rule", ["loo", "scott"])
def test_units_do_not_matter(x64, rule):
    table, kinds = mixed(200)
    scale, shift = np.array([1e6, 1e-3, 60.0, 1, 1]), np.array([1e6, 5.0, 0, 0, 0])
    others = [Real(), Bounded(5, 5.001), Periodic(1440), *kinds[3:]]
    plain = ProductKDE(kinds, bandwidth=rule).fit(table)
    scaled = ProductKDE(others, bandwidth=rule).fit(table * scale + shift)
    np.testing.assert_allclose(scaled.bandwidth, plain.bandwidth * scale, rtol=1e-5)
    got = scaled.log_density(table * scale + shift) + np.log(scale).sum()
    np.testing.assert_allclose(got, plain.log_density(table), atol=1e-5)


@pytest.mark.thorough
def test_draws_follow_the_estimate(x64):
    """Marginals of 20 000 draws: Kolmogorov-Smirnov and chi-square at level 1e-5 each."""
    table, kinds = mixed(40)
    table = np.concatenate([table, np.exp(table[:, :1])], 1)
    kinds = [*kinds, Bounded(lower=0, by="transform")]
    bandwidth = [0.4, 0.4, 5.0, 0.3, 0.4, 0.5]
    fitted = ProductKDE(kinds, bandwidth=bandwidth).fit(table)
    draws = np.asarray(fitted.sample(20_000, key=jax.random.key(8)))
    for j, (lower, upper) in enumerate(((-6, 9), (0, 1), (0, 24), (0, 2), (0, 6), (0, 400))):
        kind = kinds[j]
        assert draws[:, j].min() >= lower
        assert draws[:, j].max() <= upper
        one = ProductKDE([kind], bandwidth=bandwidth[j : j + 1]).fit(table[:, j : j + 1])
        if kind.continuous:
            x = np.linspace(lower, upper, 40_001)[1:]
            mass = np.cumsum(np.exp(one.log_density(x[:, None]))) * (x[1] - x[0])
            assert abs(mass[-1] - 1) < 1e-3
            law = stats.kstest(draws[:, j], lambda v, x=x, mass=mass: np.interp(v, x, mass))
            assert law.pvalue > 1e-5
        else:
            codes = np.arange(upper + 1.0)
            counts = (draws[:, j, None] == codes).sum(0)
            assert counts.sum() == 20_000
            expected = 20_000 * np.exp(one.log_density(codes[:, None]))
            assert stats.chisquare(counts, expected).pvalue > 1e-5


@pytest.mark.thorough
def test_derivatives_by_bandwidth_and_data(x64):
    """Finite differences, for given bandwidths and through the leave-one-out optimum."""
    table, kinds = mixed(25)
    queries = jnp.asarray(table[:4])

    def held_out(bandwidth):
        return ProductKDE(kinds, bandwidth=bandwidth).fit(table).log_density(queries)

    check_grads(held_out, (jnp.array([0.4, 0.1, 2.0, 0.2, 0.5]),), order=1, rtol=1e-5)
    wide = held_out(jnp.array([0.4, 50.0, 300.0, 0.2, 1.0]))
    assert jnp.isfinite(
        jax.grad(lambda b: held_out(b).sum())(jnp.array([0.4, 9, 99, 0.6, 1]))
    ).all()
    assert jnp.isfinite(wide).all()

    noise = 1.5 * np.random.default_rng(10).normal(size=25)
    codes = (table[:, 0] + noise > 0.5).astype(float)

    def chosen(real):
        points = jnp.stack([real, jnp.asarray(codes)], 1)
        return ProductKDE([Real(), Categorical(2)]).fit(points).bandwidth

    real = jnp.asarray(table[:, 0])
    assert 0.01 < chosen(real)[1] < 0.49  # inside its range, where there is a derivative
    slope = jax.jacrev(chosen)(real)[:, 3]
    step = 1e-3 * jnp.zeros(25).at[3].set(1)
    expected = (chosen(real + step) - chosen(real - step)) / 2e-3
    np.testing.assert_allclose(slope, expected, rtol=1e-3, atol=1e-6)


SQUARE = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]], np.float32)
BAD = [
    (lambda: ProductKDE([]), "columns must name at least one"),
    (lambda: ProductKDE(["real"]), r"columns\[0\] must be a kind of column"),
    (lambda: ProductKDE([Real()], bandwidth="silverman"), "bandwidth must be one of"),
    (lambda: ProductKDE([Real()], bandwidth=[1.0, 2.0]), "bandwidth must have length 1"),
    (lambda: ProductKDE([Real()], bandwidth=[-1.0]), r"bandwidth\[0\] must be positive"),
    (
        lambda: ProductKDE([Real(), Categorical(2)], bandwidth=[1.0, 0.6]),
        r"bandwidth\[1\] must be 0 to 0.5",
    ),
    (lambda: Bounded(), "lower or upper must be a finite number"),
    (lambda: Bounded(1.0, 0.0), "lower must be a number below upper; got 1.0 and 0.0"),
    (lambda: Bounded(0.0, 1.0, by="magic"), "by must be one of"),
    (lambda: Periodic(0.0), "period must be a positive number"),
    (lambda: Categorical(1), "levels must be a whole number >= 2"),
    (lambda: ProductKDE([Real()]).fit(jnp.ones((3, 2))), "one column for each of the 1 kinds"),
    (
        lambda: ProductKDE([Real(), Bounded(0, 1)]).fit([[0.0, 0.5], [1.0, 1.5]]),
        "column 1 of points must hold values inside its bounds.*got 1.5",
    ),
    (
        lambda: ProductKDE([Bounded(0, 1, by="transform")]).fit([[0.0], [0.5]]),
        "column 0 of points must hold values inside its bounds.*got 0.0",
    ),
    (
        lambda: ProductKDE([Real(), Categorical(3)]).fit([[0.0, 1.0], [1.0, 3.0]]),
        r"column 1 of points must hold values one of the codes 0..2.*got 3.0",
    ),
    (
        lambda: ProductKDE([Ordered(3)], bandwidth=[0.5]).fit([[1.0]]).log_density([[0.5]]),
        "column 0 of x must hold values one of the codes",
    ),
    (
        lambda: ProductKDE([Categorical(2), Real()]).fit([[0.0, 4.0], [1.0, 4.0]]),
        "column 1 is 4.0 in all rows",
    ),
    (
        lambda: ProductKDE([Real()] * 2, bandwidth="scott").fit(SQUARE, [0.0, 1.0, 0.0, 0.0]),
        "column 0 is 1.0 in all rows with weight",
    ),
    (
        lambda: ProductKDE([Real()] * 2, bandwidth="scott").fit(SQUARE, [0.0, 1.0, 1.0, 0.0]),
        "column 0 is 1.0 in all rows with weight",
    ),
    (
        lambda: ProductKDE([Real()] * 2, bandwidth="scott").fit(SQUARE, [1e12, 1.0, 1.0, 1.0]),
        "bandwidth 'scott' must come out finite and positive; that of column 0",
    ),
    (
        lambda: ProductKDE([Real()] * 2, bandwidth="loo").fit(SQUARE * np.float32([1, 1e-30])),
        "bandwidth 'loo' must come out finite and positive; that of column 1",
    ),
    (lambda: ProductKDE([Real()], bandwidth=[1.0]).fit([[1.0]]).sample(0, key=None), "n must"),
]


@pytest.mark.parametrize(("make", "message"), BAD)
def test_bad_input_is_refused(make, message):
    with refuses(message):
        make()


def test_rounded_columns_are_refused_by_number():
    """Ages in whole years beside a number: the likelihood has no maximum."""
    generator = np.random.default_rng(9)
    table = np.stack([generator.normal(size=400), generator.integers(20, 30, size=400)], 1)
    with refuses("no bandwidth above zero for column 1: its values repeat"):
        ProductKDE([Real(), Real()]).fit(table.astype(np.float32))


def test_status_and_nan_inside_jit():
    kinds = [Real(), Bounded(0, 1), Categorical(2)]

    def value(points, x):
        fitted = ProductKDE(kinds, bandwidth="scott").fit(points)
        return fitted.info.status, fitted.log_density(x)

    points = jax.random.uniform(jax.random.key(0), (20, 3)).at[:, 2].set(jnp.arange(20) % 2)
    good = points[:2]
    for bad, code in (
        (points.at[3, 0].set(jnp.inf), 1),
        (points.at[3, 1].set(-0.1), 2),
        (points.at[3, 2].set(0.5), 2),
        (points.at[:, 0].set(2.0), 3),
    ):
        status, result = jax.jit(value)(bad, good)
        assert status == code
        assert jnp.isnan(result).all()
    status, result = jax.jit(value)(points, good.at[0, 2].set(7.0))
    assert status == 0
    assert jnp.isnan(result[0]) & jnp.isfinite(result[1])
    # Weights that are all negative are not taken for their absolute values.
    for bad in (jnp.ones(20).at[3].set(-0.1), -jnp.ones(20)):
        spec = ProductKDE(kinds, bandwidth="scott")
        fitted = jax.jit(ProductKDE.fit)(spec, points, bad)
        assert fitted.info.status == 1
        assert jnp.isnan(fitted.log_density(good)).all()
    # A whole batch may fail and succeed row by row.
    batch = jnp.stack([points, points.at[3, 1].set(2.0)])
    status, result = jax.vmap(lambda p: value(p, good))(batch)
    assert status.tolist() == [0, 2]
    assert jnp.isfinite(result[0]).all() & jnp.isnan(result[1]).all()


def test_exported():
    names = "Bounded Categorical FittedProductKDE Ordered Periodic ProductKDE ProductKDEInfo Real"
    assert set(names.split()) <= set(density.__all__)
