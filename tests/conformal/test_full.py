"""Full conformal sets against refits for every candidate, exact fractions, and simulation."""

import functools
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsRegressor

from estimators.conformal import _full as full
from estimators.conformal._full import _sets as sets
from estimators.testing import refuses

RESIDUALS = ("ordinary", "studentised", "deleted")
REACHES = jax.jit(sets.reaches)
UNION = jax.jit(sets.union, static_argnums=(1, 2))
HULL = jax.jit(sets.hull, static_argnums=1)
FAR = np.geomspace(40, 1e5, 150)
CANDIDATES = np.concatenate([-FAR[::-1], np.linspace(-40, 40, 1201), FAR]) + 1e-4


def draw(seed, n=12, d=2, tests=5):
    """Rows with heavy tails and test rows that stand out: many leverages are large."""
    generator = np.random.default_rng(seed)
    features = generator.standard_t(1.5, (n + tests, d)) + 3.0
    y = features[:, 0] + generator.normal(size=n + tests) + 1.0
    return features[:n], y[:n], 2 * features[n:]


def refitted_ridge(features, y, row, candidates, ridge, residuals, intercept):
    """Scores of all rows from a fit for each candidate: (n + 1, candidates)."""
    rows = np.vstack([features, row])
    responses = np.vstack([np.repeat(y[:, None], len(candidates), 1), candidates])
    model = Ridge(ridge, fit_intercept=intercept, solver="cholesky").fit(rows, responses)
    design = np.hstack([rows, np.ones((len(rows), 1))]) if intercept else rows
    penalty = np.diag([ridge] * rows.shape[1] + [0.0] * intercept)
    hat = design @ np.linalg.solve(design.T @ design + penalty, design.T)
    power = {"ordinary": 0.0, "studentised": 0.5, "deleted": 1.0}[residuals]
    return np.abs(responses - model.predict(rows)) / ((1 - np.diag(hat)) ** power)[:, None]


def refitted_neighbours(features, y, row, candidates, neighbours):
    rows = np.vstack([features, row])
    responses = np.vstack([np.repeat(y[:, None], len(candidates), 1), candidates])
    scores = []
    for i in range(len(rows)):
        others = np.delete(np.arange(len(rows)), i)
        model = KNeighborsRegressor(neighbours).fit(rows[others], responses[others])
        scores.append(np.abs(responses[i] - model.predict(rows[i : i + 1])[0]))
    return np.stack(scores)


def p_values(scores):
    """From scores; those equal up to rounding count as equal."""
    return np.sum(scores >= scores[-1] - 1e-9, 0) / len(scores)


def in_union(found, row, candidates):
    """Membership in the intervals of one test row."""
    kept = np.zeros(len(candidates), bool)
    for lower, upper in zip(found.lower[row], found.upper[row], strict=True):
        kept |= (lower <= candidates) & (candidates <= upper)
    return kept


def affine_case(seed, n, kind):
    """Residuals where all that can happen does: zeros, slopes of -1, 0, 1 and beyond, and with
    "tied" critical points that coincide; those are then exact in binary."""
    generator = np.random.default_rng(seed)
    if kind == "tied":
        constant = generator.integers(-8, 9, n) / 2.0
        return constant, generator.choice([-3.0, -1.0, 0.0, 1.0, 3.0], n), 0.25
    return generator.normal(size=n), generator.normal(0, 2, n), generator.normal()


