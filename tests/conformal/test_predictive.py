"""P-values, predictive systems, distributional and highest-density sets: oracle and simulation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scoringrules
from scipy import integrate, stats

from estimators import density
from estimators.conformal import _predictive as conformal
from estimators.testing import refuses


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def oracle(shared_data, name):
    return np.load(shared_data / "conformal_oracle" / f"{name}.npz")


def within(reached, expected, errors=4):
    """Whether the mean of replicates is within so many standard errors of what is expected."""
    return abs(reached.mean() - expected) < errors * reached.std() / np.sqrt(reached.size)


# P-values


def counted(scores, new, u=1.0):
    """The definition: every new score against every calibration score."""
    above = (scores[None] > new[:, None]).sum(1)
    equal = (scores[None] == new[:, None]).sum(1)
    return (above + u * (equal + 1)) / (scores.size + 1)


def test_p_values_equal_the_oracle_to_the_last_digit(x64, shared_data):
    case = oracle(shared_data, "split_regression")
    scores, new = (np.abs(case[f"y_{rows}"] - case[f"mu_{rows}"]) for rows in ("cal", "test"))
    got = conformal.conformal_p_values(scores, new)
    np.testing.assert_array_equal(got, case["crepes_pvalue_abs_nonsmoothed"])


@pytest.mark.parametrize("n", [1, 7, 64])
def test_p_values_equal_the_counts(n):
    scores = jnp.round(3 * normal(n, n)).at[0].set(jnp.inf)
    new = jnp.append(jnp.arange(-9.0, 10.0), jnp.array([-jnp.inf, jnp.inf]))
    got = conformal.conformal_p_values(scores, new)
    np.testing.assert_allclose(got, counted(np.asarray(scores), np.asarray(new)), rtol=1e-6)
    key = jax.random.key(3)
    smoothed = conformal.conformal_p_values(scores, new, key=key)
    u = 1 - np.asarray(jax.random.uniform(key, new.shape))
    expected = counted(np.asarray(scores), np.asarray(new), u)
    np.testing.assert_allclose(smoothed, expected, rtol=1e-6)


def test_smoothed_p_values_are_uniform_with_heavy_ties_and_others_conservative():
    """Scores with four values, 4000 experiments: Kolmogorov-Smirnov, false alarm 1e-4. Plain
    p-values reject at each level a with probability at most a, within 4 standard errors; with
    these ties far less at a = 0.1."""
    draws = jax.random.randint(jax.random.key(0), (4000, 20), 0, 4).astype(float)
    keys = jax.random.split(jax.random.key(1), 4000)

    def one(row, key):
        plain = conformal.conformal_p_values(row[1:], row[0])
        return plain, conformal.conformal_p_values(row[1:], row[0], key=key)

    plain, smoothed = map(np.asarray, jax.jit(jax.vmap(one))(draws, keys))
    assert stats.kstest(smoothed, "uniform").pvalue > 1e-4
    for level in (0.1, 0.25, 0.5, 0.75):
        assert np.mean(plain <= level) < level + 4 * np.sqrt(level * (1 - level) / 4000)
    assert np.mean(plain <= 0.1) < 0.05
    assert stats.kstest(plain, "uniform").pvalue < 1e-4


def test_equal_weights_and_one_group_change_nothing():
    scores, new = jnp.round(4 * normal(1, 50)), jnp.round(4 * normal(2, 30))
    p_values = functools.partial(conformal.conformal_p_values, scores, new)
    key = jax.random.key(5)
    plain = p_values(key=key)
    weighted = p_values(key=key, weights=jnp.full(50, 0.3), new_weights=jnp.full(30, 0.3))
    grouped = p_values(key=key, groups=jnp.zeros(50, int), new_groups=jnp.zeros(30, int))
    np.testing.assert_allclose(weighted, plain, rtol=1e-5)
    # Compiled by itself each: a draw times a count, plus a count, is rounded once or twice.
    np.testing.assert_allclose(grouped, plain, rtol=3e-7)


def test_weighted_p_values_within_groups_equal_the_definition():
    scores, new = np.round(4 * normal(3, 60)), np.round(4 * normal(4, 25))
    groups, new_groups = np.arange(60) % 4, np.arange(25) % 5
    groups[groups == 2] = 3  # group 2 has no row, and 4 neither
    weights = np.array(jax.random.exponential(jax.random.key(5), (60,)))
    new_weights = np.asarray(jax.random.exponential(jax.random.key(6), (25,)))
    weights[5] = 0
    same = groups[None] == new_groups[:, None]
    weighed = weights[None] * same
    extreme = (weighed * (scores[None] >= new[:, None])).sum(1)
    expected = (extreme + new_weights) / (weighed.sum(1) + new_weights)
    call = jax.jit(conformal.conformal_p_values, static_argnames="count")
    rows = {"weights": weights, "groups": groups}
    new_rows = {"new_weights": new_weights, "new_groups": new_groups}
    found = call(scores, new, **rows, **new_rows, count=5)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert (expected[new_groups == 4] == 1).all()
    counts = conformal.conformal_p_values(
        scores, new, groups=groups, new_groups=new_groups, count=5
    )
    in_group = [counted(scores[groups == g], new[i : i + 1])[0] for i, g in enumerate(new_groups)]
    np.testing.assert_allclose(counts, in_group, rtol=1e-6)


def test_weighted_p_values_hold_under_covariate_shift():
    """Calibration x uniform, new x of density 2x, scores x + noise, so that new ones are larger;
    2000 experiments, P(p <= a) within 4 standard errors above a for three levels. Without weights
    the error at 0.1 is far from it."""

    def one(key):
        keys = jax.random.split(key, 4)
        x, new = jax.random.uniform(keys[0], (40,)), jnp.sqrt(jax.random.uniform(keys[1]))
        scores = 2 * x + 0.1 * jax.random.normal(keys[2], (40,))
        score = 2 * new + 0.1 * jax.random.normal(keys[3])
        weighted = conformal.conformal_p_values(scores, score, weights=x, new_weights=new)
        return weighted, conformal.conformal_p_values(scores, score)

    weighted, plain = map(
        np.asarray, jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(8), 2000))
    )
    for level in (0.1, 0.2, 0.5):
        assert np.mean(weighted <= level) < level + 4 * np.sqrt(level * (1 - level) / 2000)
    assert np.mean(plain <= 0.1) > 0.15


def test_p_values_need_no_matrix():
    shapes = [jax.ShapeDtypeStruct((20_000,), jnp.float32)] * 2
    compiled = jax.jit(conformal.conformal_p_values).lower(*shapes).compile()
    analysis = compiled.memory_analysis()
    if analysis is None:
        pytest.skip("the backend does not say how much memory a program needs")
    assert analysis.temp_size_in_bytes < 20_000 * 20_000 * 4 / 500


# Predictive systems


@pytest.fixture
def cps(x64, shared_data):
    case = oracle(shared_data, "cps")
    spec = conformal.ConformalPredictiveSystem(0.8)
    return case, spec.calibrate(case["mu_cal"], case["y_cal"])


def test_the_system_equals_the_oracle_to_the_last_digit(cps):
    case, system = cps
    got = system.distribution(case["mu_test"], case["y_test"])
    np.testing.assert_array_equal(got, case["p_nonsmoothed"])
    values = case["mu_test"][:3, None] + np.asarray(system.residuals)[None]
    np.testing.assert_array_equal(values, case["cpds_first3"])
    for i, coverage in enumerate(case["levels"]):
        interval = system.interval(case["mu_test"], coverage=float(coverage))
        np.testing.assert_array_equal(np.stack(interval, 1), case["interval"][:, :, i])
    np.testing.assert_array_equal(
        system.interval(case["mu_test"]), system.interval(case["mu_test"], coverage=0.8)
    )
    # The peer gives each percentile in both roundings of the rank; columns 3 to 5 are the upper.
    got = system.quantiles(case["mu_test"], [0.05, 0.5, 0.95])
    np.testing.assert_array_equal(got, case["percentiles"][:, [0, 1, 5]])


def test_the_score_equals_the_oracle(cps):
    """With a scale the peer multiplies the two pieces beside y by the scale, in which they are
    not; with that put back the stored number comes out."""
    case, system = cps
    plain = system.crps(case["mu_test"], case["y_test"])
    np.testing.assert_allclose(plain.mean(), case["crps"][0], rtol=1e-14)
    scaled = conformal.ConformalPredictiveSystem().calibrate(
        case["mu_cal"], case["y_cal"], case["sigma_cal"]
    )
    rows = case["mu_test"], case["y_test"], case["sigma_test"]
    ours = np.asarray(scaled.crps(*rows))
    values = case["mu_test"][:, None] + case["sigma_test"][:, None] * scaled.residuals[None]
    expected = scoringrules.crps_ensemble(case["y_test"], np.asarray(values), backend="numpy")
    np.testing.assert_allclose(ours, expected, rtol=1e-12)
    n = scaled.residuals.shape[0]
    peer = []
    for row, (ends, y, scale) in enumerate(
        zip(np.asarray(values), case["y_test"], case["sigma_test"], strict=True)
    ):
        below = np.searchsorted(ends, y)
        beside = 0.0
        if 0 < below < n:
            left, right = y - ends[below - 1], ends[below] - y
            beside = (below / n) ** 2 * left + (1 - below / n) ** 2 * right
        peer.append(ours[row] + (scale - 1) * beside)
    np.testing.assert_allclose(np.mean(peer), case["crps"][1], rtol=1e-12)


def test_the_score_is_the_integral(x64):
    residuals = jnp.array([-1.0, 0.5, 0.5, 2.0])
    system = conformal.ConformalPredictiveSystem(0.5).calibrate(jnp.zeros(4), residuals)
    for y in (-3.0, -1.0, 0.0, 0.5, 1.7, 2.0, 4.0):

        def share(x, y=y):
            return (np.mean(np.asarray(residuals) <= x) - (x >= y)) ** 2

        expected = integrate.quad(share, -4, 5, points=[-1.0, 0.5, 2.0, y], limit=200)[0]
        np.testing.assert_allclose(system.crps(jnp.zeros(()), jnp.asarray(y)), expected, rtol=1e-9)
    gradient = jax.grad(lambda y: system.crps(jnp.zeros(()), y))(1.0)
    np.testing.assert_allclose(gradient, 2 * 0.75 - 1)


def test_the_score_keeps_its_digits_far_from_zero():
    """In float32, residuals around 1000 with a spread of 1: a difference of sums would have
    three digits left."""
    residuals = 1000 + normal(4, 400)
    system = conformal.ConformalPredictiveSystem().calibrate(jnp.zeros(400), residuals)
    y = 1000 + jnp.linspace(-3, 3, 20)
    expected = scoringrules.crps_ensemble(
        np.asarray(y, np.float64), np.tile(np.asarray(residuals, np.float64), (20, 1))
    )
    np.testing.assert_allclose(system.crps(jnp.zeros(20), y), expected, rtol=2e-6)


def test_quantiles_are_the_inverse_of_the_distribution():
    y = jnp.round(5 * normal(0, 37))
    system = conformal.ConformalPredictiveSystem().calibrate(jnp.zeros(37), y)
    levels = np.array([0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
    values = np.asarray(system.quantiles(jnp.zeros(()), levels))
    ordered = np.concatenate([[-np.inf], np.sort(np.asarray(y)), [np.inf]])
    ranks = [0, 3, 11, 19, 27, 35, 38]
    np.testing.assert_array_equal(values, ordered[ranks])
    at_residuals = system.distribution(jnp.zeros(37), y)
    expected = (np.asarray(y)[None] <= np.asarray(y)[:, None]).sum(1) + 1
    np.testing.assert_allclose(at_residuals, expected / 38, rtol=1e-6)


def test_too_few_rows_give_the_infinite_interval_and_the_reason():
    y = jnp.arange(18.0)
    system = conformal.ConformalPredictiveSystem(0.9).calibrate(0 * y, y)
    lower, upper = system.interval(y)
    assert jnp.isneginf(lower).all()
    assert jnp.isposinf(upper).all()
    assert (
        system.reason == "coverage 0.9 with equal tails needs at least 19 calibration rows; "
        "there were 18"
    )
    assert system.guarantee.at_least == 1
    y = jnp.arange(19.0)
    system = conformal.ConformalPredictiveSystem(0.9).calibrate(0 * y, y)
    assert system.reason is None
    assert system.guarantee.at_least == system.guarantee.at_most == 0.9


def test_the_smoothed_distribution_is_uniform_and_intervals_cover():
    """Rounded outcomes with a scale, 2000 experiments: Kolmogorov-Smirnov on the smoothed
    distribution at the outcome, false alarm 1e-4; the interval of distinct residuals covers with
    the promised probability within 4 standard errors."""

    def one(key):
        keys = jax.random.split(key, 3)
        scale = 1.0 + jnp.arange(25) % 2
        y = scale * jnp.round(2 * jax.random.normal(keys[0], (25,)))
        spec = conformal.ConformalPredictiveSystem(0.75)
        zero = jnp.zeros(24)
        rounded = spec.calibrate(zero, y[1:], scale[1:])
        uniform = rounded.distribution(zero[0], y[0], scale[0], key=keys[1])
        fresh = jax.random.normal(keys[2], (25,))
        lower, upper = spec.calibrate(zero, fresh[1:]).interval(zero[0])
        return uniform, (lower <= fresh[0]) & (fresh[0] <= upper)

    uniform, covered = map(
        np.asarray, jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(2), 2000))
    )
    assert stats.kstest(uniform, "uniform").pvalue > 1e-4
    y = jnp.arange(24.0)
    promised = conformal.ConformalPredictiveSystem(0.75).calibrate(y, y).guarantee
    assert promised.at_least == (22 - 3) / 25
    assert within(covered, promised.at_least)


def test_samples_come_from_the_residuals():
    """Frequencies of three residuals in 3000 draws: chi-square, false alarm 1e-4."""
    y = jnp.array([1.0, 2.0, 4.0])
    system = conformal.ConformalPredictiveSystem().calibrate(jnp.zeros(3), y, jnp.full(3, 2.0))
    draws = system.sample(jax.random.key(1), jnp.ones(2), jnp.full(2, 4.0), draws=1500)
    assert draws.shape == (2, 1500)
    values, counts = np.unique(draws, return_counts=True)
    np.testing.assert_array_equal(values, [3.0, 5.0, 9.0])
    assert stats.chisquare(counts).pvalue > 1e-4


# Distributional sets


LEVELS = jnp.arange(1, 20) / 20.0


def skewed(key, n):
    """Exponential outcomes whose mean depends on x, with the model's quantiles: at twice the
    mean, and in the wrong order at two levels."""
    keys = jax.random.split(key)
    mean = 1 + jax.random.uniform(keys[0], (n,))
    y = mean * jax.random.exponential(keys[1], (n,))
    quantiles = 2 * mean[:, None] * -jnp.log1p(-LEVELS)[None]
    return quantiles.at[:, 3].set(quantiles[:, 5]).at[:, 5].set(quantiles[:, 3]), y


@pytest.mark.validation
@pytest.mark.parametrize("kind", ["central", "shortest"])
def test_distributional_sets_cover(kind):
    """A wrong model, 1000 experiments with 39 calibration and 10 new rows: the mean coverage is
    k/(n+1) within 4 standard errors."""
    spec = conformal.DistributionalConformal(0.85, kind=kind)

    def one(key):
        quantiles, y = skewed(key, 49)
        lower, upper = spec.calibrate(quantiles[:39], LEVELS, y[:39]).interval(quantiles[39:])
        return jnp.mean((lower <= y[39:]) & (y[39:] <= upper))

    reached = np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(4), 1000)))
    promised = spec.calibrate(*skewed(jax.random.key(0), 39)[:1], LEVELS, jnp.ones(39)).guarantee
    assert promised.at_least == 34 / 40
    assert promised.kind == "exact"
    assert within(reached, 34 / 40)


def test_the_shortest_interval_is_shorter_on_a_skewed_law():
    """Exponential law and its own quantiles: the widths of both kinds tend to those of the law."""
    levels = jnp.arange(1, 100) / 100.0
    rows = jnp.broadcast_to(-jnp.log1p(-levels)[None], (199, 99))
    y = -jnp.log1p(-(jnp.arange(199) + 0.5) / 199)
    width = {}
    for kind in ("central", "shortest"):
        spec = conformal.DistributionalConformal(0.9, kind=kind)
        lower, upper = spec.calibrate(rows, levels, y).interval(rows[0])
        width[kind] = float(upper - lower)
    # The shortest that is inside the given levels goes from 0.01 to 0.91.
    assert width["central"] == pytest.approx(np.log(0.95 / 0.05), rel=0.03)
    assert width["shortest"] == pytest.approx(np.log(0.99 / 0.09), rel=0.03)


def width_from(row, levels, low):
    return np.interp(low + 0.5, levels, row) - np.interp(low, levels, row)


def test_the_middle_of_the_shortest_interval_equals_a_search(x64):
    """Against every pair of levels on a fine grid."""
    rows = np.sort(np.asarray(normal(6, 8, 19), np.float64))
    spec = conformal.DistributionalConformal(0.5, kind="shortest")
    levels = np.asarray(LEVELS, np.float64)
    middle = np.asarray(spec.centres(rows, levels))
    for row, found in zip(rows, middle, strict=True):
        width = functools.partial(width_from, row, levels)
        best = width(np.linspace(0.05, 0.45, 4001)).min()
        assert width(found - 0.25) < best + 1e-9


def test_intervals_hold_exactly_the_outcomes_of_a_small_score(x64):
    """The interval of a row has its own calibration outcome if and only if the score is at most
    the threshold: also with equal quantiles, at jumps, and beyond the outer levels."""
    rows = jnp.round(2 * normal(1, 60, 7))
    y = jnp.round(4 * normal(2, 60)) / 2
    levels = jnp.array([0.05, 0.2, 0.4, 0.5, 0.6, 0.8, 0.95])
    for coverage in (0.3, 0.6, 0.8):
        spec = conformal.DistributionalConformal(coverage)
        calibrated = spec.calibrate(rows, levels, y)
        lower, upper = calibrated.interval(rows)
        inside = np.asarray((lower - 1e-9 <= y) & (y <= upper + 1e-9))
        # At least as many as the rank; more where scores tie.
        rank = int(np.ceil(61 * coverage - 1e-9))
        assert inside.sum() >= rank
        one_less = conformal.DistributionalConformal((rank - 1.5) / 61).calibrate(rows, levels, y)
        if one_less.calibrated.threshold < calibrated.calibrated.threshold:
            lower, upper = one_less.interval(rows)
            fewer = np.asarray((lower - 1e-9 <= y) & (y <= upper + 1e-9))
            assert fewer.sum() < inside.sum()


def test_levels_from_a_distribution_function_equal_those_from_quantiles():
    """A uniform law, whose quantiles are a straight line: one mechanism, twice."""
    y = jax.random.uniform(jax.random.key(3), (50,), minval=0.1, maxval=0.9)
    rows = jnp.broadcast_to(LEVELS[None], (50, 19))
    spec = conformal.DistributionalConformal(0.8)
    lower, upper = spec.calibrate(rows, LEVELS, y).interval(LEVELS)
    levels = spec.calibrate_distribution(y)
    np.testing.assert_allclose(levels.levels(), (lower, upper), rtol=1e-5)
    assert levels.guarantee.at_least == 41 / 51
    shortest = conformal.DistributionalConformal(0.8, kind="shortest")
    centres = jnp.full(50, 0.45)
    low, high = shortest.calibrate_distribution(y, centres).levels(jnp.array([0.45, 0.95]))
    np.testing.assert_allclose(high[0] + low[0], 0.9, rtol=1e-5)
    assert high[1] == 1.0
    few = spec.calibrate_distribution(y[:3])
    assert few.levels() == (0.0, 1.0)
    assert few.reason == "coverage 0.8 needs at least 4 calibration rows; there were 3"
    lower, upper = spec.calibrate(rows[:3], LEVELS, y[:3]).interval(LEVELS)
    assert (lower, upper) == (-jnp.inf, jnp.inf)


# Highest-density sets


def log_mixture(y, x=3.0):
    """Two normal laws of spread 1/2 at -x and x."""
    return jnp.logaddexp(stats_normal(y - x), stats_normal(y + x)) - jnp.log(2.0)


def stats_normal(z):
    return -2 * z**2 + jnp.log(2 / jnp.sqrt(2 * jnp.pi))


def draw(key, shape, x=3.0):
    keys = jax.random.split(key)
    return x * jax.random.rademacher(keys[0], shape) + 0.5 * jax.random.normal(keys[1], shape)


GRID = jnp.linspace(-6.0, 6.0, 241)


@pytest.mark.parametrize("score", ["density", "mass"])
def test_sets_of_a_bimodal_law_are_two_intervals_that_cover(score):
    """Distance of the modes differs from row to row, 1000 experiments with 19 calibration and
    3 new rows: coverage k/(n+1) within 4 standard errors, two intervals in each."""
    spec = conformal.HighestDensitySet(0.8, score=score)
    grid = GRID[::2]

    def one(key):
        keys = jax.random.split(key)
        x = jax.random.uniform(keys[0], (22,), minval=2.0, maxval=3.5)
        y = draw(keys[1], (22,), x)
        rows = log_mixture(grid[None], x[:, None])
        calibrated = spec.calibrate(rows[:19], grid, y[:19])
        lower, upper, count, cut = calibrated.intervals(rows[19:], grid, largest=3)
        inside = (lower <= y[19:, None]) & (y[19:, None] <= upper)
        return jnp.mean(inside.any(-1)), count, cut

    covered, count, cut = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(6), 1000))
    assert within(np.asarray(covered), 16 / 20)
    assert (count == 2).mean() > 0.99  # one where the threshold is below the saddle
    assert (count >= 1).all()
    assert not cut.any()


@pytest.mark.parametrize("score", ["density", "mass"])
def test_the_highest_density_set_of_a_normal_law_is_the_central_interval(score):
    """Outcomes at the quantiles of their law. A row of twice the spread has an interval of twice
    the length with "mass"; with "density" it ends where its density is that of the first."""
    y = stats.norm.ppf((np.arange(99) + 0.5) / 99).astype(np.float32)
    grid = jnp.linspace(-5.0, 5.0, 401)
    row = -0.5 * grid**2
    spec = conformal.HighestDensitySet(0.9, score=score)
    calibrated = spec.calibrate(jnp.broadcast_to(row[None], (99, 401)), grid, y)
    lower, upper, count, _ = calibrated.intervals(row, grid)
    assert count == 1
    # The 90th of the 99 scores is that of the 95th or the 5th outcome.
    expected = stats.norm.ppf(94.5 / 99)
    np.testing.assert_allclose([lower[0], upper[0]], [-expected, expected], rtol=2e-3)
    wide = calibrated.intervals(row - jnp.log(2.0), 2 * grid).upper[0]
    half = expected if score == "mass" else np.sqrt(expected**2 - 2 * np.log(2))
    np.testing.assert_allclose(wide, 2 * half, rtol=2e-3)


def test_contains_says_what_the_intervals_say():
    y = draw(jax.random.key(1), (9,))
    rows = jnp.broadcast_to(log_mixture(GRID)[None], (9, 241))
    for score in ("density", "mass"):
        calibrated = conformal.HighestDensitySet(0.7, score=score).calibrate(rows, GRID, y)
        lower, upper, _, _ = calibrated.intervals(rows[0], GRID)
        expected = ((lower[None] <= GRID[:, None]) & (GRID[:, None] <= upper[None])).any(1)
        repeated = jnp.broadcast_to(rows[:1], (241, 241))
        np.testing.assert_array_equal(calibrated.contains(repeated, GRID, GRID), expected)


def test_a_fitted_density_makes_sets():
    """A kernel density of 300 outcomes, calibrated on 99 others: 0.9 of 4000 new ones within the
    spread of the coverage, 4 standard errors of its law Beta(90, 10)."""
    y = draw(jax.random.key(1), (4399,))
    fitted = density.KDE("silverman").fit(y[:300, None])
    log_density = fitted.log_density(jnp.concatenate([y[300:], GRID])[:, None])
    spec = conformal.HighestDensitySet(0.9)
    calibrated = spec.calibrate(log_density[:99])
    covered = calibrated.contains(log_density[99:4099]).mean()
    assert abs(covered - 0.9) < 4 * stats.beta(90, 10).std()
    new = y[399:]
    found = calibrated.intervals(log_density[4099:], GRID)
    inside = (found.lower[None] <= new[:, None]) & (new[:, None] <= found.upper[None])
    assert found.count == 2
    assert abs(inside.any(1).mean() - covered) < 0.01


def test_no_interval_is_lost():
    """Three peaks by hand: crossings of straight lines, and more peaks than there is room."""
    grid = jnp.arange(8.0)
    row = jnp.array([-9.0, -1.0, -9.0, -1.0, -jnp.inf, -1.0, -3.0, -3.0])
    at = functools.partial(
        conformal.CalibratedDensitySet, coverage=0.5, calibration=9, on_grid=True
    )
    one = at(jnp.asarray(3.0), score="density").intervals(row, grid, largest=4)
    assert one.count == 3
    assert one.cut
    np.testing.assert_allclose(one.lower, [0.75, 2.75, 5.0, np.nan], rtol=1e-6)
    np.testing.assert_allclose(one.upper, [1.25, 3.0, 7.0, np.nan], rtol=1e-6)
    many = at(jnp.asarray(3.0), score="density").intervals(row, grid, largest=2)
    assert many.count == 3
    assert jnp.isnan(many.lower).all()
    assert jnp.isnan(many.upper).all()
    none = at(jnp.asarray(0.5), score="density").intervals(row, grid)
    assert none.count == 0
    assert not none.cut
    everything = at(jnp.inf * jnp.ones(()), score="density").intervals(row, grid)
    assert everything.lower[0] == -jnp.inf
    assert everything.upper[0] == jnp.inf
    assert everything.count == 1
    broken = jax.jit(lambda row: at(jnp.ones(()), score="mass").intervals(row, grid))(
        row.at[2].set(jnp.nan)
    )
    assert broken.count == -1
    assert jnp.isnan(broken.lower).all()


def test_outcomes_off_the_grid_are_in_no_finite_set():
    rows = jnp.broadcast_to(log_mixture(GRID)[None], (9, 241))
    y = jnp.linspace(-3.5, -2.5, 9).at[0].set(50.0)
    for score in ("density", "mass"):
        calibrated = conformal.HighestDensitySet(0.8, score=score).calibrate(rows, GRID, y)
        assert jnp.isfinite(calibrated.threshold)
        assert calibrated.reason is None
        most = conformal.HighestDensitySet(0.9, score=score).calibrate(rows, GRID, y)
        assert most.intervals(rows[0], GRID).upper[0] == jnp.inf


# All of them


def results(data):
    """Every function on one set of calibration rows and two new rows."""
    predictions, y, scale = data
    quantiles = predictions[:, None] + jnp.array([-2.0, -0.5, 0.1, 2.5])[None].astype(y.dtype)
    levels = jnp.array([0.02, 0.3, 0.6, 0.95], y.dtype)
    grid = jnp.linspace(-6, 6, 25).astype(y.dtype)
    on_grid = -0.5 * (grid[None] - predictions[:, None]) ** 2
    system = conformal.ConformalPredictiveSystem(0.8).calibrate(predictions, y, scale)
    new = predictions[:2], y[:2], scale[:2]
    spec = conformal.DistributionalConformal(0.8, kind="shortest")
    sets = conformal.HighestDensitySet(0.8, score="mass").calibrate(on_grid, grid, y)
    return [
        conformal.conformal_p_values(y, y[:2], weights=scale, new_weights=scale[:2]),
        system.distribution(*new),
        system.quantiles(new[0], [0.01, 0.5], new[2]),
        system.interval(new[0], new[2]),
        system.crps(*new),
        system.sample(jax.random.key(0), new[0], new[2], draws=2),
        spec.calibrate(quantiles, levels, y).interval(quantiles[:2]),
        sets.intervals(on_grid[:2], grid, largest=1)[:2],
    ]


def rows(dtype):
    return normal(1, 12).astype(dtype), normal(2, 12).astype(dtype), jnp.ones(12, dtype)


COMPILED = jax.jit(results)


@pytest.mark.thorough
def test_batched_results_are_the_same():
    data = rows(jnp.float32)
    twice = jax.jit(jax.vmap(results))(jax.tree.map(lambda a: jnp.stack([a[::-1], a]), data))
    last = jax.tree.map(lambda a: a[1], twice)
    same = functools.partial(np.testing.assert_allclose, rtol=2e-5)
    jax.tree.map(same, last, COMPILED(data))


@pytest.mark.parametrize("argument", [0, 1, 2])
def test_nan_inside_jit_gives_nan(argument):
    """Every number, infinite ends too."""
    data = list(rows(jnp.float32))
    data[argument] = data[argument].at[1].set(jnp.nan)
    found = COMPILED(tuple(data))
    used = [argument != 0, *(True,) * 5, *(argument != 2,) * 2]
    for must, leaf in zip(used, found, strict=True):
        if must:
            assert all(jnp.isnan(part).all() for part in jax.tree.leaves(leaf))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_both_precisions_are_kept(x64, dtype):
    found = jax.eval_shape(results, rows(dtype))
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(found)} == {dtype}


ONES = jnp.ones(3)
SYSTEM = conformal.ConformalPredictiveSystem(0.5)
CENTRAL = conformal.DistributionalConformal(0.5)
SHORTEST = conformal.DistributionalConformal(0.5, kind="shortest")
DENSITY = conformal.HighestDensitySet(0.5)
MASS = conformal.HighestDensitySet(0.5, score="mass")
PAIR = jnp.array([[0.0, 1.0]] * 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: conformal.conformal_p_values(ONES[None], 1.0), r"got shape \(1, 3\)"),
        (lambda: conformal.conformal_p_values(ONES, jnp.nan), "new_scores must not be NaN; 1 of 1"),
        (lambda: conformal.conformal_p_values(ONES, 1.0, weights=ONES), "given together"),
        (lambda: conformal.conformal_p_values(ONES, 1.0, groups=jnp.zeros(3, int)), "together"),
        (lambda: conformal.conformal_p_values(ONES, 1.0, count=3), "count must come with groups"),
        (lambda: conformal.conformal_p_values(ONES, 1.0, key=3), "key must be a new-style key"),
        (
            lambda: conformal.conformal_p_values(ONES, 1.0, weights=ONES, new_weights=0.0),
            "new_weights must be finite and positive",
        ),
        (
            lambda: conformal.conformal_p_values(ONES, 1.0, weights=-ONES, new_weights=1.0),
            "weights must not be negative",
        ),
        (
            lambda: conformal.conformal_p_values(
                ONES, ONES, groups=jnp.zeros(3, int), new_groups=jnp.arange(3)
            ),
            "new_groups must lie between 0 and 0",
        ),
        (lambda: conformal.ConformalPredictiveSystem(2.0), "coverage must lie strictly"),
        (lambda: SYSTEM.calibrate(PAIR, ONES), r"predictions must have shape \(n,\)"),
        (lambda: SYSTEM.calibrate(ONES, ONES[:2]), "y must have the shape"),
        (lambda: SYSTEM.calibrate(ONES, ONES, 0 * ONES), "scale must be finite and positive"),
        (lambda: SYSTEM.calibrate(ONES, ONES, ONES).crps(ONES, ONES), "it was"),
        (lambda: SYSTEM.calibrate(ONES, ONES).quantiles(ONES, [0.5, 0.2]), "increase strictly"),
        (lambda: SYSTEM.calibrate(ONES, ONES).interval(ONES, coverage=0), "coverage must lie"),
        (
            lambda: jax.jit(SYSTEM.calibrate(ONES, ONES).quantiles.__func__)(
                SYSTEM.calibrate(ONES, ONES), ONES, ONES / 2
            ),
            "levels must be known numbers",
        ),
        (
            lambda: SYSTEM.calibrate(ONES, ONES).sample(jax.random.key(0), ONES, draws=0),
            "draws must be a whole number >= 1",
        ),
        (lambda: conformal.DistributionalConformal(kind="low"), "kind must be one of 'central'"),
        (lambda: CENTRAL.calibrate(PAIR, jnp.array([0.5]), ONES), "at least 2 in number"),
        (lambda: CENTRAL.calibrate(PAIR, jnp.array([0.2, 0.4, 0.8]), ONES), "3 levels"),
        (lambda: CENTRAL.calibrate(PAIR[0], jnp.array([0.2, 0.8]), ONES), r"shape \(n, L\)"),
        (lambda: SHORTEST.calibrate(PAIR, jnp.array([0.2, 0.6]), ONES), "reach over the coverage"),
        (lambda: CENTRAL.calibrate_distribution(2 * ONES), r"in \[0, 1\]; 3 of 3 do not"),
        (lambda: CENTRAL.calibrate_distribution(ONES, ONES), "centres must not be given"),
        (lambda: SHORTEST.calibrate_distribution(ONES), "centres must be given"),
        (lambda: SHORTEST.calibrate_distribution(ONES, ONES[:2]), "centres must have shape"),
        (lambda: conformal.HighestDensitySet(score="peak"), "score must be one of 'density'"),
        (lambda: MASS.calibrate(ONES), "grid and y must be given for score='mass'"),
        (lambda: DENSITY.calibrate(PAIR, jnp.arange(2.0)), "together; got one of them"),
        (lambda: DENSITY.calibrate(ONES * jnp.nan), "finite or -inf; 3 of 3"),
        (lambda: MASS.calibrate(-jnp.inf * PAIR - 1, jnp.arange(2.0), ONES), "finite or -inf"),
        (
            lambda: MASS.calibrate(jnp.full((3, 2), -jnp.inf), jnp.arange(2.0), ONES),
            "above -inf somewhere in each row",
        ),
        (lambda: conformal.conformal_p_values(ONES[:0], ONES), "at least 1 entry"),
        (lambda: DENSITY.calibrate(PAIR, jnp.zeros(2), ONES), "grid must increase strictly"),
        (lambda: DENSITY.calibrate(PAIR, jnp.arange(3.0), ONES), "the last axis as the grid"),
        (
            lambda: MASS.calibrate(PAIR, jnp.arange(2.0), ONES / 2).contains(ONES),
            "grid must be given exactly where calibration had it; it had grid",
        ),
        (
            lambda: DENSITY.calibrate(ONES).intervals(PAIR, jnp.arange(2.0), largest=0),
            "largest must be a whole number >= 1",
        ),
    ],
)
def test_bad_input_is_refused(call, message):
    with refuses(message):
        call()


@pytest.mark.parametrize("shape", ["flat", "histogram"])
def test_plateaus_cover_more_and_not_nothing(shape):
    """A density that is level at its top: the set holds all of the top."""
    grid = jnp.linspace(0.0, 1.0, 51)
    row = jnp.zeros(51) if shape == "flat" else jnp.where(abs(grid - 0.5) < 0.26, 0.0, -10.0)
    y = 0.3 + 0.4 * jax.random.uniform(jax.random.key(0), (200,))
    rows = jnp.broadcast_to(row[None], (200, 51))
    calibrated = conformal.HighestDensitySet(0.9, score="mass").calibrate(rows, grid, y)
    assert calibrated.contains(rows, grid, y).all()
    assert calibrated.intervals(row, grid).count == 1


def test_sets_on_a_coarse_grid_cover_as_they_promise(x64):
    """A Cauchy law on 21 points: outcomes are scored on the grid, as in calibration. 200
    calibration sets of 200 and 50 new rows: .9 within 4 standard errors (false alarm 6e-5)."""
    grid = jnp.linspace(-400.0, 400.0, 21)
    row = jax.scipy.stats.cauchy.logpdf(grid)

    def one(key):
        y = jax.random.cauchy(key, (250,))
        rows = jnp.broadcast_to(row[None], (250, 21))
        calibrated = conformal.HighestDensitySet(0.9).calibrate(rows[:200], grid, y[:200])
        return calibrated.contains(rows[200:], grid, y[200:]).mean()

    covered = np.asarray(jax.vmap(one)(jax.random.split(jax.random.key(0), 200)))
    assert abs(covered.mean() - 181 / 201) < 4 * covered.std() / 200**0.5
