"""Censored times: published tables, brute force, closed forms, and known laws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from estimators import conformal, io
from estimators.testing import refuses

KEY = jax.random.key(0)
FIXED, ADAPTIVE = conformal.SurvivalLowerBound, conformal.AdaptiveSurvivalLowerBound

# Remission times in weeks under 6-MP (Freireich et al. 1963), and the published curve with its
# standard errors and 95 % limits on the scale of log(-log).
REMISSION = np.array(
    [6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35], float
)
RELAPSE = np.array([1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0])
PUBLISHED = np.array(
    [
        [6, 0.8571, 0.0764, 0.6197, 0.9516],
        [7, 0.8067, 0.0869, 0.5631, 0.9228],
        [10, 0.7529, 0.0963, 0.5032, 0.8894],
        [13, 0.6902, 0.1068, 0.4316, 0.8491],
        [16, 0.6275, 0.1141, 0.3675, 0.8049],
        [22, 0.5378, 0.1282, 0.2678, 0.7468],
        [23, 0.4482, 0.1346, 0.1881, 0.6801],
    ]
)


def shuffled(*arrays):
    order = np.random.default_rng(0).permutation(len(arrays[0]))
    return [array[order] for array in arrays]


def test_the_published_curve(x64):
    curve = conformal.kaplan_meier(*shuffled(REMISSION, RELAPSE))
    t, expected, error, lower, upper = PUBLISHED.T
    np.testing.assert_allclose(curve.at(t), expected, atol=5.1e-5)
    np.testing.assert_allclose(curve.before(t[1:]), expected[:-1], atol=5.1e-5)
    np.testing.assert_allclose(jnp.sqrt(curve.variance(t)), error, atol=5.1e-5)
    np.testing.assert_allclose(curve.interval(t), [lower, upper], atol=5.1e-5)
    assert curve.quantile(0.5) == 23
    assert list(curve.quantile(jnp.array([0.1, 0.2, 0.6]))) == [6, 10, np.inf]
    assert (curve.at(5.9), curve.before(6.0), curve.variance(5.9)) == (1, 1, 0)
    assert tuple(curve.interval(5.9)) == (1, 1)


def by_definition(times, events, weights, t):
    """S(t), Greenwood's sum and G(t), time by time."""
    value, greenwood, other = 1.0, 0.0, 1.0
    for u in np.unique(times[times <= t]):
        risk = weights[times >= u].sum()
        d = weights[(times == u) & events].sum()
        c = weights[(times == u) & ~events].sum()
        value *= 1 - d / risk
        with np.errstate(divide="ignore"):
            greenwood += d / (risk * (risk - d)) if d else 0
        other *= 1 - c / (risk - d) if c else 1
    return value, greenwood, other


def tied(n=60, seed=1):
    rng = np.random.default_rng(seed)
    return rng.integers(1, 15, n).astype(float), rng.random(n) < 0.6, rng.integers(0, 4, n)


def test_curves_by_definition_with_ties_and_weights(x64):
    times, events, weights = tied()
    curve = conformal.kaplan_meier(times, events, weights)
    reverse = conformal.kaplan_meier(times, events, weights, reverse=True)
    grid = np.arange(0, 16, 0.5)
    expected = np.array([by_definition(times, events, weights, t) for t in grid])
    np.testing.assert_allclose(curve.at(grid), expected[:, 0], atol=1e-14)
    np.testing.assert_allclose(reverse.at(grid), expected[:, 2], atol=1e-14)
    inside = expected[:, 0] > 1e-12
    variance = np.where(inside, expected[:, 0] ** 2 * np.where(inside, expected[:, 1], 0), 0)
    np.testing.assert_allclose(curve.variance(grid), variance, atol=1e-14)
    # Both together are the share of rows still there.
    share = [(weights * (times > t)).sum() / weights.sum() for t in grid]
    np.testing.assert_allclose(curve.at(grid) * reverse.at(grid), share, atol=1e-14)
    repeated = conformal.kaplan_meier(np.repeat(times, weights), np.repeat(events, weights))
    np.testing.assert_allclose(curve.at(grid), repeated.at(grid), atol=1e-14)
    np.testing.assert_allclose(curve.variance(grid), repeated.variance(grid), atol=1e-14)