@pytest.mark.parametrize("kind", ["tied", "generic"])
def test_the_set_is_the_one_that_exact_fractions_give(x64, kind):
    """Membership on a grid, at every critical point and 1e-6 beside it, for several ranks."""
    n, seeds = 11, range(10)
    cases = [affine_case(seed, n, kind) for seed in seeds]
    constant, slope, centre = (jnp.array(part) for part in zip(*cases, strict=True))
    found = REACHES(constant, slope, centre)
    critical = np.unique(np.concatenate([np.asarray(end)[np.isfinite(end)] for end in found]))
    grid = np.concatenate([np.arange(-320, 321) / 16.0, critical, critical - 1e-6, critical + 1e-6])
    candidates = jnp.broadcast_to(grid[:, None], (len(grid), len(seeds)))
    p = jax.jit(jax.vmap(sets.p_value, (None, 0), 1))(found, candidates)
    reached = np.round(np.asarray(p) * (n + 1)).astype(int) - 1
    for case in seeds:
        expected = np.zeros(len(grid), int)
        away = [Fraction(y) - Fraction(cases[case][2]) for y in grid]
        for a, b in zip(*cases[case][:2], strict=True):
            gap = [abs(Fraction(a) + Fraction(b) * v) - abs(v) for v in away]
            expected += [g >= -Fraction(1, 10**12) for g in gap]  # a rounded end is an end
        np.testing.assert_array_equal(reached[case], expected)
    several = 0
    for needed in (0, 5, n):
        union = jax.tree.map(np.asarray, UNION(found, needed, n + 1))
        lower, upper = map(np.asarray, HULL(found, needed))
        for case in seeds:
            np.testing.assert_array_equal(in_union(union, case, grid), reached[case] >= needed)
            count = union.count[case]
            several += count > 1
            assert np.isnan(union.lower[case, count:]).all()
            assert (union.lower[case, 1:count] > union.upper[case, : count - 1]).all()
            assert lower[case] == union.lower[case, 0]
            assert upper[case] == union.upper[case, count - 1]
    assert several > 5


def test_the_hull_is_the_same_by_selection_and_by_sorting(x64):
    """Slopes within (-1, 1) are selected; one row that reaches round makes it sort."""
    keys = jax.random.split(jax.random.key(0), 2)
    constant = jax.random.normal(keys[0], (6, 15))
    slope = jax.random.uniform(keys[1], (6, 15), minval=-1.0)
    inside = REACHES(constant, slope, jnp.zeros(6))
    always = jnp.concatenate([slope, jnp.full((6, 1), 5.0)], 1)
    mixed = REACHES(jnp.pad(constant, ((0, 0), (0, 1)), constant_values=1e-9), always, jnp.zeros(6))
    selected = HULL(inside, 4)
    union = UNION(inside, 4, 2)
    np.testing.assert_array_equal(selected, (union.lower[:, 0], union.upper[:, 0]))
    assert (union.count == 1).all()
    # The row that was added reaches all but 1e-9.
    np.testing.assert_allclose(HULL(mixed, 5), selected, atol=1e-8)


@pytest.mark.parametrize(
    ("residuals", "intercept"),
    [
        ("ordinary", True),
        ("studentised", True),
        ("deleted", False),
        *(
            pytest.param(residuals, intercept, marks=pytest.mark.thorough)
            for residuals, intercept in zip(RESIDUALS, (False, False, True), strict=True)
        ),
    ],
)
def test_ridge_sets_are_those_of_a_refit_for_every_candidate(x64, residuals, intercept):
    """The p-value at 1501 candidates a row, exactly; every interval of the set."""
    several = 0
    spec = full.FullConformalRidge(0.5, 0.5, residuals=residuals, intercept=intercept)
    for seed in range(4):
        features, y, tests = draw(seed, d=6)
        fitted = spec.fit(features, y)
        repeated = np.repeat(tests[:, None], len(CANDIDATES), 1)
        p = fitted.p_value(repeated, np.broadcast_to(CANDIDATES, repeated.shape[:-1]))
        found = jax.tree.map(np.asarray, fitted.intervals(tests))
        several += (found.count > 1).sum()
        for row, test in enumerate(tests):
            scores = refitted_ridge(features, y, test, CANDIDATES, 0.5, residuals, intercept)
            expected = p_values(scores)
            np.testing.assert_array_equal(p[row], expected)
            np.testing.assert_array_equal(in_union(found, row, CANDIDATES), expected > 0.5)
    if residuals != "deleted":
        assert (several > 0) == (residuals == "ordinary")


