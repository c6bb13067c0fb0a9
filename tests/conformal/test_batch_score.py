"""Batch means and other batch scores: exact laws, enumeration, stored cases, coverage."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy import stats

from estimators.conformal import _batch_score as batch
from estimators.conformal._batch_score._budget import Budget, in_steps
from estimators.conformal._batch_score._envelope import concave_envelope
from estimators.conformal._batch_score._knapsack import largest_composition, largest_sum
from estimators.conformal._batch_score._rank_sum import (
    _below,
    _characteristic,
    _cumulated_counts,
    _law,
    rank_sum_probability,
)
from estimators.conformal._quantile import conformal_quantile
from estimators.testing import refuses

QUANTILES = {  # at coverage .8, .9, .95
    (10, 5): (37, 41, 43),
    (40, 10): (245, 263, 278),
    (50, 50): (1423, 1486, 1539),
    (100, 5): (312, 341, 365),
    (100, 20): (1140, 1203, 1254),
    (100, 100): (5445, 5625, 5773),
    (1000, 20): (11124, 11698, 12167),
}


def every_rank_vector(n, m):
    return np.array(list(itertools.combinations_with_replacement(range(1, n + 2), m)))


def scores(key, n, law=jax.random.uniform, dtype=None):
    return law(jax.random.key(key), (n,), dtype)


def near(got, want, rtol):
    np.testing.assert_allclose(got, want, rtol=rtol)


# The sum of ranks


@pytest.mark.parametrize("size", QUANTILES)
def test_the_rank_sum_quantile_is_the_exact_one(size):
    assert tuple(batch.rank_sum_quantile(*size, c) for c in (0.8, 0.9, 0.95)) == QUANTILES[size]


def test_the_rank_sum_quantile_equals_the_stored_one(shared_data):
    case = np.load(shared_data / "conformal_oracle" / "batch_pi.npz")
    for (n, m), row in zip(case["ranksum_nm"], case["ranksum_q"], strict=True):
        for alpha, q in zip(case["ranksum_alpha"], row, strict=True):
            assert batch.rank_sum_quantile(int(n), int(m), 1 - float(alpha)) == q


def test_the_rank_sum_law_is_that_of_mann_whitney(shared_data):
    """Against scipy's exact p-values, the stored counts, and enumeration of all ranks."""
    case = np.load(shared_data / "conformal_oracle" / "batch_pi.npz")
    law = batch.rank_sum_law(6, 4)
    np.testing.assert_array_equal(law, case["mwu_6_4"] / math.comb(10, 4))
    ranks = every_rank_vector(6, 4)
    np.testing.assert_array_equal(np.bincount((ranks - 1).sum(1)) / len(ranks), law)
    for n, m in ((6, 4), (3, 7)):
        survival = np.cumsum(batch.rank_sum_law(n, m)[::-1])[::-1]
        for u in range(n * m + 1):
            # Test scores at half-integer places among 0..n - 1, with U = u by construction.
            full, rest = divmod(u, n)
            above = np.array([n] * full + [rest] * (full < m) + [0] * (m - full - 1))[:m]
            test = above - 0.5 - np.arange(m) / (10 * m)
            got = stats.mannwhitneyu(test, np.arange(n), alternative="greater", method="exact")
            assert got.statistic == u
            assert got.pvalue == pytest.approx(survival[u], abs=1e-13)


def test_ties_with_the_coverage_are_decided_exactly():
    """One test score: U is uniform, and the quantile is the rank of split conformal."""
    for n in (9, 19, 99, 999):
        for coverage in (0.1, 0.5, 0.7, 0.9, 0.95):
            rank = math.ceil((n + 1) * round(coverage * 100) / 100 - 1e-9)
            assert batch.rank_sum_quantile(n, 1, coverage) == rank
    # P(U <= 3) = 6/10 for (3, 2).
    assert batch.rank_sum_quantile(3, 2, 0.6) == 5
    assert batch.rank_sum_quantile(3, 2, 0.6001) == 6
    assert rank_sum_probability(3, 2, 5) == 0.6


