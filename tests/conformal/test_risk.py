"""Risk control: closed forms, enumeration, peers, and what is refused."""

import itertools
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import slow
from scipy import stats

from estimators import conformal, io
from estimators.conformal._risk._binomial import binomial_tail
from estimators.testing import refuses

KEY = jax.random.key(0)
NAMES = ("hoeffding-bentkus", "waudby-smith-ramdas", "bernstein", "hoeffding")
GRID = jnp.linspace(0.0, 1.0, 9)


def oracle(shared_data):
    return np.load(shared_data / "conformal_oracle" / "risk_control.npz")


def falling(key, n=40):
    """Losses that fall along the grid in every row, fractional and with zeros."""
    return jnp.clip(1.2 * jax.random.uniform(key, (n, 1)) - GRID[None], 0, 1)


def wealth(losses, target, failure, halves=False):
    """The largest log capital, as one table of n rows, in numpy."""
    n = losses.shape[0]
    i = np.arange(1, n + 1)[:, None]
    mean = (0.5 + np.cumsum(losses, 0)) / (i + 1)
    variance = (0.25 + np.cumsum((losses - mean) ** 2, 0)) / (i + 1)
    variance = np.concatenate([np.full((1, losses.shape[1]), 0.25), variance[:-1]])
    stakes = np.minimum(1, np.sqrt(2 * np.log(1 / failure) / (n * variance)))
    gains = np.log1p(stakes * (target - losses) + 2e-16 * halves)
    if halves:
        return sum(np.cumsum(part, 0).max(0) for part in (gains[: n // 2], gains[n // 2 :]))
    return np.maximum(np.cumsum(gains, 0).max(0), 0)


def test_bounds_equal_the_oracle(x64, shared_data):
    """Its CRC column is the left side of our inequality, its two closed forms our bounds."""
    case = oracle(shared_data)
    losses = case["losses"]
    # Its losses rise with the parameter.
    sums = (
        conformal.ConformalRiskControl(0.1).calibrate(losses[:, ::-1], case["lambdas"][::-1]).sums
    )
    np.testing.assert_allclose((sums[::-1] + 1) / 201, case["crc"], rtol=1e-12)
    for bound, name in (("hoeffding", "rcps_hoeffding"), ("bernstein", "rcps_bernstein")):
        got = conformal.risk_upper_bounds(losses, 0.1, bound=bound)
        np.testing.assert_allclose(got, np.minimum(case[name], 1), atol=2e-9)
        assert (got >= np.minimum(case[name], 1) - 1e-15).all()
    p = conformal.hoeffding_bentkus_p_value(case["r_hat"][:, None], 200, np.array([[0.1, 0.3]]))
    # The peer takes the ceiling of 200 times 0.035, in floating point 7.000000000000001, as 8.
    counts = np.round(200 * case["r_hat"], 9)
    high = np.ceil(200 * case["r_hat"]) > np.ceil(counts)
    assert high.sum() == 1
    np.testing.assert_allclose(p[~high], np.minimum(case["hb_p"], 1)[~high], rtol=1e-10)
    exact = np.e * stats.binom.cdf(counts[high][:, None], 200, [[0.1, 0.3]])
    np.testing.assert_allclose(p[high], exact, rtol=1e-10)
    assert (exact < case["hb_p"][high]).all()


def test_the_oracle_of_bets_adds_the_maxima_of_two_halves(x64, shared_data):
    """The peer's capital is the product of two maxima, which no theorem bounds; its numbers
    are reproduced so, to the last digit, and ours is the one maximum."""
    case = oracle(shared_data)
    losses, grid = case["losses"], case["lambdas"]
    theirs = np.array([wealth(losses, target, 0.1, halves=True) for target in grid])
    first = (theirs > np.log(10)).argmax(0)
    reached = (theirs > np.log(10)).any(0)
    np.testing.assert_array_equal(np.where(reached, grid[first], 1), case["rcps_wsr"])
    for target in grid[::6]:
        got = conformal.risk_p_values(losses, target, bound="waudby-smith-ramdas")
        np.testing.assert_allclose(-np.log(got), wealth(losses, target, 0.1), atol=1e-11)


def test_bets_in_float32_and_turns_that_are_not_full():
    for n in (1, 33, 2000):
        losses = np.asarray(falling(KEY, n))
        got = conformal.risk_p_values(losses, 0.3, bound="waudby-smith-ramdas", failure=0.05)
        assert got.dtype == jnp.float32
        exact = wealth(losses.astype(float), 0.3, 0.05)
        np.testing.assert_allclose(got, np.exp(-exact), rtol=1e-3, atol=1e-30)
    bound = conformal.risk_upper_bounds(losses, 0.05, bound="waudby-smith-ramdas")
    with jax.enable_x64(True):
        wide = conformal.risk_upper_bounds(losses.astype(float), 0.05, bound="waudby-smith-ramdas")
    np.testing.assert_allclose(bound, wide, atol=2e-6)


@pytest.mark.parametrize("name", NAMES)
def test_the_upper_bound_is_the_least_risk_that_is_rejected(name, x64):
    losses = 2 * falling(KEY).astype(float)
    bound = conformal.risk_upper_bounds(losses, 0.1, bound=name, largest_loss=2.0)
    inside = np.flatnonzero(bound < 2)
    assert inside.size > 3
    for column in inside[:3]:

        def p(target, column=column):
            return conformal.risk_p_values(losses, target, bound=name, largest_loss=2.0)[column]

        assert p(bound[column]) <= 0.1 < p(bound[column] - 4e-9)


def test_binomial_tails_equal_scipy(x64):
    for n in (10_000, 1_000_000):
        counts = np.unique(np.floor(np.linspace(0, 0.0999 * n, 12)))
        exact = stats.binom.cdf(counts, n, 0.1)
        got = binomial_tail(jnp.asarray(counts), n, jnp.full(counts.shape, 0.1))
        np.testing.assert_allclose(got, exact, rtol=1e-9, atol=1e-280)
        single = jnp.asarray(counts, jnp.float32)
        got = binomial_tail(single, n, jnp.full(counts.shape, 0.1, jnp.float32))
        seen = exact > 1e-30
        # The rounding of 0.1 alone moves the last of these by 3e-4.
        np.testing.assert_allclose(got[seen], exact[seen], rtol=3e-4 if n < 1e5 else 5e-3)


def test_the_ceiling_leaves_whole_numbers_whole():
    """n mean, rounded, lands above the whole number in some of these; p would be a rank off."""
    for n in (41, 175):
        counts = np.arange(1, 0.35 * n)
        means = (counts / n).astype(np.float32)
        assert (np.ceil(means * np.float32(n)) > counts).any()
        exact = np.minimum(np.e * stats.binom.cdf(counts, n, 0.4), 1)
        gap = means * np.log(means / 0.4) + (1 - means) * np.log((1 - means) / 0.6)
        exact = np.minimum(exact, np.exp(-n * gap))
        got = conformal.hoeffding_bentkus_p_value(means, n, 0.4)
        np.testing.assert_allclose(got, exact, rtol=2e-4)


def test_the_choice_is_the_first_that_satisfies_the_inequality():
    """By enumeration in fractions: losses in tenths, risks on and beside what they reach."""
    rng = np.random.default_rng(0)
    tenths = -np.sort(-rng.integers(0, 11, (19, 9)), axis=1)
    losses = tenths / 10
    for target in (0.05, 0.06, 0.1, 0.25, 0.3, 0.45, 0.5, 0.71, 0.9):
        allowed = Fraction(str(target)) * 20
        good = [Fraction(int(s), 10) + 1 <= allowed for s in tenths.sum(0)]
        spec = conformal.ConformalRiskControl(target)
        got = spec.calibrate(losses.astype(np.float32), GRID).choose()
        assert bool(got.valid) == any(good)
        assert int(got.index) == (good.index(True) if any(good) else 8)
        assert got.parameter == GRID[got.index]


def test_miscoverage_gives_split_conformal():
    """Every rank of 19 scores, where (n + 1) coverage is whole."""
    scores = jax.random.permutation(KEY, jnp.arange(1.0, 20.0))
    grid = jnp.arange(0.0, 21.0)
    for k in range(1, 20):
        coverage = Fraction(k, 20)
        spec = conformal.ConformalRiskControl(float(1 - coverage))
        got = spec.calibrate(scores[:, None] > grid[None], grid)
        assert got.parameter == conformal.conformal_quantile(scores, coverage)
        assert got.valid


def test_units_of_the_loss_change_nothing():
    losses = falling(KEY)
    plain = conformal.ConformalRiskControl(0.25).calibrate(losses, GRID)
    scaled = conformal.ConformalRiskControl(2.0, largest_loss=8.0).calibrate(8 * losses, GRID)
    assert plain.parameter == scaled.parameter
    for name in NAMES:
        p = conformal.risk_p_values(losses, 0.25, bound=name)
        other = conformal.risk_p_values(8 * losses, 2.0, bound=name, largest_loss=8.0)
        np.testing.assert_allclose(other, p, rtol=1e-5)


def test_weights_of_one_change_nothing_and_two_is_a_row_twice():
    losses, spec = falling(KEY), conformal.ConformalRiskControl(0.3)
    plain = spec.calibrate(losses, GRID).choose()
    for weight in (1.0, 0.3, 3e37):
        calibrated = spec.calibrate(losses, GRID, weights=jnp.full(40, weight))
        got = calibrated.choose(jnp.full((2,), weight))
        assert (got.index == plain.index).all()
        assert got.valid.all()
    twice = jnp.arange(40) % 3
    repeated = spec.calibrate(np.repeat(losses, twice, 0), GRID).choose()
    got = spec.calibrate(losses, GRID, weights=twice).choose(jnp.array([1.0, 0.0, 1e3]))
    assert got.index[0] == repeated.index
    assert got.index[1] <= got.index[0]
    assert list(map(bool, got.valid)) == [True, True, False]
    reason = spec.calibrate(losses, GRID, weights=twice).reason
    limit = float(reason.rsplit(" ", 1)[1])
    edge = spec.calibrate(losses, GRID, weights=twice).choose(limit * jnp.array([0.999, 1.001]))
    assert list(map(bool, edge.valid)) == [True, False]


def test_a_function_of_the_parameter_gives_what_the_table_gives():
    """More parameters than fit one block, and a number that does not fill the last."""
    grid = jnp.linspace(0.0, 1.0, 77)
    u = jax.random.uniform(KEY, (40,))

    def loss(parameter):
        return jnp.clip(u - parameter, 0, 1)

    def wave(parameter):
        return jnp.clip(u - parameter + 0.2 * jnp.sin(40 * parameter), 0, 1)

    table = jax.vmap(loss, out_axes=1)(grid)
    both = [conformal.ConformalRiskControl(0.3).calibrate(losses, grid) for losses in (table, loss)]
    np.testing.assert_allclose(both[0].sums, both[1].sums, rtol=1e-6)
    waves = jax.vmap(wave, out_axes=1)(grid)
    hull = np.maximum.accumulate(np.asarray(waves)[:, ::-1], 1)[:, ::-1]
    spec = conformal.ConformalRiskControl(0.3, monotonise=True)
    for losses in (waves, wave):
        np.testing.assert_allclose(spec.calibrate(losses, grid).sums, hull.sum(0), rtol=1e-5)
    for name in ("waudby-smith-ramdas", "hoeffding-bentkus"):
        spec = conformal.RiskControllingSets(0.4, bound=name, monotonise=True)
        pair = [spec.calibrate(losses, grid) for losses in (waves, wave)]
        np.testing.assert_allclose(pair[0].p_values, pair[1].p_values, rtol=1e-4)
        assert pair[0].index == pair[1].index
    with refuses(r"row \d+ has .* at parameter .* and .* at parameter .*monotonise=True"):
        conformal.ConformalRiskControl(0.3).calibrate(wave, grid)
    with refuses(r"losses must lie between 0 and 1; row \d+ has -.* at parameter"):
        conformal.ConformalRiskControl(0.3).calibrate(lambda p: u - p, grid)
    with refuses(r"losses must give one loss a row, shape \(n,\); got shape \(40, 1\)"):
        conformal.ConformalRiskControl(0.3).calibrate(lambda p: loss(p)[:, None], grid)


@pytest.mark.parametrize("name", NAMES)
def test_controlling_sets_choose_by_upper_bounds(name):
    """The first parameter from which on the bound is nowhere above the risk."""
    losses = falling(KEY, 400)
    bounds = conformal.risk_upper_bounds(losses, 0.1, bound=name)
    for target in (0.1, 0.2, 0.4):
        got = conformal.RiskControllingSets(target, 0.1, name).calibrate(losses, GRID)
        good = np.asarray(bounds <= target)
        expected = len(good) - np.cumprod(good[::-1]).sum()
        assert (got.index, bool(got.valid)) == (min(expected, 8), good[-1])
        assert got.parameter == GRID[got.index]


def rejected_by_closure(p, level, weights, graph):
    """The definition: reject where every subset with it has a member with p <= weight level,
    its weights those that the graph leaves when all others are removed, one after the other."""
    m = len(p)
    good = {}
    for size in range(1, m + 1):
        for subset in itertools.combinations(range(m), size):
            w, g = weights.astype(float).copy(), graph.astype(float).copy()
            for j in set(range(m)) - set(subset):
                w = w + w[j] * g[j]
                new = np.zeros_like(g)
                for a, b in itertools.permutations(range(m), 2):
                    if j not in (a, b) and g[a, j] * g[j, a] < 1:
                        new[a, b] = (g[a, b] + g[a, j] * g[j, b]) / (1 - g[a, j] * g[j, a])
                w[j], g = 0, new
            good[subset] = any(p[i] <= w[i] * level for i in subset)
    return [all(ok for subset, ok in good.items() if i in subset) for i in range(m)]


def test_graphs_equal_the_closure_of_weighted_bonferroni_tests(x64):
    rng = np.random.default_rng(1)
    found = []
    for _ in range(40):
        weights = rng.dirichlet(np.ones(4))
        graph = rng.dirichlet(np.ones(4), 4) * (1 - np.eye(4))
        p = rng.uniform(0, 0.08, 4)
        got = conformal.graphical_test(p, 0.1, weights=weights, transitions=graph)
        assert list(map(bool, got)) == rejected_by_closure(p, 0.1, weights, graph)
        found.append(int(got.sum()))
    assert len(set(found)) >= 4  # from none to all


def test_other_families_are_graphs(x64):
    rng = np.random.default_rng(2)
    equal, empty = np.full(6, 1 / 6), np.zeros((6, 6))
    complete = (1 - np.eye(6)) / 5
    for _ in range(30):
        p = rng.uniform(0, 0.1, 6) ** 1.5 * 3
        p[rng.integers(6)] = p[0]
        got = conformal.bonferroni_test(p, 0.1)
        graph = conformal.graphical_test(p, 0.1, weights=equal, transitions=empty)
        np.testing.assert_array_equal(got, graph)
        np.testing.assert_array_equal(got, p <= 0.1 / 6)
        order = np.argsort(p, kind="stable")
        passed = np.cumprod(p[order] <= 0.1 / np.arange(6, 0, -1)).astype(bool)
        np.testing.assert_array_equal(conformal.holm_test(p, 0.1)[order], passed)
        graph = conformal.graphical_test(p, 0.1, weights=equal, transitions=complete * (1 - 1e-12))
        np.testing.assert_array_equal(graph[order], passed)
        chain = conformal.graphical_test(p, 0.1, weights=np.eye(6)[0], transitions=np.eye(6, k=1))
        np.testing.assert_array_equal(conformal.fixed_sequence_test(p, 0.1), chain)
        np.testing.assert_array_equal(chain, np.cumprod(p <= 0.1).astype(bool))


def test_starts_of_a_sequence_by_its_loop():
    rng = np.random.default_rng(3)
    for starts in (1, 2, 3, 4, 10):
        p = rng.uniform(0, 0.05, 10)
        expected = np.zeros(10, bool)
        for first in np.arange(starts) * 10 // starts:
            while first < 10 and np.float32(p[first]) <= np.float32(0.1) / starts:
                expected[first] = True
                first += 1
        got = conformal.fixed_sequence_test(p.astype(np.float32), 0.1, starts=starts)
        np.testing.assert_array_equal(got, expected)


def test_learn_then_test_takes_the_worst_of_several_risks():
    losses = falling(KEY, 300)
    rising = 2 * jnp.clip(0.1 * GRID[None] + 0.05 * losses, 0, 1)
    parameters = jnp.stack([GRID, -GRID], 1)
    spec = conformal.LearnThenTest((0.3, 0.4), 0.1, "holm", largest_loss=(1.0, 2.0))
    calibrated = spec.calibrate((losses, rising), parameters)
    first = conformal.risk_p_values(losses, 0.3)
    second = conformal.risk_p_values(rising, 0.4, largest_loss=2.0)
    np.testing.assert_array_equal(calibrated.p_values, jnp.maximum(first, second))
    np.testing.assert_array_equal(calibrated.valid, conformal.holm_test(calibrated.p_values, 0.1))
    places = np.flatnonzero(calibrated.valid)
    assert 1 < places.size < 9
    chosen = calibrated.choose(-jnp.arange(9.0))
    assert int(chosen.index) == places[-1]
    assert chosen.valid
    np.testing.assert_array_equal(chosen.parameter, parameters[places[-1]])
    assert "at most 0.3 and 0.4 with probability at least 0.9" in str(calibrated.guarantee)
    none = conformal.LearnThenTest(0.01).calibrate(losses, parameters)
    chosen = none.choose(GRID)
    assert int(chosen.index) == -1
    assert not chosen.valid
    assert jnp.isnan(chosen.parameter).all()
    assert "no parameter is valid with confidence 0.9: the smallest of 9 p-values" in none.reason


def test_every_family_of_learn_then_test_is_its_test():
    losses = falling(KEY, 300)[:, ::-1]
    p = conformal.risk_p_values(losses, 0.3, bound="bernstein")
    chain, weights = jnp.eye(9, k=1), jnp.full(9, 1 / 9)
    cases = {
        "bonferroni": (conformal.bonferroni_test(p, 0.2), {}),
        "holm": (conformal.holm_test(p, 0.2), {}),
        "fixed sequence": (conformal.fixed_sequence_test(p, 0.2, starts=3), {"starts": 3}),
        "graph": (
            conformal.graphical_test(p, 0.2, weights=weights, transitions=chain),
            {"weights": weights, "transitions": chain},
        ),
    }
    for family, (expected, options) in cases.items():
        spec = conformal.LearnThenTest(0.3, 0.2, family, bound="bernstein", **options)
        np.testing.assert_array_equal(spec.calibrate(losses, GRID).valid, expected)
        assert expected.any()


def test_losses_over_thresholds_equal_those_of_masks():
    """300 rows are three blocks; scores on thresholds, thresholds twice, rows without labels."""
    of_scores, of_labels = jax.random.split(KEY)
    scores = jnp.round(jax.random.uniform(of_scores, (300, 7)), 1)
    scores = scores.at[0, 0].set(jnp.inf)
    labels = jax.random.bernoulli(of_labels, 0.3, (300, 7)).at[1].set(False)
    thresholds = jnp.array([-1.0, 0.0, 0.1, 0.1, 0.35, 0.7, 1.0])
    sets = scores[:, None] <= thresholds[None, :, None]
    truth = jnp.broadcast_to(labels[:, None], sets.shape)
    cases = {
        "miscoverage": (truth & ~sets).any(-1),
        "false negative rate": (truth & ~sets).sum(-1) / jnp.maximum(truth.sum(-1), 1),
        "false discovery proportion": (sets & ~truth).sum(-1) / jnp.maximum(sets.sum(-1), 1),
        "set size fraction": sets.mean(-1),
    }
    functions = {
        "miscoverage": conformal.miscoverage,
        "false negative rate": conformal.false_negative_rate,
        "false discovery proportion": conformal.false_discovery_proportion,
        "set size fraction": lambda sets, labels: conformal.set_size_fraction(sets),
    }
    for name, expected in cases.items():
        got = conformal.threshold_losses(scores, labels, thresholds, name)
        np.testing.assert_allclose(got, expected, rtol=1e-6)
        np.testing.assert_allclose(functions[name](sets, truth), expected, rtol=1e-6)
    broken = jax.jit(
        lambda s, t: conformal.threshold_losses(s, labels, t, "miscoverage"),
    )
    assert jnp.isnan(broken(scores.at[2, 3].set(jnp.nan), thresholds)).all(1).sum() == 1
    assert jnp.isnan(broken(scores, thresholds[::-1])).all()


def test_too_few_rows_are_said_to_be_too_few():
    losses = jnp.zeros((10, 9))
    few = conformal.ConformalRiskControl(0.05).calibrate(losses, GRID)
    assert not few.valid
    assert few.parameter == GRID[-1]
    assert "needs at least 19 calibration rows; there were 10" in few.reason
    enough = conformal.ConformalRiskControl(0.05).calibrate(jnp.zeros((19, 9)), GRID)
    assert enough.valid
    assert enough.parameter == 0
    assert enough.reason is None
    large = conformal.ConformalRiskControl(0.05).calibrate(jnp.ones((30, 9)), GRID)
    assert not large.valid
    assert "no parameter is safe enough" in large.reason
    sets = conformal.RiskControllingSets(0.05).calibrate(losses, GRID)
    assert not sets.valid
    assert sets.parameter == GRID[-1]
    assert "no parameter has a risk of at most 0.05 with confidence 0.9" in sets.reason


def test_what_is_promised():
    calibrated = conformal.ConformalRiskControl(0.3).calibrate(falling(KEY), GRID)
    promise = calibrated.guarantee
    assert (promise.risk, promise.failure) == (0.3, None)
    np.testing.assert_allclose(promise.at_least, 0.3 - 2 / 41)
    assert str(promise).startswith("the expected loss of a new row is at most 0.3 and, with")
    weighted = conformal.ConformalRiskControl(0.3).calibrate(
        falling(KEY), GRID, weights=jnp.ones(40)
    )
    assert weighted.guarantee.at_least is None
    assert "ratio" in str(weighted.guarantee)
    sets = conformal.RiskControllingSets(0.4).calibrate(falling(KEY), GRID)
    assert "the risk is at most 0.4 with probability at least 0.9; over" in str(sets.guarantee)


SPECS = {
    "conformal": conformal.ConformalRiskControl(0.3),
    "made to fall": conformal.ConformalRiskControl(0.3, monotonise=True),
    "sets": conformal.RiskControllingSets(0.4),
    "bets": conformal.RiskControllingSets(0.4, bound="waudby-smith-ramdas"),
    "tests": conformal.LearnThenTest(0.4, family="holm", bound="bernstein"),
}


@pytest.mark.parametrize("name", slow.parameters(SPECS, {"made to fall", "sets"}))
def test_jit_vmap_precision_and_files(name, tmp_path):
    spec = SPECS[name]

    def fit(losses):
        calibrated = spec.calibrate(losses, GRID.astype(losses.dtype))
        if name == "tests":
            return calibrated, calibrated.choose(GRID).parameter
        return calibrated, calibrated.parameter

    several = jnp.stack([falling(key) for key in jax.random.split(KEY, 3)])
    eager = [fit(losses)[1] for losses in several]
    np.testing.assert_allclose(jax.jit(jax.vmap(lambda x: fit(x)[1]))(several), eager)
    calibrated, parameter = fit(several[0])
    assert parameter.dtype == jnp.float32
    io.save(tmp_path / "fitted.safetensors", calibrated)
    again = io.load(tmp_path / "fitted.safetensors")
    assert again.reason == calibrated.reason
    assert again.guarantee == calibrated.guarantee
    with jax.enable_x64(True):
        _, wide = fit(np.asarray(several[0], float))
    assert wide.dtype == jnp.float64
    assert abs(float(wide) - float(parameter)) < 1e-6
    for wrong in (jnp.nan, -0.5, 1.5):
        bad = several[0].at[3, 4].set(wrong)
        broken, parameter = jax.jit(fit)(bad)
        assert jnp.isnan(parameter)
        assert not jnp.any(broken.valid)
        with refuses(r"losses must lie between 0 and 1; row 3 has .* at parameter 0.5"):
            fit(bad)


def test_losses_that_rise():
    """Row 2 between the third parameter and the fourth."""
    losses = jnp.tile(jnp.linspace(1, 0, 9), (30, 1)).at[2, 2].set(0.5)
    for spec in (conformal.ConformalRiskControl(0.3), conformal.RiskControllingSets(0.3)):
        with refuses("row 2 has 0.5 at parameter 0.25 and 0.625 at parameter 0.375"):
            spec.calibrate(losses, GRID)
        broken = jax.jit(lambda x, spec=spec: spec.calibrate(x, GRID))(losses)
        assert jnp.isnan(broken.parameter)
        assert not broken.valid
    with refuses("Reverse the order of the parameters"):
        conformal.ConformalRiskControl(0.3).calibrate(losses[:, ::-1], GRID)
    fixed = conformal.ConformalRiskControl(0.3, monotonise=True).calibrate(losses, GRID)
    assert fixed.sums[2] == 30 * 0.75 - 0.125
    assert conformal.LearnThenTest(0.3).calibrate(losses, GRID).p_values[-1] < 0.1


def test_bad_input():
    losses, spec = falling(KEY), conformal.ConformalRiskControl(0.3)
    with refuses(r"risk must lie strictly between 0 and largest_loss, 1; got 1.5"):
        conformal.ConformalRiskControl(1.5)
    with refuses("risk must lie strictly between 0 and largest_loss, 1; got 0"):
        conformal.LearnThenTest((0.1, 0))
    with refuses("largest_loss must be finite and positive; got -1"):
        conformal.RiskControllingSets(0.1, largest_loss=-1)
    with refuses("bound must be one of 'hoeffding-bentkus', .*; got 'wsr'"):
        conformal.RiskControllingSets(0.1, bound="wsr")
    with refuses("failure must lie strictly between 0 and 1; got 1"):
        conformal.RiskControllingSets(0.1, 1)
    with refuses("family must be one of .*; got 'sidak'"):
        conformal.LearnThenTest(0.1, family="sidak")
    with refuses("starts must be 1 with family 'holm'; got 3"):
        conformal.LearnThenTest(0.1, family="holm", starts=3)
    with refuses("weights and transitions must be given with family='graph', and only then"):
        conformal.LearnThenTest(0.1, family="graph")
    with refuses("largest_loss must be one number or 2, one a risk; got 3"):
        conformal.LearnThenTest((0.1, 0.2), largest_loss=(1.0, 1.0, 1.0))
    with refuses("losses must be 2, one a risk; got 1"):
        conformal.LearnThenTest((0.1, 0.2)).calibrate(losses, GRID)
    with refuses(r"losses must have shape \(n, 9\), one column a parameter; got shape \(40,\)"):
        spec.calibrate(losses[:, 0], GRID)
    with refuses(r"losses must have at least 1 rows; got shape \(0, 9\)"):
        spec.calibrate(losses[:0], GRID)
    with refuses(r"losses must have at least 2 rows; got shape \(1, 9\)"):
        conformal.risk_p_values(losses[:1], 0.1, bound="bernstein")
    with refuses(r"losses must have shape \(n, parameters\); got shape \(40,\). Write"):
        conformal.risk_upper_bounds(losses[:, 0])
    with refuses(r"parameters must have shape \(n,\); got shape \(9, 1\)"):
        spec.calibrate(losses, GRID[:, None])
    with refuses(r"weights must have shape \(40,\), one a row; got shape \(3,\)"):
        spec.calibrate(losses, GRID, weights=jnp.ones(3))
    with refuses("weights must not be negative; the least of 40 is -1.0"):
        spec.calibrate(losses, GRID, weights=-jnp.ones(40))
    with refuses("weights must be given exactly where calibration had them; it had them"):
        _ = spec.calibrate(losses, GRID, weights=jnp.ones(40)).parameter
    with refuses("it did not have them"):
        spec.calibrate(losses, GRID).choose(jnp.ones(3))
    with refuses(r"mean_loss must lie in \[0, 1\]; got 1.5"):
        conformal.hoeffding_bentkus_p_value(1.5, 10, 0.1)
    with refuses(r"risk must lie in \(0, 1\); got 0.0"):
        conformal.hoeffding_bentkus_p_value(0.5, 10, 0.0)
    with refuses("n must be a whole number >= 1; got 0"):
        conformal.hoeffding_bentkus_p_value(0.5, 0, 0.1)
    with refuses("p_values must lie in .0, 1.; 1 of 2 do not, the first is 2.0"):
        conformal.holm_test(jnp.array([0.5, 2.0]), 0.1)
    with refuses("p_values must be finite"):
        conformal.holm_test(jnp.array([0.5, jnp.nan]), 0.1)
    with refuses("starts must be at most 2, the number of p-values; got 3"):
        conformal.fixed_sequence_test(jnp.array([0.5, 1.0]), 0.1, starts=3)
    half = jnp.array([0.5, 0.5])
    with refuses(r"transitions must have shape \(2, 2\); got shape \(2,\)"):
        conformal.graphical_test(half, 0.1, weights=half, transitions=half)
    with refuses(
        "weights and each row of transitions must not be negative, .* rows of sum up to 2"
    ):
        conformal.graphical_test(half, 0.1, weights=half, transitions=2 * (1 - jnp.eye(2)))
    masks = jnp.ones((4, 3), bool)
    with refuses("labels must be booleans, one a label; got int32"):
        conformal.miscoverage(masks, masks.astype(jnp.int32))
    with refuses(r"labels must have shape \(4, 3\); got shape \(4, 2\)"):
        conformal.miscoverage(masks, masks[:, :2])
    with refuses("loss must be one of 'miscoverage', .*; got 'f1'"):
        conformal.threshold_losses(masks.astype(float), masks, GRID, "f1")
    with refuses(r"scores must not be NaN; scores\[0, 1\] is nan"):
        scores = jnp.zeros((4, 3)).at[0, 1].set(jnp.nan)
        conformal.threshold_losses(scores, masks, GRID, "miscoverage")
    with refuses("thresholds must be in increasing order; got 1.0 before 0.875"):
        conformal.threshold_losses(jnp.zeros((4, 3)), masks, GRID[::-1], "miscoverage")
    with refuses(r"objective must have length 9; got shape \(3,\)"):
        conformal.LearnThenTest(0.3).calibrate(losses, GRID).choose(jnp.ones(3))


def test_inside_jit_bad_numbers_give_nan_or_no_rejection():
    p = jax.jit(lambda m, r: conformal.hoeffding_bentkus_p_value(m, 50, r))
    assert jnp.isnan(jnp.stack([p(jnp.nan, 0.1), p(1.5, 0.1), p(0.1, 1.0), p(0.1, -1.0)])).all()
    values = jnp.array([0.001, jnp.nan, 0.002])
    assert list(map(bool, jax.jit(conformal.holm_test)(values, 0.1))) == [True, False, True]
    assert list(map(bool, jax.jit(conformal.fixed_sequence_test)(values, 0.1))) == [
        True,
        False,
        False,
    ]
    graph = jax.jit(lambda w, g: conformal.graphical_test(values, 0.1, weights=w, transitions=g))
    with refuses("p_values must be finite"):
        graph(jnp.ones(3) / 3, jnp.zeros((3, 3)))
    graph = jax.jit(lambda p, w, g: conformal.graphical_test(p, 0.1, weights=w, transitions=g))
    assert graph(values, jnp.ones(3) / 3, jnp.zeros((3, 3))).sum() == 2
    assert graph(values, jnp.ones(3), jnp.zeros((3, 3))).sum() == 0
    weighted = jax.jit(
        lambda w: (
            conformal.ConformalRiskControl(0.3).calibrate(falling(KEY), GRID, weights=w).choose(w)
        )
    )
    bad = weighted(jnp.ones(40).at[0].set(-1.0))
    assert jnp.isnan(bad.parameter).all()
    assert not bad.valid.any()


def test_two_calls_of_one_shape_share_a_program():
    from estimators.conformal._risk._table import _reduce

    spec = conformal.RiskControllingSets(0.4, bound="waudby-smith-ramdas")
    spec.calibrate(falling(KEY), GRID)
    before = _reduce._cache_size()
    conformal.RiskControllingSets(0.2, 0.3, "waudby-smith-ramdas").calibrate(falling(KEY) / 2, GRID)
    assert _reduce._cache_size() == before