@pytest.mark.parametrize("neighbours", [1, 3])
def test_neighbour_sets_are_those_of_a_refit_for_every_candidate(x64, neighbours):
    spec = full.FullConformalNearestNeighbours(neighbours, coverage=0.7)
    for seed in range(2):
        features, y, tests = draw(seed)
        fitted = spec.fit(features, y)
        repeated = np.repeat(tests[:, None], len(CANDIDATES), 1)
        p = fitted.p_value(repeated, np.broadcast_to(CANDIDATES, repeated.shape[:-1]))
        lower, upper = fitted.interval(tests)
        for row, test in enumerate(tests):
            expected = p_values(refitted_neighbours(features, y, test, CANDIDATES, neighbours))
            np.testing.assert_array_equal(p[row], expected)
            inside = (lower[row] <= CANDIDATES) & (CANDIDATES <= upper[row])
            np.testing.assert_array_equal(inside, expected > 0.3)


def test_equal_distances_go_by_row_and_the_test_row_comes_last():
    features, y = jnp.array([[0.0], [1.0], [-1.0], [2.0]]), jnp.array([0.0, 10.0, 20.0, 40.0])
    fitted = full.FullConformalNearestNeighbours(1).fit(features, y)
    np.testing.assert_array_equal(fitted.neighbourhood.total, [10.0, 0.0, 0.0, 10.0])
    np.testing.assert_array_equal(fitted.neighbourhood.last, fitted.neighbourhood.total)
    np.testing.assert_array_equal(fitted.neighbourhood.radius, [1.0, 1.0, 1.0, 1.0])
    # At 3 it is as near to row 3 as row 1 is, and does not push that out; at 2.5 it does, and
    # the two are each other's nearest: their residuals are of one size whatever y is.
    at_three, at_less = fitted.reaches(jnp.array([[3.0], [2.5]])), (-jnp.inf, jnp.inf)
    np.testing.assert_array_equal(at_three.start[0], [30.0, 30.0, 20.0, 10.0])
    np.testing.assert_array_equal(at_three.end[0], [50.0, 50.0, 60.0, 70.0])
    assert (at_three.start[1, 3], at_three.end[1, 3]) == at_less


@pytest.mark.parametrize("residuals", ["ordinary", "studentised"])
def test_ends_belong_to_the_set_and_no_point_beyond_does(x64, residuals):
    features, y, tests = draw(11, n=29, tests=40)
    fitted = full.FullConformalRidge(0.8, residuals=residuals).fit(features, y)
    for end, outside in zip(fitted.interval(tests), (-1e-7, 1e-7), strict=True):
        rows = np.isfinite(end)
        assert rows.sum() > 20
        assert (np.round(30 * fitted.p_value(tests[rows], end[rows])) > 6).all()
        assert (np.round(30 * fitted.p_value(tests[rows], end[rows] + outside)) <= 6).all()


def specs(coverage):
    for residuals in RESIDUALS:
        yield full.FullConformalRidge(coverage, 0.3, residuals=residuals)
    yield full.FullConformalNearestNeighbours(3, coverage)


def test_too_few_rows_give_everything_and_the_reason():
    features, y, tests = draw(3, n=8)
    features, y, tests = (jnp.asarray(a, jnp.float32) for a in (features, y, tests))
    for spec in list(specs(0.9))[2:]:
        fitted = spec.fit(features, y)
        lower, upper = fitted.interval(tests)
        assert jnp.isneginf(lower).all()
        assert jnp.isposinf(upper).all()
        assert fitted.reason == "coverage 0.9 needs at least 9 calibration rows; there were 8"
        assert fitted.guarantee.at_least == 1
    found = full.FullConformalRidge(0.9).fit(features, y).intervals(tests)
    assert (found.count == 1).all()
    assert jnp.isneginf(found.lower[:, 0]).all()