def test_the_law_of_large_samples_agrees_with_whole_numbers(monkeypatch):
    """The Fourier series against exact counts, where both can be had; symmetry of n and m."""
    for n, m in ((100, 100), (500, 20), (30_000, 3)):
        counts = _cumulated_counts(n, m)
        exact = (counts / math.comb(n + m, m)).astype(float)
        places = np.linspace(0, n * m, 50).astype(int)
        series = [_below(n, m, int(u)) for u in places]
        np.testing.assert_allclose(series, exact[places], rtol=0, atol=1e-13)
        np.testing.assert_allclose(batch.rank_sum_law(m, n), batch.rank_sum_law(n, m))
    want = (
        [batch.rank_sum_quantile(500, 20, c) for c in (0.8, 0.9, 0.95)],
        batch.rank_sum_law(20, 500),
    )
    _law.cache_clear()
    monkeypatch.setattr("estimators.conformal._batch_score._rank_sum.MOST_INTEGER_STEPS", 0)
    assert [batch.rank_sum_quantile(500, 20, c) for c in (0.8, 0.9, 0.95)] == want[0]
    np.testing.assert_allclose(batch.rank_sum_law(20, 500), want[1], rtol=0, atol=1e-15)
    _law.cache_clear()


def test_the_rank_sum_of_very_large_samples():
    """n = 1e5, m = 1000: the normal quantile, to a thousandth of a standard deviation."""
    n, m = 100_000, 1000
    spread = math.sqrt(n * m * (n + m + 1) / 12)
    for coverage in (0.1, 0.9, 0.99):
        normal = m * (n + 2) / 2 + stats.norm.ppf(coverage) * spread
        assert abs(batch.rank_sum_quantile(n, m, coverage) - normal) < 1e-3 * spread
    assert np.abs(_characteristic(n, m)[-100:]).max() < 1e-20


# Draws of ranks


def test_ranks_are_uniform_over_all_rank_vectors():
    """(5, 3): 56 vectors, 20 000 draws, chi-squared test with false alarm 1e-4."""
    keys = jax.random.split(jax.random.key(0), 20_000)
    ranks = np.asarray(jax.vmap(lambda k: batch.sample_ranks(5, 3, key=k))(keys))
    vectors = every_rank_vector(5, 3)
    seen = (ranks[:, None] == vectors).all(-1).sum(0)
    assert seen.sum() == len(ranks)
    assert stats.chisquare(seen).pvalue > 1e-4


def test_drawn_ranks_are_not_independent():
    """(50, 50): the variance of the rank sum is n m (n + m + 1) / 12, within 5 standard errors
    (false alarm 1e-6); that of independent ranks is half of it. At the exact quantile the
    drawn share is .9; the quantile of independent ranks reaches only .8223 of them."""
    n = m = 50
    keys = jax.random.split(jax.random.key(1), 20_000)
    total = np.asarray(jax.vmap(lambda k: batch.sample_ranks(n, m, key=k).sum())(keys))
    variance = n * m * (n + m + 1) / 12
    assert abs(total.var() / variance - 1) < 5 * math.sqrt(2 / 20_000)
    error = math.sqrt(0.1 * 0.9 / 20_000)
    reached = rank_sum_probability(n, m, 1486)
    assert abs((total <= 1486).mean() - reached) < 5 * error
    independent = np.random.default_rng(0).integers(1, n + 2, (20_000, m)).sum(1)
    too_small = np.quantile(independent, 0.9, method="higher")
    assert (total <= too_small).mean() < 0.84
    assert rank_sum_probability(n, m, int(too_small)) == pytest.approx(0.8223, abs=0.012)


def test_the_drawn_quantile_covers():
    """h = R_m^2, 39 draws at .9 (rank 36 of 40, so exactly .9 or, with ties, more): 4000 pairs
    of quantile and ranks, within 4 standard errors (false alarm 3e-5)."""

    def covered(key):
        keys = jax.random.split(key)
        q = batch.ordering_quantile(lambda r: r[-1] ** 2, 200, 5, 0.9, key=keys[0], draws=39)
        return batch.sample_ranks(200, 5, key=keys[1])[-1] ** 2 <= q

    share = np.asarray(jax.vmap(covered)(jax.random.split(jax.random.key(2), 4000))).mean()
    assert 0.9 - 4 * math.sqrt(0.09 / 4000) < share < 0.95