def test_without_censoring_it_is_the_empirical_law(x64):
    times = np.random.default_rng(0).integers(1, 9, 60).astype(float)
    curve = conformal.kaplan_meier(times, np.ones(60, bool))
    t = np.arange(0.0, 10.0)
    share = (times[None] > t[:, None]).mean(1)
    np.testing.assert_allclose(curve.at(t), share, atol=1e-15)
    np.testing.assert_allclose(curve.variance(t), share * (1 - share) / 60, atol=1e-15)
    for level in (0.25, 0.5, 0.75, 0.9):
        assert curve.quantile(level) == np.quantile(times, level, method="inverted_cdf")
    assert tuple(curve.interval(9.0)) == (0, 1)


def exponential(key, n, hazard=1.0, censoring=0.5):
    of_event, of_censoring = jax.random.split(key)
    event = jax.random.exponential(of_event, (n,)) / hazard
    censored = jax.random.exponential(of_censoring, (n,)) / censoring
    return event, censored


def test_exponential_times_and_censoring():
    """4000 rows: at four times both curves lie within 4 of their exact standard errors,
    `S(t)**2 int h / (S G) / n`; false alarm 5e-4 together. The naive share of events, which takes
    censorings for events, is far outside."""
    n = 4000
    event, censoring = exponential(KEY, n)
    times, seen = jnp.minimum(event, censoring), event <= censoring
    t = jnp.array([0.3, 0.7, 1.2, 2.0])
    for reverse, hazard in ((False, 1.0), (True, 0.5)):
        truth = jnp.exp(-hazard * t)
        error = truth * jnp.sqrt(hazard / 1.5 * jnp.expm1(1.5 * t) / n)
        curve = conformal.kaplan_meier(times, seen, reverse=reverse)
        assert (jnp.abs(curve.at(t) - truth) < 4 * error).all()
        np.testing.assert_allclose(jnp.sqrt(curve.variance(t)), error, rtol=0.1)
        assert (jnp.diff(curve.survival) <= 0).all()
        naive = conformal.kaplan_meier(times, jnp.ones(n, bool))
        assert (jnp.abs(naive.at(t) - truth) > 4 * error).all()
    # The same with weights, of the true law: the mean of min(T, 2) is 1 - exp(-2).
    weights = conformal.inverse_censoring_weights(times, seen, jnp.exp(-0.5 * times))
    values = weights * (times < 2)
    spread = jnp.std(values) / jnp.sqrt(n)
    assert abs(jnp.mean(values) - (1 - jnp.exp(-2.0))) < 4 * spread


def test_weights_give_back_the_curve(x64):
    times, events, _ = tied()
    weights = conformal.inverse_censoring_weights(times, events)
    curve = conformal.kaplan_meier(times, events)
    grid = np.arange(0.0, 14.0)
    below = [(weights * (times <= t)).sum() / 60 for t in grid]
    np.testing.assert_allclose(below, 1 - curve.at(grid), atol=1e-14)
    assert (weights[~events] == 0).all()
    bounded = conformal.inverse_censoring_weights(times, events, largest=1.5)
    np.testing.assert_array_equal(bounded, jnp.minimum(weights, 1.5))
    chances = np.random.default_rng(0).uniform(0.2, 1, 60)
    given = conformal.inverse_censoring_weights(times, events, chances)
    np.testing.assert_allclose(given, events / chances, rtol=1e-15)


def test_imputed_censoring_times_have_the_law_of_those_hidden():
    """Times on 1, 2, 3, laws that depend on x: the counts of (T, C') and of (T, C) in each x, with
    the true law of C, agree with the product of the laws by chi-squared, false alarm 1e-3 each."""
    n = 20_000
    of_x, of_event, of_censoring, of_draws = jax.random.split(KEY, 4)
    x = jax.random.randint(of_x, (n,), 0, 2)
    event_law = jnp.array([[0.2, 0.5, 0.3], [0.5, 0.2, 0.3]])
    censoring_law = jnp.array([[0.3, 0.3, 0.4], [0.1, 0.6, 0.3]])
    event = 1 + jax.random.categorical(of_event, jnp.log(event_law)[x]).astype(float)
    censoring = 1 + jax.random.categorical(of_censoring, jnp.log(censoring_law)[x]).astype(float)
    after = 1 - jnp.cumsum(censoring_law, 1).at[:, -1].set(1)
    seen = event <= censoring
    drawn = conformal.impute_censoring_times(
        jnp.minimum(event, censoring), seen, jnp.arange(1.0, 4.0), after[x], key=of_draws
    )
    assert (drawn >= jnp.minimum(event, censoring)).all()
    assert (jnp.where(seen, censoring, drawn) == censoring).all()
    assert (drawn[seen] != censoring[seen]).any()
    for group in range(2):
        own = np.asarray(x == group)
        pairs = np.asarray(event)[own].astype(int) * 3 + np.asarray(drawn)[own].astype(int) - 4
        expected = own.sum() * np.outer(event_law[group], censoring_law[group]).ravel()
        counts = np.bincount(pairs, minlength=9)
        statistic = ((counts - expected) ** 2 / expected).sum()
        assert stats.chi2.sf(statistic, 8) > 1e-3