def test_a_test_row_far_away_has_no_bound_with_ordinary_residuals(x64):
    """Its own leverage is nearly 1: the fit follows it whatever its y."""
    features, y, _ = draw(5)
    far = np.array([[1e4, -1e4]])
    fitted = full.FullConformalRidge(0.7, 0.5).fit(features, y)
    assert np.isinf(fitted.interval(far)).any()
    scores = refitted_ridge(features, y, far, np.array([-1e9, 1e9]), 0.5, "ordinary", True)
    kept = p_values(scores) > 0.3
    np.testing.assert_array_equal(np.isinf(fitted.interval(far)).ravel(), kept)
    studentised = full.FullConformalRidge(0.7, 0.5, residuals="studentised").fit(features, y)
    assert np.isfinite(studentised.interval(far)).all()


def test_the_guarantee_is_the_exact_share():
    features, y, _ = draw(0, n=19)
    features, y = jnp.asarray(features, jnp.float32), jnp.asarray(y, jnp.float32)
    for spec in specs(0.9):
        guarantee = spec.fit(features, y).guarantee
        # A hull may cover more than the set that the p-values give.
        hull = getattr(spec, "residuals", "studentised") != "studentised"
        expected = ("at least", 0.9, None) if hull else ("exact", 0.9, 0.9)
        assert (guarantee.kind, guarantee.at_least, guarantee.at_most) == expected
        assert "exchangeable" in str(guarantee)
    one = full.FullConformalNearestNeighbours(1).fit(features, y).guarantee
    assert (one.kind, one.at_least, one.at_most) == ("at least", 0.9, None)


def test_order_of_rows_and_units_of_y_do_not_matter(x64):
    features, y, tests = draw(7, n=25, tests=6)
    order = np.random.default_rng(0).permutation(25)
    for spec in list(specs(0.8))[2:]:
        lower, upper = spec.fit(features, y).interval(tests)
        moved = spec.fit(features[order], y[order]).interval(tests)
        np.testing.assert_allclose(moved, (lower, upper), rtol=1e-9)
        scaled = spec.fit(features, 5 - 3 * y).interval(tests)
        np.testing.assert_allclose(scaled, (5 - 3 * upper, 5 - 3 * lower), rtol=1e-9)
        shifted = spec.fit(features + 100.0, y).interval(tests + 100.0)
        np.testing.assert_allclose(shifted, (lower, upper), rtol=1e-9)


@pytest.mark.validation
def test_sets_cover_as_often_as_they_promise():
    """n = 19, coverage 18/20 exactly; heavy tails and a wrong model; 4000 experiments a spec.
    Each share within 3 standard errors: four tests, false alarm .011 together, keys fixed."""

    def experiment(spec, key):
        keys = jax.random.split(key, 2)
        x = jax.random.normal(keys[0], (20, 2))
        y = jnp.sin(3 * x[:, 0]) + (0.2 + x[:, 1] ** 2) * jax.random.t(keys[1], 3.0, (20,))
        return 20 * spec.fit(x[:19], y[:19]).p_value(x[19], y[19]) > 2.5

    error = np.sqrt(0.9 * 0.1 / 4000)
    for number, spec in enumerate(specs(0.9)):
        keys = jax.random.split(jax.random.key(number), 4000)
        covered = jax.jit(jax.vmap(functools.partial(experiment, spec)))(keys)
        assert abs(covered.mean() - 0.9) < 3 * error


def test_blocks_do_not_show(monkeypatch):
    """Shapes that no other test has: a program compiled before would have its old blocks."""
    monkeypatch.setattr(full._fitted, "BLOCK_ENTRIES", 31 * 64)
    monkeypatch.setattr(full._neighbours, "BLOCK_ENTRIES", 31 * 7)
    features, y, tests = (np.float32(a) for a in draw(2, n=31, tests=300))
    fitted = full.FullConformalNearestNeighbours(3, 0.8).fit(features, y)
    away = np.sum((features[:, None] - features[None]) ** 2, -1)
    expected = y[np.argsort(away, 1)[:, 1:4]].sum(1)
    np.testing.assert_allclose(fitted.neighbourhood.total, expected, rtol=1e-5)
    ends = fitted.interval(tests.reshape(3, 100, 2))
    one_by_one = jax.vmap(fitted.interval)(jnp.asarray(tests))
    np.testing.assert_allclose(np.reshape(ends, (2, 300)), one_by_one, rtol=1e-5)