def test_the_drawn_quantile_of_a_rank_sum_is_near_the_exact_one():
    """9999 draws: within 5 standard errors of the quantile, in probability."""
    q = batch.ordering_quantile(jnp.sum, 40, 10, 0.9, key=jax.random.key(3))
    assert abs(rank_sum_probability(40, 10, int(q)) - 0.9) < 5 * 0.003 + 0.01


# The maximum within a budget


def test_the_knapsack_is_that_of_enumeration(x64):
    """n <= 7 and m <= 4: budgets from none to all, sums and one other composition."""
    for n, m, budgets in ((3, 1, (2,)), (5, 2, (0, 3, 10)), (7, 3, (5, 12)), (6, 4, (4, 11, 20))):
        ordered = np.sort(np.asarray(scores(n, n + 1)))
        ranks = every_rank_vector(n, m)
        for budget in budgets:
            want = ordered[ranks[(ranks - 1).sum(1) <= budget] - 1]
            best = jnp.asarray(ordered[: budget + 1])
            near(largest_sum(best, m, budget), want.sum(1).max(), 1e-14)
            if budget in (10, 11):
                got = largest_composition(best, m, budget, jnp.logaddexp, -jnp.inf)
                near(got, np.log(np.exp(want).sum(1)).max(), 1e-13)


def test_the_stored_curves(x64, shared_data):
    case = np.load(shared_data / "conformal_oracle" / "batch_pi.npz")
    values = jnp.asarray(case["scores_sorted_with_bound"])
    levels = jnp.arange(1.0, 42.0)
    budgets = jnp.arange(10.0, 301.0)
    envelope = jax.vmap(lambda q: 10 * concave_envelope(levels, values, q / 10, 40))(budgets)
    np.testing.assert_allclose(envelope, case["env_sum_q10_300"], rtol=0, atol=1e-12)
    assert (np.asarray(envelope) >= case["dp_curve"][10:] - 1e-12).all()
    for q, want in zip(case["R_maximize_sum_q"], case["R_maximize_sum"], strict=True):
        near(largest_sum(values, 10, int(q) - 10), want, 1e-13)
    for q in (10, 137):
        near(largest_sum(values, 10, q - 10), case["dp_curve"][q], 1e-13)


def test_the_envelope_is_the_dual(x64):
    """At random places, with tied levels and tied values: min over slopes of the dual."""
    keys = jax.random.split(jax.random.key(4), 3)
    levels = jnp.sort(jnp.round(jax.random.exponential(keys[0], (60,)), 1))
    values = jnp.sort(jnp.round(jax.random.normal(keys[1], (60,)), 1))
    places = levels[0] + jax.random.uniform(keys[2], (200,)) * (levels[-1] - levels[0] + 1)
    got = jax.vmap(lambda at: concave_envelope(levels, values, at, 59))(places)
    lev, val = np.asarray(levels), np.asarray(values)
    i, j = np.triu_indices(60, 1)
    i, j = i[lev[i] < lev[j]], j[lev[i] < lev[j]]
    slopes = np.append((val[j] - val[i]) / (lev[j] - lev[i]), 0)  # the dual has its kinks here
    best = (val - slopes[:, None] * lev).max(1)
    want = (slopes * np.asarray(places)[:, None] + best).min(1)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-12)


def test_rounded_costs_keep_every_batch(x64):
    """Whatever ranks are within the budget, their scores are within the rounded one."""
    levels = jnp.sort(scores(5, 7, jax.random.exponential))
    ordered = jnp.sort(scores(6, 7))
    ranks = every_rank_vector(6, 3) - 1
    for share in (0.2, 0.5, 0.8):
        total = 3 * (levels[0] + share * (levels[-1] - levels[0]))
        allowed = np.asarray(levels)[ranks].sum(1) <= total
        want = np.asarray(ordered)[ranks[allowed]].sum(1).max()
        budget = Budget(levels, ordered, total)
        coarse, fine = (float(largest_sum(in_steps(budget, 3, s), 3, s)) for s in (40, 4000))
        assert want - 1e-12 <= fine <= coarse + 1e-12
        assert fine == pytest.approx(want, abs=1e-12)