def test_imputation_from_a_curve(x64):
    times, events, _ = tied()
    curve = conformal.kaplan_meier(times, events, reverse=True)
    law = curve.times, curve.survival
    drawn = conformal.impute_censoring_times(times, events, *law, key=KEY)
    assert (drawn >= times).all()
    assert (drawn[~events] == times[~events]).all()
    assert set(np.asarray(drawn[events])) <= {*times[~events], np.inf, *times[events]}
    rows = jnp.broadcast_to(curve.survival, (60, 60))
    same = conformal.impute_censoring_times(times, events, curve.times, rows, key=KEY)
    np.testing.assert_array_equal(drawn, same)


def test_without_censoring_it_is_split_conformal_to_the_last_digit(x64):
    """One end of two that miss half as often each: 0.9 is the lower end at 0.8."""
    rng = np.random.default_rng(0)
    y = rng.exponential(size=60)
    predictions, new = y + rng.normal(size=60), rng.exponential(size=9)
    for coverage, both in ((0.9, 0.8), (0.75, 0.5), (0.99, 0.98)):
        split = conformal.SplitRegression(both, symmetric=False).calibrate(predictions, y)
        expected = np.maximum(split.interval(new)[0], 0)
        for cutoff in (np.inf, 1e3):
            never = np.full(60, cutoff)
            calibrated = FIXED(coverage, cutoff=cutoff).calibrate(predictions, y, never)
            np.testing.assert_array_equal(calibrated.lower_bound(new), expected)


def test_two_quantiles_without_censoring_are_scaled_split_conformal(x64):
    """The predicted law is then a line: the level at y is its distance in widths."""
    rng = np.random.default_rng(0)
    y, scale = rng.exponential(size=60), rng.uniform(0.5, 2, 60)
    quantiles = np.stack([y - 0.3, y - 0.3 + scale], 1) + rng.normal(size=(60, 1))
    split = conformal.SplitRegression(0.8, symmetric=False).calibrate(quantiles[:, 0], y, scale)
    expected = np.maximum(split.interval(quantiles[:, 0], scale)[0], 0)
    spec = FIXED(0.9, cutoff=1e3)
    calibrated = spec.calibrate(quantiles, y, np.full(60, 1e3), levels=[0.25, 0.75])
    np.testing.assert_allclose(calibrated.lower_bound(quantiles), expected, atol=1e-12)