def test_more_intervals_than_there_is_room_for_are_not_lost_in_silence(x64):
    constant, slope = jnp.array([[1.0, 1.0, 1.0]]), jnp.array([[2.0, -2.0, 0.0]])
    # Outside (-1, -1/3), outside (1/3, 1), inside [-1, 1]: of all three, two points and between.
    found = REACHES(constant, slope, jnp.zeros(1))
    for largest in (3, 5):
        union = UNION(found, 3, largest)
        assert union.count == 3
        np.testing.assert_allclose(union.lower[0, :3], [-1, -1 / 3, 1])
        np.testing.assert_allclose(union.upper[0, :3], [-1, 1 / 3, 1])
        assert np.isnan(union.lower[0, 3:]).all()
    short = UNION(found, 3, 2)
    assert short.count == 3
    assert np.isnan(short.lower).all()
    assert np.isnan(short.upper).all()


@pytest.mark.thorough
@pytest.mark.parametrize("spec", list(specs(0.8))[2:], ids=["ridge", "neighbours"])
def test_compiled_batched_and_in_both_precisions(x64, spec):
    features, y, tests = draw(9, n=25, tests=4)
    fitted = spec.fit(features, y)
    expected = fitted.interval(tests)
    compiled = jax.jit(lambda f, y, x: spec.fit(f, y).interval(x))
    np.testing.assert_allclose(compiled(features, y, tests), expected, rtol=1e-9)
    mapped = jax.vmap(fitted.interval)(jnp.asarray(tests))
    np.testing.assert_allclose(mapped, expected, rtol=1e-9)
    narrow = [jnp.asarray(a, jnp.float32) for a in (features, y, tests)]
    single = spec.fit(*narrow[:2])
    assert all(end.dtype == jnp.float32 for end in single.interval(narrow[2]))
    np.testing.assert_allclose(single.interval(narrow[2]), expected, rtol=1e-3)
    assert single.p_value(narrow[2], narrow[2][:, 0]).dtype == jnp.float32
    assert fitted.interval(tests[0])[0].shape == ()
    assert fitted.p_value(tests[:0], tests[:0, 0]).shape == (0,)


@pytest.mark.thorough
def test_the_ridge_can_be_mapped_over_and_differentiated_in(x64):
    features, y, tests = draw(4, n=20, tests=3)
    features, y, tests = (jnp.asarray(a) for a in (features, y, tests))

    def ends(ridge, tests):
        spec = full.FullConformalRidge(0.8, ridge, residuals="studentised")
        return jnp.stack(spec.fit(features, y).interval(tests))

    penalties = jnp.array([0.0, 0.5, 10.0])
    grid = jax.vmap(ends, (0, None))(penalties, tests)
    for penalty, expected in zip(penalties, grid, strict=True):
        np.testing.assert_allclose(ends(float(penalty), tests), expected, rtol=1e-9)
    jax.test_util.check_grads(
        ends, (0.7, tests), order=1, modes=["rev"], atol=1e-5, rtol=1e-5, eps=1e-6
    )