# Bounds


def test_one_test_score_gives_split_conformal(x64):
    for n in (19, 40):
        s = scores(7, n, jax.random.normal)
        for method in ("exact", "envelope"):
            spec = batch.BatchMean(1, 0.9, method=method, side="upper")
            assert spec.calibrate(s).upper == conformal_quantile(s, 0.9)
        assert batch.PartitionMean(1, 0.9).calibrate(s).upper == conformal_quantile(s, 0.9)
        lower = batch.BatchMean(1, 0.9, side="lower").calibrate(s).lower
        assert lower == -conformal_quantile(-s, 0.9)
    few = batch.BatchMean(1, 0.9).calibrate(scores(7, 8))
    assert jnp.isposinf(few.upper)
    assert "1 ranks that add up to 9 let" in few.reason


def test_shift_scale_and_order(x64):
    s, reference, key = scores(8, 60), scores(9, 80), jax.random.key(0)
    for ordering, method in ((None, "exact"), (reference, "envelope")):
        options = dict(side="two-sided", method=method, draws=99)
        plain = batch.BatchMean(
            5, 0.6, ordering=ordering, lower_bound=0.0, upper_bound=1.0, **options
        ).calibrate(s, key=key)
        moved = None if ordering is None else 3 * ordering - 2
        other = batch.BatchMean(
            5, 0.6, ordering=moved, lower_bound=-2.0, upper_bound=1.0, **options
        ).calibrate(jax.random.permutation(jax.random.key(1), 3 * s - 2), key=key)
        near(other.upper, 3 * plain.upper - 2, 1e-12)
        near(other.lower, 3 * plain.lower - 2, 1e-12)
        assert 0 < plain.lower < plain.upper < 1


def test_the_exact_mean_is_within_the_envelope():
    """Also with an ordering, where costs are rounded; and both within the bound of the scores."""
    s, reference = scores(10, 50, jax.random.exponential), scores(11, 70, jax.random.exponential)
    for ordering in (None, reference):
        options = dict(ordering=ordering, lower_bound=0.0, upper_bound=20.0, draws=199)
        exact, envelope = (
            batch.BatchMean(4, 0.8, method=method, resolution=64, **options)
            .calibrate(s, key=jax.random.key(0))
            .upper
            for method in ("exact", "envelope")
        )
        assert s.mean() < exact <= envelope < 20


def test_a_sum_is_m_times_the_mean_and_others_are_consistent(x64):
    s = scores(12, 30)
    mean = batch.BatchMean(4, 0.8, lower_bound=0.0, upper_bound=1.0, side="two-sided").calibrate(s)
    bounds = {
        name: batch.BatchScore(
            4, 0.8, batch_score=name, lower_bound=0.0, upper_bound=1.0, side="two-sided"
        ).calibrate(s)
        for name in ("sum", "maximum", "log-sum-exp", "product")
    }
    near(bounds["sum"].upper, 4 * mean.upper, 1e-13)
    near(bounds["sum"].lower, 4 * mean.lower, 1e-13)
    # By enumeration, both sides.
    q, ranks = batch.rank_sum_quantile(30, 4, 0.9), every_rank_vector(30, 4)
    ordered = np.concatenate([[0.0], np.sort(np.asarray(s)), [1.0]])
    high = ordered[ranks[ranks.sum(1) <= q]]
    # The mirrored sum of ranks: sum (n + 2 - r) <= q, with the score below each rank.
    low = ordered[ranks[(32 - ranks).sum(1) <= q] - 1]
    for name, g in {
        "maximum": lambda t: t.max(1),
        "log-sum-exp": lambda t: np.log(np.exp(t).sum(1)),
        "product": lambda t: t.prod(1),
    }.items():
        near(bounds[name].upper, g(high).max(), 1e-12)
        near(bounds[name].lower, g(low).min(), 1e-12)