def rows(n=60, seed=0):
    """x, min(T, C), C and P(C >= c | x) as a function of c, all in numpy."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(size=n)
    event = (0.3 + x) * rng.exponential(size=n)
    censoring = rng.exponential(size=n) / (0.3 + x)
    return x, np.minimum(event, censoring), censoring, lambda c: np.exp(-c * (0.3 + x))


LEVELS = np.array([0.05, 0.1, 0.2, 0.4, 0.6, 0.8])


def predicted(x):
    """Exponential quantiles with half the mean there is, roughly."""
    return (0.2 + 0.5 * x)[:, None] * -np.log1p(-LEVELS)


@pytest.mark.parametrize("kind", ["times", "quantiles"])
def test_fixed_cutoff_by_definition(x64, kind):
    """Every bound of a fine grid is asked of every kept row: weighted, the least that misses too
    often. Weights of new rows count at +inf."""
    x, times, censoring, chance = rows()
    cutoff, coverage = 0.8, 0.6
    kept = censoring >= cutoff
    weights, new = 1 / chance(cutoff)[kept], 1 / chance(cutoff)[:5]
    options = {"levels": LEVELS} if kind == "quantiles" else {}
    predictions = predicted(x) if options else 0.2 + 0.4 * x
    spec = FIXED(coverage, cutoff=cutoff)
    calibrated = spec.calibrate(
        predictions, times, censoring, probabilities=chance(cutoff), **options
    )
    got = calibrated.lower_bound(predictions[:5], chance(cutoff)[:5])

    def bound(predictions, threshold):
        if not options:
            moved = np.minimum(predictions, cutoff) - threshold
        else:
            place = np.clip(np.searchsorted(LEVELS, -threshold) - 1, 0, len(LEVELS) - 2)
            step = predictions[:, place + 1] - predictions[:, place]
            share = (-threshold - LEVELS[place]) / (LEVELS[place + 1] - LEVELS[place])
            moved = predictions[:, place] + share * step
        return np.clip(moved, 0, cutoff)

    grid = np.linspace(-1.2, 1.2, 2401)
    covered = np.array([(bound(predictions[kept], t) <= times[kept]) @ weights for t in grid])
    for i, weight in enumerate(new):
        enough = covered >= coverage * (weights.sum() + weight)
        expected = bound(predictions[i : i + 1], grid[np.argmax(enough)])[0]
        np.testing.assert_allclose(got[i], expected, atol=2e-3)
    assert ((got > 0) & (got < cutoff)).sum() >= 3


@pytest.mark.parametrize("known", [True, False])
def test_adaptive_cutoffs_by_definition(x64, known):
    x, times, censoring, _ = rows()
    quantiles = predicted(x)
    if known:
        chances = np.exp(-quantiles * (0.3 + x)[:, None])
    else:
        chances = (censoring[None, None] >= quantiles[..., None]).mean(-1)
    rates = []
    for a in range(len(LEVELS)):
        top = bottom = 0.0
        for i in range(60):
            if quantiles[i, a] <= censoring[i]:
                bottom += 1 / chances[i, a]
                top += (times[i] < quantiles[i, a]) / chances[i, a]
        rates.append(top / bottom)
    for coverage in (0.9, 0.7, 0.5):
        options = {"probabilities": chances} if known else {}
        calibrated = ADAPTIVE(coverage).calibrate(quantiles, LEVELS, times, censoring, **options)
        np.testing.assert_allclose(calibrated.miss_rates, rates, rtol=1e-12)
        passes = np.append(np.array(rates) <= 1 - coverage, False)
        chosen = np.argmin(passes) - 1
        assert chosen >= 0
        assert calibrated.level == LEVELS[chosen]
        np.testing.assert_array_equal(calibrated.lower_bound(quantiles), quantiles[:, chosen])


def test_adaptive_without_censoring_counts_misses_exactly():
    """A rate that is the one allowed passes: 2 of 20 at 0.9, in either precision."""
    times, never = jnp.arange(1.0, 21.0), jnp.full(20, jnp.inf)
    quantiles = jnp.broadcast_to(jnp.array([2.0, 3.0, 3.5]), (20, 3))
    calibrated = ADAPTIVE(0.9).calibrate(quantiles, [0.1, 0.2, 0.3], times, never)
    np.testing.assert_allclose(calibrated.miss_rates, [0.05, 0.1, 0.15], rtol=1e-6)
    assert calibrated.lower_bound(quantiles[0]) == 3


def test_a_level_beyond_one_that_fails_is_not_chosen():
    """Misses are not monotone in the level where rows are few: here 1, 0.5 and then 0 of those
    seen for as long."""
    quantiles = jnp.broadcast_to(jnp.array([1.0, 3.0, 5.0]), (2, 3))
    times, censoring = jnp.array([2.0, 9.0]), jnp.array([4.0, 10.0])
    calibrated = ADAPTIVE(0.6).calibrate(quantiles, [0.1, 0.5, 0.9], times, censoring)
    np.testing.assert_allclose(calibrated.miss_rates, [0, 0.5, 0])
    assert calibrated.level == jnp.float32(0.1)


def test_order_and_unit_of_rows_do_not_matter(x64):
    x, times, censoring, chance = rows()
    order = np.random.default_rng(5).permutation(60)
    point, quantiles = 0.2 + 0.4 * x, predicted(x)
    chances = np.exp(-quantiles * (0.3 + x)[:, None])

    def bounds(order, unit):
        def of(array):
            return np.asarray(array)[order] * unit

        seen = of(times), of(censoring)
        fixed = FIXED(0.85, cutoff=0.8 * unit)
        weights = {"probabilities": chance(0.8)[order]}
        one = fixed.calibrate(of(point), *seen, **weights)
        two = fixed.calibrate(of(quantiles), *seen, levels=LEVELS, **weights)
        three = ADAPTIVE(0.8).calibrate(of(quantiles), LEVELS, *seen, probabilities=chances[order])
        return [
            one.lower_bound(point * unit, chance(0.8)),
            two.lower_bound(quantiles * unit, chance(0.8)),
            three.lower_bound(quantiles * unit),
        ]

    expected = bounds(np.arange(60), 1.0)
    for got, plain in zip(bounds(order, 1.0), expected, strict=True):
        np.testing.assert_allclose(got, plain, rtol=1e-12)
    for got, plain in zip(bounds(order, 7.0), expected, strict=True):
        np.testing.assert_allclose(got, 7 * np.asarray(plain), rtol=1e-12)


def test_the_chosen_cutoff_is_that_of_a_loop(x64):
    x, times, censoring, chance = rows()
    cutoffs = np.array([0.1, 0.5, 0.9, 1.5, 50.0])
    chances = np.stack([chance(c) for c in cutoffs], 1).clip(1e-6)
    predictions = 0.2 + 0.4 * x
    found = conformal.choose_cutoff(
        predictions, times, censoring, cutoffs=cutoffs, coverage=0.8, probabilities=chances
    )
    expected = []
    for c, own in zip(cutoffs[:-1], chances.T, strict=False):
        spec = FIXED(0.8, cutoff=c)
        calibrated = spec.calibrate(predictions, times, censoring, probabilities=own)
        expected.append(calibrated.lower_bound(predictions, own).mean())
    np.testing.assert_allclose(found.mean_bounds, [*expected, 0], rtol=1e-5)
    assert found.cutoff == cutoffs[np.argmax(expected)]
    plain = conformal.choose_cutoff(predicted(x), times, censoring, cutoffs=cutoffs, levels=LEVELS)
    assert plain.mean_bounds.shape == (5,)


def test_the_interval_without_censoring_is_wilsons(x64):
    times, bounds = np.arange(1.0, 61.0), np.full(60, 6.5)
    for below in (bounds, 0 * bounds, 50 + bounds):
        found = conformal.censored_coverage(below, times, np.ones(60, bool), confidence=0.9)
        covered = int((times >= below).sum())
        peer = stats.binomtest(covered, 60).proportion_ci(0.9, "wilson")
        np.testing.assert_allclose(found, [covered / 60, peer.low, peer.high], atol=1e-7)


def test_censored_coverage_is_that_of_the_hidden_times():
    """2000 test sets of 300 rows, exponential times and censoring, bounds at the 0.1 quantile. The
    mean estimate lies within 4 standard errors of 0.9, false alarm 6e-5; the interval holds 0.9
    in a share between 0.93 and 0.98. The share of observed times below, which takes censorings
    for events, is far off."""
    bounds = jnp.full(300, -jnp.log(0.9))

    def one(key):
        event, censoring = exponential(key, 300, censoring=1.5)
        times, seen = jnp.minimum(event, censoring), event <= censoring
        known = conformal.censored_coverage(bounds, times, seen, jnp.exp(-1.5 * times))
        estimated = conformal.censored_coverage(bounds, times, seen)
        return jnp.stack([*known]), jnp.stack([*estimated]), jnp.mean(times >= bounds)

    known, estimated, naive = jax.lax.map(one, jax.random.split(KEY, 2000), batch_size=500)
    for found in (known, estimated):
        error = jnp.std(found[:, 0]) / jnp.sqrt(2000)
        assert abs(jnp.mean(found[:, 0]) - 0.9) < 4 * error
        held = jnp.mean((found[:, 1] <= 0.9) & (found[:, 2] >= 0.9))
        assert 0.93 < held < 0.98
    assert jnp.mean(naive) < 0.8


def covered(key, weighted):
    """Whether the bound holds for one new row, after 60 with a censoring that depends on x."""
    of_x, of_times = jax.random.split(key)
    x = jax.random.uniform(of_x, (61,))
    hazard, censoring_hazard = jnp.where(x < 0.5, 1.0, 0.3), jnp.where(x < 0.5, 1.5, 0.2)
    event, censoring = exponential(of_times, 61, hazard, censoring_hazard)
    chance = jnp.exp(-censoring_hazard)
    options = [{"probabilities": chance[:60]}, (chance[60:],)] if weighted else [{}, ()]
    times = jnp.minimum(event, censoring)[:60]
    spec = FIXED(0.8, cutoff=1.0)
    calibrated = spec.calibrate(jnp.ones(60), times, censoring[:60], **options[0])
    return calibrated.lower_bound(jnp.ones(1), *options[1])[0] <= event[60]


def test_weights_restore_the_coverage_that_censoring_takes():
    """4000 calibration sets, one new row each: with weights at least 0.8 less 4 standard errors,
    false alarm 3e-5; without them further below than that."""
    keys, error = jax.random.split(KEY, 4000), np.sqrt(0.16 / 4000)
    hits = [
        jax.jit(jax.vmap(lambda key, weighted=weighted: covered(key, weighted)))(keys).mean()
        for weighted in (True, False)
    ]
    assert 0.8 - 4 * error < hits[0] < 0.85
    assert hits[1] < 0.8 - 4 * error


def every_function(times, censoring, x):
    """All results on censored rows, as one list of arrays."""
    seen = times < censoring
    quantiles = (0.2 + 0.5 * x)[:, None] * jnp.asarray([[0.05, 0.1, 0.5]], x.dtype)
    levels, chance = jnp.asarray([0.05, 0.1, 0.4], x.dtype), jnp.exp(-0.8 * (0.3 + x))
    curve = conformal.kaplan_meier(times, seen, x)
    reverse = conformal.kaplan_meier(times, seen, reverse=True)
    law = reverse.times, reverse.survival
    spec = FIXED(0.75, cutoff=0.8)
    point = spec.calibrate(x, times, censoring, probabilities=chance)
    shape = spec.calibrate(quantiles, times, censoring, levels=levels)
    adaptive = ADAPTIVE(0.8).calibrate(quantiles, levels, times, censoring)
    return [
        curve.at(x),
        curve.before(x),
        curve.variance(x),
        *curve.interval(x),
        curve.quantile(levels),
        conformal.inverse_censoring_weights(times, seen, chance, largest=3.0),
        conformal.impute_censoring_times(times, seen, *law, key=KEY),
        point.lower_bound(x, chance),
        shape.lower_bound(quantiles),
        adaptive.lower_bound(quantiles),
        adaptive.level,
        *conformal.choose_cutoff(x, times, censoring, cutoffs=x[:2]),
        *conformal.censored_coverage(x, times, seen),
    ]


BATCH = jax.jit(jax.vmap(every_function))


def test_compiled_batched_and_in_both_precisions(x64):
    """One by one in 64 bits, and together, compiled, in 32."""
    sets = [rows(60, seed)[:3] for seed in range(2)]
    batch = [np.stack(column).astype(np.float32) for column in zip(*sets, strict=True)]
    together = BATCH(batch[1], batch[2], batch[0])
    x, times, censoring = (jnp.asarray(column[1], float) for column in batch)
    for one, other in zip(every_function(times, censoring, x), together, strict=True):
        assert (one.dtype, other.dtype) == (jnp.float64, jnp.float32)
        np.testing.assert_allclose(other[1], one, rtol=2e-4, atol=2e-5)


def test_bad_values_inside_jit_give_nan(x64):
    x, times, censoring = (jnp.asarray(column, jnp.float32) for column in rows()[:3])
    # The second of two sets has a censoring before the time that was observed: bounds need it.
    censoring = jnp.stack([censoring, censoring.at[3].set(0.0)])
    for bad in (-1.0, jnp.nan, jnp.inf):
        both = jnp.stack([times.at[3].set(bad), times])
        found = BATCH(both, censoring, jnp.stack([x, x]))
        broken = np.array([[jnp.isnan(part).all() for part in one] for one in found])
        drawn = broken[:, 0].argmin()
        assert broken[:, 0].sum() == len(found) - 1
        assert jnp.isnan(found[drawn][0][3])  # that row alone, where its event is not hidden
        np.testing.assert_array_equal(np.flatnonzero(broken[:, 1]), drawn + np.arange(1, 7))

    def weights(events, chance, largest):
        return conformal.inverse_censoring_weights(times, events, chance, largest=largest)

    seen, chance = jnp.ones(60), jnp.full(60, 0.5, jnp.float32)
    compiled = jax.jit(weights)
    assert (compiled(seen, chance, 5.0) == 2).all()
    assert jnp.isnan(compiled(seen.at[2].set(0.5), chance, 5.0)).all()
    assert jnp.isnan(compiled(seen, chance.at[2].set(0.0), 5.0)).all()
    assert jnp.isnan(compiled(seen, chance, 0.5)).any()
    bounds = jax.jit(
        lambda chance, cutoff: (
            FIXED(0.8, cutoff=cutoff)
            .calibrate(x, times, censoring[0], probabilities=chance)
            .lower_bound(x[:2], jnp.array([0.5, 1.5]))
        )
    )
    assert list(map(bool, jnp.isnan(bounds(chance, 0.5)))) == [False, True]
    assert jnp.isnan(bounds(chance.at[0].set(1.5), 0.5)).all()
    assert jnp.isnan(bounds(chance, -1.0)).all()
    assert bounds(chance, 1e6)[0] == 0


def test_reasons_and_guarantees(x64):
    x, times, censoring, chance = rows()
    spec = FIXED(0.9, cutoff=0.8)
    plain = spec.calibrate(x, times, censoring)
    assert plain.reason is None
    assert plain.guarantee.at_least == 0.9
    assert "independent of features" in plain.guarantee.given
    few = FIXED(0.99, cutoff=0.8).calibrate(x, times, censoring)
    assert "coverage 0.99 needs at least 99 calibration rows; there were" in few.reason
    assert (few.lower_bound(x) == 0).all()
    weighted = spec.calibrate(x, times, censoring, probabilities=chance(0.8))
    assert weighted.reason is None
    assert "half the mean absolute error" in str(weighted.guarantee)
    rare = chance(0.8).copy()
    rare[0] = 1e-3
    exploding = spec.calibrate(
        x, times, censoring * (np.arange(60) > 0) + times, probabilities=rare
    )
    assert "a row gets the bound 0 where P(C >= cutoff | x) is below 0.1" in exploding.reason
    bound = exploding.lower_bound(x[:2] + 1, rare[:2])
    assert bound[0] == 0
    assert bound[1] > 0

    adaptive = ADAPTIVE(0.8).calibrate(predicted(x), LEVELS, times, censoring)
    assert adaptive.reason is None
    assert str(adaptive.guarantee).startswith("covers with probability near 0.8")
    high = ADAPTIVE(0.9).calibrate(20 + predicted(x), LEVELS, times, np.full(60, np.inf))
    assert "even the quantile of the lowest level 0.05 is missed by a share 1 of" in high.reason
    assert (high.lower_bound(predicted(x)) == 0).all()
    assert high.level == 0
    heavy = np.ones((60, 6))
    heavy[np.argmax(times)] = 1e-4
    rests = ADAPTIVE(0.9).calibrate(
        predicted(x), LEVELS, times, np.full(60, np.inf), probabilities=heavy
    )
    assert "weights explode: at the chosen level rows are worth 1.0" in rests.reason


def test_everything_survives_a_file(x64, tmp_path):
    x, times, censoring, chance = rows()
    spec = FIXED(0.8, cutoff=0.8)
    calibrated = [
        (spec.calibrate(x, times, censoring, probabilities=chance(0.8)), (x, chance(0.8))),
        (spec.calibrate(predicted(x), times, censoring, levels=LEVELS), (predicted(x),)),
        (ADAPTIVE(0.8).calibrate(predicted(x), LEVELS, times, censoring), (predicted(x),)),
    ]
    for number, (one, new) in enumerate(calibrated):
        io.save(tmp_path / f"{number}.safetensors", one)
        again = io.load(tmp_path / f"{number}.safetensors")
        np.testing.assert_array_equal(again.lower_bound(*new), one.lower_bound(*new))
        assert again.reason == one.reason
    curve = conformal.kaplan_meier(times, times < censoring)
    io.save(tmp_path / "curve.safetensors", curve)
    np.testing.assert_array_equal(io.load(tmp_path / "curve.safetensors").at(x), curve.at(x))


def test_bad_input():
    times, censoring, seen = jnp.arange(1.0, 9.0), jnp.full(8, 9.0), jnp.ones(8, bool)
    quantiles, levels = jnp.stack([times, times + 1], 1), [0.1, 0.2]
    with refuses(r"times must not be negative; 1 of 8 fail, the first is -1.0"):
        conformal.kaplan_meier(times.at[2].set(-1.0), seen)
    with refuses("times must be finite"):
        conformal.kaplan_meier(times.at[2].set(jnp.nan), seen)
    with refuses("events must be booleans, or 0 and 1; 8 of 8 fail, the first is 2.0"):
        conformal.kaplan_meier(times, seen * 2)
    with refuses(r"events must have length 8; got shape \(3,\)"):
        conformal.kaplan_meier(times, seen[:3])
    with refuses("weights must not be negative"):
        conformal.kaplan_meier(times, seen, times - 3)
    curve = conformal.kaplan_meier(times, seen)
    with refuses("levels must lie strictly between 0 and 1; got 1.0"):
        curve.quantile(1.0)
    with refuses("t must be finite"):
        curve.at(jnp.nan)
    with refuses("coverage must lie strictly between 0 and 1; got 95"):
        curve.interval(2.0, coverage=95)
    with refuses(r"probabilities must lie in \(0, 1\]; 1 of 8 fail, the first is 0.0"):
        conformal.inverse_censoring_weights(times, seen, jnp.ones(8).at[1].set(0.0))
    with refuses("largest must be at least 1, the least weight; got 0.5"):
        conformal.inverse_censoring_weights(times, seen, largest=0.5)
    with refuses("grid must not decrease"):
        conformal.impute_censoring_times(times, seen, times[::-1], jnp.ones(8), key=KEY)
    with refuses(r"survival must lie in \[0, 1\] and not increase; it goes from 0.1 to 0.8"):
        conformal.impute_censoring_times(times, seen, times, times / 10, key=KEY)
    with refuses(r"survival must have shape \(8,\) or \(8, 8\); got \(3,\)"):
        conformal.impute_censoring_times(times, seen, times, times[:3], key=KEY)
    with refuses("key must be a new-style key"):
        conformal.impute_censoring_times(times, seen, times, jnp.ones(8), key=0)
    spec = FIXED(0.8, cutoff=5.0)
    with refuses("censoring_times must not lie below the observed times; 4 of 8 fail"):
        spec.calibrate(times, times, jnp.full(8, 4.0))
    with refuses(r"censoring_times must have shape \(8,\), as times; got \(3,\)"):
        spec.calibrate(times, times, censoring[:3])
    with refuses("cutoff must not lie above all censoring times; it is 50.0, and the largest"):
        FIXED(0.8, cutoff=50.0).calibrate(times, times, censoring)
    with refuses("cutoff must be positive; got -1.0"):
        FIXED(0.8, cutoff=-1.0)
    with refuses(r"predictions must have shape \(n,\) with n = 8, as times; got \(8, 2\)"):
        spec.calibrate(quantiles, times, censoring)
    with refuses(r"predictions must have shape \(n, L\) with n = 8, as times; got \(3, 2\)"):
        spec.calibrate(quantiles[:3], times, censoring, levels=levels)
    with refuses("levels must increase strictly"):
        spec.calibrate(quantiles, times, censoring, levels=[0.2, 0.1])
    with refuses(r"probabilities must have shape \(8,\); got \(3,\)"):
        spec.calibrate(times, times, censoring, probabilities=jnp.ones(3))
    calibrated = spec.calibrate(times, times, censoring)
    with refuses("probabilities must be given exactly where calibration had them; it was not"):
        calibrated.lower_bound(times, jnp.ones(8))
    with refuses("predictions must be finite"):
        calibrated.lower_bound(times.at[0].set(jnp.nan))
    with refuses(r"cutoffs must be finite and positive; got \[ 1. -1.\]"):
        conformal.choose_cutoff(times, times, censoring, cutoffs=jnp.array([1.0, -1.0]))
    with refuses(r"probabilities must have shape \(8, 2\); got \(8,\)"):
        conformal.choose_cutoff(times, times, censoring, cutoffs=times[:2], probabilities=seen)
    with refuses(r"quantiles must have shape \(8, 2\), a row for each time; got \(3, 2\)"):
        ADAPTIVE().calibrate(quantiles[:3], levels, times, censoring)
    with refuses("coverage must lie strictly between 0 and 1; got 1.5"):
        ADAPTIVE(1.5)
    with refuses(r"lower_bounds must have length 8; got shape \(3,\)"):
        conformal.censored_coverage(times[:3], times, seen)
    with refuses("confidence must lie strictly between 0 and 1; got 0"):
        conformal.censored_coverage(times, times, seen, confidence=0)