def test_what_is_not_sound_is_nan_inside_jit():
    features, y, tests = (jnp.asarray(a, jnp.float32) for a in draw(6))
    for spec in list(specs(0.7))[2:]:

        @jax.jit
        def run(features, y, tests, spec=spec):
            fitted = spec.fit(features, y)
            return *fitted.interval(tests), fitted.p_value(tests, y[:5])

        assert np.isfinite(run(features, y, tests)[2]).all()
        assert np.isnan(run(features.at[3, 1].set(jnp.nan), y, tests)).all()
        assert np.isnan(run(features, y.at[7].set(jnp.nan), tests)).all()
        some = np.isnan(run(features, y, tests.at[1, 0].set(jnp.nan)))
        np.testing.assert_array_equal(some, np.broadcast_to(np.arange(5) == 1, (3, 5)))
    fit = jax.jit(lambda r, f: full.FullConformalRidge(0.7, r).fit(f, y).intervals(tests))
    assert np.isnan(fit(-1.0, features).lower).all()
    assert np.isnan(fit(0.0, features.at[:, 1].set(2.0)).lower).all()
    assert np.isfinite(fit(1.0, features.at[:, 1].set(2.0)).lower[:, 0]).all()


ROWS, Y = np.float32(draw(1)[0]), np.float32(draw(1)[1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: full.FullConformalRidge(1.0), "coverage must lie strictly between 0 and 1"),
        (lambda: full.FullConformalRidge(ridge=-1.0), "ridge must be finite and not negative"),
        (lambda: full.FullConformalRidge(residuals="raw"), "residuals must be one of 'ordinary'"),
        (lambda: full.FullConformalRidge(ridge=jnp.ones(2)).fit(ROWS, Y), "ridge must be a single"),
        (lambda: full.FullConformalRidge().fit(Y, Y), r"features must have shape \(n, d\)"),
        (lambda: full.FullConformalRidge().fit(ROWS, Y[:5]), "y must have length 12"),
        (lambda: full.FullConformalRidge().fit(ROWS, Y * np.nan), "y must be finite"),
        (
            lambda: full.FullConformalRidge(ridge=0.0).fit(ROWS[:3], Y[:3]),
            r"more rows than there are coefficients \(3\) where ridge is 0; got 3 rows",
        ),
        (
            lambda: full.FullConformalRidge(ridge=0.0).fit(ROWS[:, [0, 1, 1]], Y),
            "column 2 follows from those before it",
        ),
        (
            lambda: full.FullConformalRidge(ridge=0.0).fit(0 * ROWS + 7, Y),
            "column 0 follows",
        ),
        (
            lambda: full.FullConformalRidge(ridge=0.0, residuals="deleted").fit(
                np.eye(12, dtype=np.float32)[:, :2] * 3, Y
            ),
            "no row of leverage 1 .*; row 0 has",
        ),
        (
            lambda: full.FullConformalRidge().fit(ROWS, Y).interval(ROWS[:, :1]),
            r"features must have shape \(\*batch, 2\)",
        ),
        (
            lambda: full.FullConformalRidge().fit(ROWS, Y).p_value(ROWS, Y[:3]),
            r"y must have shape \(12,\), one for each row; got \(3,\)",
        ),
        (
            lambda: full.FullConformalRidge().fit(ROWS, Y).intervals(ROWS, largest=0),
            "largest must be a whole number >= 1",
        ),
        (
            lambda: full.FullConformalNearestNeighbours(0),
            "neighbours must be a whole number >= 1",
        ),
        (
            lambda: full.FullConformalNearestNeighbours(12).fit(ROWS, Y),
            "features must have at least 13 rows",
        ),
    ],
)
def test_bad_input_is_refused(call, message):
    with refuses(message):
        call()


@pytest.mark.parametrize("spec", ["ridge", "neighbours"])
def test_outcomes_keep_the_precision_that_features_lack(x64, spec):
    ridge, neighbours = full.FullConformalRidge, full.FullConformalNearestNeighbours
    spec = ridge(0.8) if spec == "ridge" else neighbours(3, 0.8)
    x = np.arange(20.0, dtype=np.float32)[:, None]
    y = 1e9 + np.random.default_rng(0).normal(size=20)
    lower, upper = spec.fit(x, y).interval(x[:3])
    assert lower.dtype == jnp.float64
    assert ((upper - lower > 0.5) & (upper - lower < 50)).all()