def test_a_clipped_sum_is_finite_for_scores_without_a_bound():
    s = scores(13, 30, jax.random.exponential)
    clipped = (lambda score, total: jnp.minimum(score, 3.0) + total, 0.0)
    spec = batch.BatchScore(4, 0.8, batch_score=clipped, lower_bound=0.0)
    upper = spec.calibrate(s).upper
    same = batch.BatchMean(4, 0.8, lower_bound=0.0, upper_bound=3.0).calibrate(jnp.minimum(s, 3.0))
    near(upper, 4 * same.upper, 1e-5)
    coarse = batch.BatchScore(4, 0.8, batch_score=clipped, lower_bound=0.0, resolution=20)
    assert upper <= coarse.calibrate(s).upper < 12


def test_an_ordering_gives_finite_bounds_and_the_reason_where_it_cannot():
    s, reference = scores(14, 100, jax.random.normal), scores(15, 90, jax.random.normal)
    key = jax.random.key(0)
    spec = batch.BatchMean(
        5, 0.8, ordering=reference, side="two-sided", draws=199, method="envelope"
    )
    found = spec.calibrate(s, key=key)
    assert -2.5 < found.lower < -0.2 < 0.2 < found.upper < 2.5
    assert found.reason is None
    assert found.guarantee.at_least == pytest.approx(0.8)
    assert "draws of ranks" in str(found.guarantee)
    none = batch.BatchMean(30, 0.8, ordering=reference, draws=199, method="envelope").calibrate(
        s, key=key
    )
    assert jnp.isposinf(none.upper)
    assert "with probability 0.231; coverage 0.8 leaves 0.2" in none.reason


@pytest.mark.thorough
def test_a_sum_by_an_ordering_is_near_the_envelope():
    s, reference = scores(14, 100, jax.random.normal), scores(15, 90, jax.random.normal)
    key = jax.random.key(0)
    total = batch.BatchScore(5, 0.8, ordering=reference, draws=199, resolution=256)
    mean = batch.BatchMean(5, 0.8, ordering=reference, draws=199, method="envelope")
    upper = total.calibrate(s, key=key).upper / 5
    near(upper, mean.calibrate(s, key=key).upper, 0.1)


def test_guarantees_and_reasons():
    s = scores(16, 200)
    found = batch.BatchMean(10, 0.9, upper_bound=1.0).calibrate(s)
    q = batch.rank_sum_quantile(200, 10, 0.9)
    assert found.guarantee.at_least == rank_sum_probability(200, 10, q) >= 0.9
    assert found.guarantee.kind == "at least"
    assert jnp.isneginf(found.lower)
    assert found.reason is None
    open_ended = batch.BatchMean(10, 0.9).calibrate(s)
    assert "let a test score lie beyond all 200" in open_ended.reason
    parts = batch.PartitionMean(10, 0.9).calibrate(s)
    assert parts.guarantee.kind == "exact"
    assert parts.guarantee.at_least == parts.guarantee.at_most == 19 / 21
    means = np.sort(np.asarray(s).reshape(20, 10).mean(1))
    near(parts.upper, means[18], 1e-6)
    for n in (5, 89):
        few = batch.PartitionMean(10, 0.9).calibrate(s[:n])
        assert few.reason == (
            f"coverage 0.9 needs at least 9 batches of 10; {n} scores make {n // 10}"
        )
    both = batch.PartitionMean(10, 0.8, side="two-sided").calibrate(s, key=jax.random.key(1))
    assert both.lower < s.mean() < both.upper
    assert both.guarantee.at_least == pytest.approx(17 / 21)


def test_the_choice_is_partition_exactly_where_that_is_finite():
    s = scores(22, 100)
    for n, m, coverage in ((90, 10, 0.9), (89, 10, 0.9), (40, 10, 0.8), (39, 10, 0.8), (3, 5, 0.5)):
        finite = batch.PartitionMean(m, coverage).calibrate(s[:n]).reason is None
        assert batch.choose_batch_mean(n, m, coverage) == ("partition" if finite else "ordering")


# Coverage


@pytest.mark.parametrize("values", [np.arange(8.0) ** 2, [0.0, 0, 0, 1, 1, 2, 2, 2]])
def test_coverage_over_every_split(values):
    """All 56 splits of 8 scores into 5 and 3, equally likely: no simulation. With distinct
    scores the sum of ranks covers as often as the coverage at least, with ties too."""
    test = np.array(list(itertools.combinations(range(8), 3)))
    rest = np.array([np.setdiff1d(np.arange(8), row) for row in test])
    values = jnp.asarray(values, jnp.float32)
    mean, product = values[test].mean(1), (1 + values[test]).prod(1)
    spec = batch.BatchMean(3, 0.6, lower_bound=0.0, upper_bound=49.0, side="two-sided")
    found = jax.vmap(spec.calibrate)(values[rest])
    for covered in (mean <= found.upper + 1e-4, mean >= found.lower - 1e-4):
        assert 0.8 <= covered.mean()
    spec = batch.BatchScore(3, 0.6, batch_score="product", lower_bound=1.0, upper_bound=50.0)
    upper = jax.vmap(spec.calibrate)(1 + values[rest]).upper
    assert 0.6 <= (product <= upper * (1 + 1e-5)).mean()


@pytest.mark.validation
@pytest.mark.parametrize("law", ["uniform", "exponential"])
def test_bounds_of_the_mean_cover(law):
    """800 experiments, (60, 5): the sum of ranks for uniform scores, an ordering for
    exponential ones, partition for both; shares below .8 less 4 standard errors fail (false
    alarm 3e-5). They are no bounds by a wide margin: shares of 1 fail too."""
    reps, n, m = 800, 60, 5
    keys = jax.random.split(jax.random.key(17), 3)
    draw = getattr(jax.random, law)
    calibration, mean = draw(keys[0], (reps, n)), draw(keys[1], (reps, m)).mean(1)
    if law == "uniform":
        spec = batch.BatchMean(m, 0.8, lower_bound=0.0, upper_bound=1.0)
        found = jax.vmap(spec.calibrate)(calibration)
    else:
        reference = draw(keys[2], (100,))
        spec = batch.BatchMean(m, 0.8, ordering=reference, method="envelope", draws=999)
        found = jax.vmap(lambda s: spec.calibrate(s, key=keys[0]))(calibration)
    parts = jax.vmap(batch.PartitionMean(m, 0.8).calibrate)(calibration)
    least = 0.8 - 4 * math.sqrt(0.16 / reps)
    for upper in (found.upper, parts.upper):
        assert least < float((mean <= upper).mean()) < 1
    assert np.isfinite(found.upper).all()


@pytest.mark.validation
def test_two_sided_bounds_cover_with_an_ordering():
    """2000 experiments, lognormal scores, (200, 10), another ordering and key each."""
    keys = jax.random.split(jax.random.key(18), 2000)

    def experiment(key):
        s, reference, test = (
            jnp.exp(jax.random.normal(k, (size,)))
            for k, size in zip(jax.random.split(key, 3), (200, 150, 10), strict=True)
        )
        spec = batch.BatchMean(
            10, 0.8, ordering=reference, side="two-sided", method="envelope", draws=199
        )
        found = spec.calibrate(s, key=jax.random.fold_in(key, 1))
        return (found.lower <= test.mean()) & (test.mean() <= found.upper)

    share = float(jax.lax.map(experiment, keys, batch_size=100).mean())
    assert share > 0.8 - 4 * math.sqrt(0.16 / 2000)


# Compiled, batched, differentiated, refused


def test_jit_and_dtypes(x64):
    s = scores(19, 30, dtype=jnp.float64)
    spec = batch.BatchMean(3, 0.8, upper_bound=1.0)
    plain = spec.calibrate(s).upper
    near(jax.jit(lambda s: spec.calibrate(s).upper)(s), plain, 1e-14)
    assert spec.calibrate(s.astype(jnp.float32)).upper.dtype == jnp.float32
    assert spec.calibrate(jnp.arange(30) % 2).upper.dtype == jnp.float64
    reference = scores(20, 25, dtype=jnp.float64)
    ordered = batch.BatchMean(3, 0.8, ordering=reference, draws=99, resolution=64)
    small = ordered.calibrate(s.astype(jnp.float32), key=jax.random.key(0)).upper
    large = ordered.calibrate(s, key=jax.random.key(0)).upper
    assert small.dtype == jnp.float32
    near(small, large, 1e-5)


@pytest.mark.thorough
def test_derivatives_agree_with_finite_differences(x64):
    s = scores(19, 30, dtype=jnp.float64)
    for method in ("exact", "envelope"):
        mean = batch.BatchMean(3, 0.8, upper_bound=1.0, method=method)
        check_grads(lambda s, spec=mean: spec.calibrate(s).upper, (s,), 1, ("rev",), eps=1e-6)
    smooth = batch.BatchScore(3, 0.8, batch_score="log-sum-exp", upper_bound=1.0)
    check_grads(lambda s: smooth.calibrate(s).upper, (s,), 1, ("rev",), eps=1e-6)


def test_inside_jit_nan_reaches_every_bound():
    s = scores(21, 30)
    for spec in (batch.BatchMean(3, 0.8, upper_bound=1.0), batch.PartitionMean(3, 0.8)):
        upper = jax.jit(lambda s, spec=spec: spec.calibrate(s).upper)
        assert jnp.isnan(upper(s.at[3].set(jnp.nan)))
        assert jnp.isfinite(upper(s))
    beyond = jax.jit(lambda s: batch.BatchMean(3, upper_bound=1.0).calibrate(s).upper)
    assert jnp.isnan(beyond(s + 1))


ONES = np.ones(30, np.float32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: batch.rank_sum_law(0, 3), "calibration must be a whole number >= 1; got 0"),
        (lambda: batch.rank_sum_quantile(3, 2.5, 0.9), "test must be a whole number"),
        (lambda: batch.rank_sum_quantile(3, 2, 1.0), "coverage must lie strictly"),
        (lambda: batch.sample_ranks(3, 2, key=0), "key must be a new-style key"),
        (
            lambda: batch.ordering_quantile(lambda r: r, 9, 2, 0.5, key=jax.random.key(0)),
            r"ordering\(ranks\) must be a single number; got shape \(2,\)",
        ),
        (lambda: batch.BatchMean(0), "test must be a whole number >= 1"),
        (lambda: batch.BatchMean(3, method="dual"), "method must be one of 'exact', 'envelope'"),
        (lambda: batch.BatchMean(3, side="both"), "side must be one of"),
        (lambda: batch.BatchMean(3, ordering=ONES, draws=5), "draws must be a whole number >= 9"),
        (lambda: batch.BatchMean(3, lower_bound=1.0, upper_bound=0.0), "lower_bound must be below"),
        (lambda: batch.BatchMean(3).calibrate(ONES[:, None]), r"scores must have shape \(n,\)"),
        (lambda: batch.BatchMean(3).calibrate(ONES * np.nan), "scores must be finite"),
        (lambda: batch.BatchMean(3, upper_bound=0.5).calibrate(ONES), "scores must lie from"),
        (lambda: batch.BatchMean(3, ordering=ONES).calibrate(ONES), "key must be given"),
        (
            lambda: batch.BatchMean(3, ordering=ONES * np.inf).calibrate(
                ONES, key=jax.random.key(0)
            ),
            "ordering must be finite",
        ),
        (lambda: batch.BatchScore(3, batch_score="median"), "batch_score must be one of"),
        (lambda: batch.BatchScore(3, batch_score=(1, 2)), "batch_score must be a name or a pair"),
        (lambda: batch.BatchScore(3, batch_score="product"), "lower_bound must be at least 0"),
        (lambda: batch.PartitionMean(2).calibrate(ONES[:0]), "scores must have at least 1"),
        (lambda: batch.choose_batch_mean(9, 0, 0.9), "test must be a whole number"),
    ],
)
def test_bad_input_is_refused(call, message):
    with refuses(message):
        call()
