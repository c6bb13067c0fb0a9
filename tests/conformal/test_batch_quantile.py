"""Batch predictive inference: rank laws by enumeration, published tables, simulated coverage."""

import itertools
import math
from fractions import Fraction

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from estimators import io
from estimators.conformal._batch_quantile import (
    BatchQuantile,
    BatchQuantiles,
    BatchSelection,
    SimultaneousCoverage,
    batch_rank,
    batch_rank_law,
    thin_to_shift,
)
from estimators.conformal._batch_quantile._joint_law import box_probability
from estimators.conformal._batch_quantile._rank import end_ranks, end_tables, fewest
from estimators.conformal._quantile import conformal_rank
from estimators.testing import refuses

COVERAGES = (Fraction(9, 10), Fraction(1, 2), Fraction(3, 10), Fraction(2, 3), Fraction(199, 200))


def interleavings(n, m):
    """Ranks of the test scores, `(C(n + m, m), m)`, in every order of distinct scores."""
    places = np.array(list(itertools.combinations(range(n + m), m)))
    return places - np.arange(m) + 1


def exact_law(n, m, z):
    return [
        Fraction(
            math.comb(k + z - 2, z - 1) * math.comb(n + m - k - z + 1, m - z), math.comb(n + m, m)
        )
        for k in range(1, n + 2)
    ]


def exact_ranks(n, m, z, coverage):
    """Upper and lower ranks by their definitions, in fractions."""
    law = exact_law(n, m, z)
    upper = next(q for q in range(1, n + 2) if sum(law[:q]) >= coverage)
    lower = next(p for p in range(n, -1, -1) if sum(law[p:]) >= coverage)
    return upper, lower


def test_the_law_is_that_of_every_interleaving():
    for n, m in itertools.product(range(8), range(1, 5)):
        ranks = interleavings(n, m)
        for z in range(1, m + 1):
            counts = np.bincount(ranks[:, z - 1], minlength=n + 2)[1:]
            expected = counts / math.comb(n + m, m)
            np.testing.assert_allclose(batch_rank_law(n, m, z), expected, rtol=1e-14)


def test_the_law_is_beta_binomial_where_factorials_overflow():
    for n, m, z in ((2000, 400, 380), (100_000, 1000, 900), (50, 100_000, 1), (5000, 5000, 2500)):
        law = batch_rank_law(n, m, z)
        peer = stats.betabinom(n, z, m + 1 - z).pmf(np.arange(n + 1))
        np.testing.assert_allclose(law, peer, atol=1e-12, rtol=1e-8)
    # P(R <= q) in whole numbers, P(N_q >= z) of the dual: right to the last digits.
    n, m, z, q = 100_000, 1000, 900, 91_437
    terms = sum(math.comb(j + q - 1, j) * math.comb(m - j + n - q, m - j) for j in range(z, m + 1))
    exact = float(Fraction(terms, math.comb(n + m, m)))
    assert abs(batch_rank_law(n, m, z)[:q].sum() - exact) < 1e-14


def test_ranks_and_probabilities_are_those_of_the_stored_table(shared_data):
    case = np.load(shared_data / "conformal_oracle" / "batch_pi.npz")
    for (n, m, z, alpha), q, probability in zip(case["table"], case["q"], case["P"], strict=True):
        n, m, z = int(n), int(m), int(z)
        assert batch_rank(n, m, z, 1 - alpha) == q
        assert abs(batch_rank_law(n, m, z)[:q].sum() - probability) < 1e-9


@pytest.mark.parametrize(
    ("z", "q", "probability"),
    [(96, 978, 0.9094997), (94, 963, 0.9037367), (92, 948, 0.9068000)],
)
def test_ranks_of_the_published_selection(z, q, probability):
    assert batch_rank(1000, 100, z, 0.9) == q
    assert abs(batch_rank_law(1000, 100, z)[:q].sum() - probability) < 5e-8


def test_every_rank_is_exact():
    """Ranks and tables of them against fractions, ties with the coverage among them."""
    n = 30
    ties = 0
    for m, z in ((1, 1), (2, 2), (5, 1), (5, 3), (5, 5), (9, 7), (40, 20)):
        for coverage in COVERAGES:
            lower, _ = end_tables(n, m, z, coverage, "lower")
            _, upper = end_tables(n, m, z, coverage, "upper")
            both = np.stack(end_tables(n, m, z, coverage, "two-sided"), 1)
            for count in range(n + 1):
                q, p = exact_ranks(count, m, z, coverage)
                ties += sum(exact_law(count, m, z)[:q]) == coverage
                assert (upper[count], lower[count]) == (q, p)
                assert batch_rank(count, m, z, coverage) == q
                assert batch_rank(count, m, z, coverage, side="lower") == p
                assert end_ranks(count, m, z, coverage, "two-sided") == tuple(both[count])
    assert ties > 30  # else the hard cases were not met


def test_whole_numbers_decide_what_floats_cannot():
    """A coverage that a rank has exactly, and one larger by 1e-18: another rank."""
    for n, m, z, q in ((20, 5, 3, 14), (25, 7, 7, 24), (40, 9, 1, 6)):
        exact = sum(exact_law(n, m, z)[:q])
        beyond = exact + Fraction(1, 10**18)
        assert batch_rank(n, m, z, exact) == q
        assert batch_rank(n, m, z, beyond) == q + 1
        assert end_tables(n, m, z, exact, "upper")[1][n] == q
        assert end_tables(n, m, z, beyond, "upper")[1][n] == q + 1


def test_large_counts():
    # By symmetry the median's probability is exactly 1/2 there.
    assert batch_rank(100_001, 1001, 501, 0.5) == 50_001
    assert end_tables(20_000, 400, 380, 0.9, "upper")[1][2000] == batch_rank(2000, 400, 380, 0.9)
    assert end_tables(20_000, 400, 380, 0.9, "upper")[1][-1] == batch_rank(20_000, 400, 380, 0.9)


def test_one_test_score_is_split_conformal():
    for n in range(61):
        for step in range(1, 40):
            assert batch_rank(n, 1, 1, step / 40) == conformal_rank(n, step / 40)


def test_the_fewest_scores_are_the_fewest():
    for m, z, side in itertools.product((1, 4, 7), (1, 2, 4, 7), ("lower", "upper", "two-sided")):
        if z <= m:
            for coverage in (0.5, 0.9, 0.97):
                n = fewest(m, z, coverage, side)

                def bounded(n, m=m, z=z, coverage=coverage, side=side):
                    lower, upper = end_ranks(n, m, z, coverage, side)
                    return (side == "upper" or lower > 0) and (side == "lower" or upper <= n)

                assert bounded(n)
                assert n == 0 or not bounded(n - 1)


@pytest.mark.parametrize("tied", [False, True])
def test_coverage_over_every_split_of_a_pool(tied):
    """All 210 ways to draw the 4 test scores from 10: the promise is kept, and with distinct
    scores to the last digit. Heavy ties only add to it."""
    n, m = 6, 4
    pool = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 2.0] if tied else np.arange(10.0)).astype(
        np.float32
    )
    drawn = np.array(list(itertools.combinations(range(n + m), m)))
    calibration = np.array([np.delete(pool, rows) for rows in drawn])
    test = np.sort(pool[drawn], 1)
    specs = [
        BatchQuantile(test=m, position=z, coverage=0.6, side=side)
        for z, side in itertools.product((1, 3), ("lower", "upper", "two-sided"))
    ]
    joint = [
        BatchQuantiles(test=m, positions=(1, 2, 4), coverage=0.5, region=region, grow=grow)
        for region, grow in itertools.product(("interval", "box"), ("tails", "ranks"))
    ]
    fitted = jax.jit(jax.vmap(lambda s: [spec.calibrate(s) for spec in specs + joint]))(calibration)
    for spec, sets in zip(specs + joint, fitted, strict=True):
        positions = [spec.ordinal] if isinstance(spec, BatchQuantile) else spec.ordinals
        chosen = test[:, np.array(positions) - 1]
        lower = np.asarray(sets.lower).reshape(len(test), -1)
        upper = np.asarray(sets.upper).reshape(len(test), -1)
        reached = np.mean(((lower <= chosen) & (chosen <= upper)).all(1))
        promise = sets.guarantee.at_least
        assert promise >= spec.coverage - 1e-12
        assert reached >= promise - 1e-9
        assert tied or abs(reached - promise) < 1e-9


def test_the_joint_law_is_that_of_every_interleaving():
    generator = np.random.default_rng(0)
    for n, m in itertools.product((1, 4, 7), (2, 3, 4)):
        ranks = interleavings(n, m)
        for size in range(1, m + 1):
            for positions in itertools.combinations(range(1, m + 1), size):
                lower = generator.integers(0, n // 2 + 1, size)
                upper = generator.integers(n // 2 + 1, n + 2, size)
                chosen = ranks[:, np.array(positions) - 1]
                expected = np.mean(((chosen > lower[None]) & (chosen <= upper[None])).all(1))
                found = box_probability(n, m, positions, lower, upper)
                assert abs(found - expected) < 1e-13


def test_the_joint_law_of_one_position_is_its_own_law():
    for n, m, z in ((0, 3, 2), (10, 900, 850), (20_000, 1000, 900)):
        law = batch_rank_law(n, m, z)
        low, high = n // 3, n - n // 50
        found = box_probability(n, m, (z,), np.array([low]), np.array([high]))
        assert abs(found - law[low:high].sum()) < 1e-13


def test_published_bounds_of_the_quartiles(shared_data):
    """n = 200, m = 40: the stored ranks count from the lower bound of the scores, as 1."""
    case = np.load(shared_data / "conformal_oracle" / "batch_pi.npz")
    spec = BatchQuantiles(test=40, positions=(10, 30), coverage=0.9, grow="ranks")
    ranks = spec.ranks(200)
    np.testing.assert_array_equal(ranks, [[28, 28], [172, 172]])
    np.testing.assert_array_equal(ranks[:, 0], case["R_two_quantile_index_200_40_10_30"] - 1)
    calibrated = spec.calibrate(jnp.arange(1.0, 201.0))
    assert abs(calibrated.guarantee.at_least - 0.90576928) < 5e-9
    total = sum(
        math.comb(r + 8, 9) * math.comb(s - r + 19, 19) * math.comb(200 + 1 - s + 10, 10)
        for r in range(29, 173)
        for s in range(r, 173)
    )
    exact = float(Fraction(total, math.comb(240, 40)))
    assert abs(calibrated.guarantee.at_least - exact) < 1e-13
    # Equal tails reach the coverage with a shorter set.
    tails = BatchQuantiles(test=40, levels=(0.25, 0.75), coverage=0.9)
    np.testing.assert_array_equal(tails.ranks(200), [[27, 27], [170, 170]])


@pytest.mark.parametrize("region", ["interval", "box"])
@pytest.mark.parametrize(("n", "m", "positions"), [(200, 40, (10, 20, 30)), (57, 9, (1, 5, 9))])
def test_the_set_is_the_smallest_of_its_family(region, n, m, positions):
    """Equal tails: with t the largest outer tail no end can move inwards, and the set of the
    next larger tail falls short. Ranks: nor does one rank less at every end suffice."""
    below = np.array([[sum(exact_law(n, m, z)[:k]) for k in range(n + 2)] for z in positions])
    sides = {"interval": ([0], [-1]), "box": (slice(None), slice(None))}[region]

    def probability(lower, upper):
        if region == "interval":
            lower, upper = np.full_like(lower, lower[0]), np.full_like(upper, upper[-1])
        return box_probability(n, m, positions, lower, upper)

    def set_of(tail):
        lower = np.array([np.count_nonzero(row[1:] <= tail) for row in below])
        upper = np.array([np.flatnonzero(1 - row <= tail)[0] for row in below])
        return lower, upper

    spec = BatchQuantiles(test=m, positions=positions, coverage=0.85, region=region)
    lower, upper = spec.ranks(n)
    assert probability(lower, upper) >= 0.85
    rows = np.arange(len(positions))
    tails = np.concatenate([below[rows, lower][sides[0]], 1 - below[rows, upper][sides[1]]])
    expected = set_of(tails.max())
    np.testing.assert_array_equal(lower[sides[0]], expected[0][sides[0]])
    np.testing.assert_array_equal(upper[sides[1]], expected[1][sides[1]])
    every = np.concatenate([below[sides[0]].ravel(), 1 - below[sides[1]].ravel()])
    assert probability(*set_of(every[every > tails.max()].min())) < 0.85

    by_ranks = BatchQuantiles(
        test=m, positions=positions, coverage=0.85, region=region, grow="ranks"
    ).ranks(n)
    assert probability(*by_ranks) >= 0.85
    assert probability(by_ranks[0] + 1, by_ranks[1] - 1) < 0.85


def test_sets_of_mirrored_positions_are_mirrored():
    for n, m, positions in ((200, 40, (10, 31)), (99, 8, (1, 8)), (150, 15, (4, 8, 12))):
        assert tuple(m + 1 - z for z in positions[::-1]) == positions
        for region, coverage in itertools.product(("interval", "box"), (0.5, 0.8, 0.9)):
            spec = BatchQuantiles(test=m, positions=positions, coverage=coverage, region=region)
            lower, upper = spec.ranks(n)
            np.testing.assert_array_equal(lower + upper[::-1], np.full(len(positions), n + 1))


def test_one_threshold_covers_the_share_as_often_as_published():
    """n = 500, m = 100, share 0.9: the published probabilities are P(R <= q), to 4 digits, and
    4000 simulated batches agree within 4.5 standard errors (false alarm 4e-5)."""
    coverages = (0.95, 0.9, 0.85, 0.8, 0.75, 0.7)
    published = (0.9562, 0.9045, 0.8607, 0.8076, 0.7677, 0.7024)
    specs = [SimultaneousCoverage(test=100, share=0.9, coverage=c) for c in coverages]

    def experiment(key):
        draws = jax.random.uniform(key, (600,))
        fitted = [spec.calibrate(draws[:500]) for spec in specs]
        within = [jnp.sum(draws[500:] <= one.threshold) >= 90 for one in fitted]
        return fitted, jnp.stack(within)

    fitted, within = jax.jit(jax.vmap(experiment))(jax.random.split(jax.random.key(1), 4000))
    for one, theory, share in zip(fitted, published, np.asarray(within).mean(0), strict=True):
        promise = one.guarantee.at_least
        assert abs(promise - theory) < 5.1e-5
        assert abs(share - promise) < 4.5 * math.sqrt(promise * (1 - promise) / 4000)
    assert "at least 90 of 100 test scores" in str(fitted[0].guarantee)


def test_all_covered_is_never_worse_than_bonferroni():
    better = 0
    for n, m, coverage in itertools.product((50, 200, 1000), (1, 2, 5, 20, 100), (0.8, 0.9, 0.95)):
        rank = batch_rank(n, m, m, coverage)
        bonferroni = math.ceil((n + 1) * (1 - (1 - Fraction(str(coverage))) / m))
        assert rank <= bonferroni
        better += rank < bonferroni
    assert better > 0


def test_quantiles_of_a_counterfactual_batch_are_covered():
    """n = 200, m = 40: median (rank 120) and quartiles, 4000 batches, each within 4.5 standard
    errors of its exact probability (false alarm 2e-5)."""
    median = BatchQuantile(test=40, level=0.5)
    sided = BatchQuantile(test=40, level=0.5, side="two-sided")
    pair = BatchQuantiles(test=40, positions=(10, 30), grow="ranks")
    assert median.ordinal == 20
    assert end_ranks(200, 40, 20, 0.9, "upper") == (0, 120)

    def experiment(key):
        draws = jax.random.exponential(key, (240,))
        test = jnp.sort(draws[200:])
        fitted = [spec.calibrate(draws[:200]) for spec in (median, sided, pair)]
        targets = test[19], test[19], test[jnp.array([9, 29])]
        held = [
            jnp.all((one.lower <= t) & (t <= one.upper))
            for one, t in zip(fitted, targets, strict=True)
        ]
        return fitted, jnp.stack(held)

    fitted, held = jax.jit(jax.vmap(experiment))(jax.random.split(jax.random.key(2), 4000))
    for one, share in zip(fitted, np.asarray(held).mean(0), strict=True):
        promise = one.guarantee.at_least
        assert 0.9 <= promise < 0.91
        assert abs(share - promise) < 4.5 * math.sqrt(promise * (1 - promise) / 4000)


@pytest.mark.parametrize(("n", "false", "true"), [(200, 0, 0.0), (200, 3, 1.0), (1000, 0, 0.5)])
def test_false_selections_are_controlled(n, false, true):
    """m = 100, y > 1 claimed, coverage 0.9: over 2000 batches more than `false` are selected
    falsely in at most 0.1 of them, within 4 standard errors (false alarm 3e-5). With 200 rows
    none can be selected without a false one, which takes 900; else the bound is not idle."""
    spec = BatchSelection(test=100, false=false, coverage=0.9)

    def experiment(key):
        keys = jax.random.split(key)
        y = jax.random.normal(keys[0], (n + 100,))
        predictions = y + 0.5 * jax.random.normal(keys[1], (n + 100,))
        calibrated = spec.calibrate(predictions[:n], y[:n], claim=1.0)
        chosen = calibrated.select(predictions[n:])
        selected = jnp.sum(chosen & (y[n:] <= 1)), jnp.sum(chosen & (y[n:] > 1))
        return calibrated, selected

    keys = jax.random.split(jax.random.key(3), 2000)
    calibrated, (wrong, right) = jax.jit(jax.vmap(experiment))(keys)
    share = np.mean(np.asarray(wrong) > false)
    assert share < 0.1 + 4 * math.sqrt(0.1 * 0.9 / 2000)
    assert np.mean(right) >= true
    if true:
        assert share > 0.02
    else:
        assert not np.any(right)
        assert "needs at least 900 calibration scores; there were 200" in calibrated.reason


def test_selection_is_strict_and_ignores_rows_that_keep_the_claim():
    y = jnp.arange(40.0) / 10
    selection = BatchSelection(test=3, false=0).calibrate(y, y, claim=2.0)
    assert selection.threshold == 2.0
    np.testing.assert_array_equal(selection.select(jnp.array([1.9, 2.0, 2.1])), [0, 0, 1])
    assert selection.guarantee.kind == "at least"
    assert selection.guarantee.at_least == pytest.approx(batch_rank_law(40, 3, 3).sum() - 3 / 43)
    assert "at most 0 of 3 rows are selected falsely" in str(selection.guarantee)
    # No calibration row breaks the claim: everything goes. Too few rows: nothing does.
    everything = BatchSelection(test=3).calibrate(y, y + 9.0, claim=2.0)
    assert everything.select(y[:3]).all()
    nothing = BatchSelection(test=3).calibrate(y[:20], y[:20], claim=2.0)
    assert not nothing.select(y[:3] + 99.0).any()
    assert "needs at least 27 calibration scores; there were 20" in nothing.reason


def test_thinning_repairs_a_shift():
    """x has density 1 in calibration and 2x in test, n = 200, m = 15, the median two-sided:
    the coverage of 3000 batches is its expectation over the binomial number kept, within 4.5
    standard errors (false alarm 7e-6); without thinning it fails."""
    n, m, z = 200, 15, 8
    spec = BatchQuantile(test=m, position=z, coverage=0.9, side="two-sided")

    def experiment(key):
        keys = jax.random.split(key, 4)
        x = jax.random.uniform(keys[0], (n,))
        new = jnp.sqrt(jax.random.uniform(keys[1], (m,)))
        noise = 0.1 * jax.random.normal(keys[2], (n + m,))
        scores, median = x + noise[:n], jnp.sort(new + noise[n:])[z - 1]
        thinned = thin_to_shift(2 * x, largest=2.0, key=keys[3])
        sets = spec.calibrate(scores, kept=thinned.kept), spec.calibrate(scores)
        return thinned.number, jnp.stack([(s.lower <= median) & (median <= s.upper) for s in sets])

    number, held = jax.jit(jax.vmap(experiment))(jax.random.split(jax.random.key(4), 3000))
    assert abs(np.mean(number) - 100) < 4 * math.sqrt(50 / 3000)
    kept, plain = np.asarray(held).mean(0)
    lower, upper = end_tables(n, m, z, 0.9, "two-sided")
    each = [
        batch_rank_law(count, m, z)[lower[count] : upper[count]].sum() for count in range(n + 1)
    ]
    expected = float(stats.binom(n, 0.5).pmf(np.arange(n + 1)) @ np.array(each))
    assert 0.9 < expected < 0.93
    assert abs(kept - expected) < 4.5 * math.sqrt(expected * (1 - expected) / 3000)
    assert plain < 0.6


def test_thinned_scores_are_those_kept():
    """Random masks, from none kept to all, give what the kept scores alone would."""
    n = 24
    scores = jax.random.normal(jax.random.key(5), (n,))
    specs = [
        BatchQuantile(test=5, position=2, coverage=0.7, side="two-sided"),
        BatchQuantile(test=5, position=2, coverage=0.7, side="lower"),
    ]
    joint = BatchQuantiles(test=5, positions=(2, 4), coverage=0.7, region="box")
    shares = jnp.linspace(0.0, 1.0, 7)
    masks = jax.random.uniform(jax.random.key(6), (7, n)) < shares[:, None]
    fitted = jax.jit(jax.vmap(lambda kept: [spec.calibrate(scores, kept=kept) for spec in specs]))(
        masks
    )
    # Joint ranks are found on the host: one mask at a time.
    fitted.append(
        jax.tree.map(lambda *s: jnp.stack(s), *[joint.calibrate(scores, kept=k) for k in masks])
    )
    ordered = np.array(scores)
    for spec, sets in zip([*specs, joint], fitted, strict=True):
        for i, mask in enumerate(np.asarray(masks)):
            chosen = np.concatenate([[-np.inf], np.sort(ordered[mask]), [np.inf]])
            if isinstance(spec, BatchQuantile):
                ranks = end_ranks(int(mask.sum()), 5, 2, 0.7, spec.side)
            else:
                ranks = spec.ranks(int(mask.sum()))
            np.testing.assert_array_equal(sets.lower[i], chosen[ranks[0]])
            np.testing.assert_array_equal(sets.upper[i], chosen[ranks[1]])
            assert sets.kept[i] == mask.sum()
        assert sets.guarantee.kind == "at least"
        assert "there were 0" in sets.reason or "more than 0" in sets.reason


def test_infinite_ends_and_their_reasons():
    scores = jnp.arange(26.0)
    everyone = SimultaneousCoverage(test=3, coverage=0.9).calibrate(scores)
    assert jnp.isposinf(everyone.threshold)
    assert everyone.reason == (
        "coverage 0.9 for position 3 of 3 test scores needs at least 27 calibration scores; "
        "there were 26"
    )
    assert everyone.guarantee.at_least == 1.0
    assert SimultaneousCoverage(test=3).calibrate(jnp.arange(27.0)).reason is None
    low = BatchQuantile(test=3, position=1, side="lower").calibrate(scores)
    assert jnp.isneginf(low.lower)
    assert jnp.isposinf(low.upper)
    empty = BatchQuantile(test=3, position=2).calibrate(jnp.zeros(0))
    assert jnp.isposinf(empty.upper)
    pair = BatchQuantiles(test=3, positions=(1, 3), region="box").calibrate(scores)
    assert pair.reason.endswith("more than 26 calibration scores; 2 of 4 ends are infinite")
    np.testing.assert_array_equal(np.isinf(pair.lower), [True, False])
    np.testing.assert_array_equal(np.isinf(pair.upper), [False, True])
    assert BatchQuantiles(test=40, positions=(10, 30)).calibrate(jnp.arange(99.0)).reason is None


def test_levels_stand_for_positions_in_exact_arithmetic():
    for m in range(1, 120):
        for step in range(1, 21):
            level = step / 20
            spec = BatchQuantile(test=m, level=level)
            assert spec.ordinal == math.ceil(Fraction(step, 20) * m)
    assert BatchQuantile(test=100, level=1 - 0.9).ordinal == 10
    assert BatchQuantiles(test=7, levels=[0.25, 0.5, 1.0]).ordinals == (2, 4, 7)


def test_metamorphic_identities():
    scores = jax.random.normal(jax.random.key(7), (57,))
    spec = BatchQuantile(test=9, level=0.75, side="two-sided")
    one = spec.calibrate(scores)
    other = spec.calibrate(jax.random.permutation(jax.random.key(8), scores))
    assert (one.lower, one.upper) == (other.lower, other.upper)
    moved = spec.calibrate(jnp.exp(scores))
    assert (moved.lower, moved.upper) == (jnp.exp(one.lower), jnp.exp(one.upper))
    flipped = BatchQuantile(test=9, position=9 + 1 - spec.ordinal, side="two-sided")
    mirror = flipped.calibrate(-scores)
    assert (mirror.lower, mirror.upper) == (-one.upper, -one.lower)


def test_dtypes(x64):
    single, pair = BatchQuantile(test=5, level=0.5), BatchQuantiles(test=5, positions=(2, 4))
    for dtype in (jnp.float32, jnp.float64):
        scores = jnp.arange(40.0).astype(dtype)
        for calibrated in (single.calibrate(scores), pair.calibrate(scores, kept=scores > 5)):
            assert calibrated.lower.dtype == calibrated.upper.dtype == dtype
    assert single.calibrate(jnp.arange(40)).upper.dtype == jnp.float64


def test_derivatives_are_those_of_the_scores_found():
    scores = jax.random.normal(jax.random.key(9), (40,))
    single, pair = BatchQuantile(test=5, level=0.5), BatchQuantiles(test=5, positions=(2, 4))

    kept = scores > -1

    def bound(scores):
        return single.calibrate(scores).upper + pair.calibrate(scores, kept=kept).lower.sum()

    slope = jax.jit(jax.grad(bound))(scores)
    # An interval has one lower end, for both positions.
    np.testing.assert_array_equal(np.sort(np.asarray(slope))[-3:], [0, 1, 2])
    assert slope[np.argmax(scores == single.calibrate(scores).upper)] == 1


def test_nan_inside_jit_gives_nothing_plausible():
    scores = jnp.ones(40).at[3].set(jnp.nan)
    specs = [BatchQuantile(test=5, level=0.5, side=s) for s in ("lower", "upper", "two-sided")]
    specs.append(BatchQuantiles(test=5, positions=(1, 2)))

    def calibrate(scores):
        masks = None, np.arange(40) > 9
        return [spec.calibrate(scores, kept=kept) for spec in specs for kept in masks]

    for calibrated in jax.jit(calibrate)(scores):
        assert jnp.isnan(calibrated.lower).all()
        assert jnp.isnan(calibrated.upper).all()
    select = eqx.filter_jit(
        lambda p, y: BatchSelection(test=2).calibrate(p, y, claim=0.0).select(jnp.ones(2) * 99)
    )
    fine = jnp.ones(40)
    assert select(fine, -fine).all()
    assert not select(scores, fine).any()
    assert not select(fine, scores).any()
    thin = jax.jit(lambda r: thin_to_shift(r, largest=1.0, key=jax.random.key(0)).number)
    assert thin(fine) == 40
    assert thin(scores) == thin(2 * fine) == thin(-fine) == 0


def test_files_come_back(tmp_path):
    scores, kept = jnp.arange(50.0), jnp.arange(50) > 4
    for i, fitted in enumerate(
        [
            BatchQuantile(test=5, level=0.5).calibrate(scores),
            BatchQuantiles(test=5, positions=(2, 4)).calibrate(scores, kept=kept),
            SimultaneousCoverage(test=5, share=0.8).calibrate(scores),
            BatchSelection(test=5).calibrate(scores, scores, claim=20.0),
        ]
    ):
        io.save(tmp_path / f"{i}.safetensors", fitted)
        assert eqx.tree_equal(io.load(tmp_path / f"{i}.safetensors"), fitted)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: batch_rank_law(-1, 3, 1), "calibration must be a whole number >= 0; got -1"),
        (lambda: batch_rank_law(5, 0, 1), "test must be a whole number >= 1; got 0"),
        (lambda: batch_rank(5, 3, 4, 0.9), "position must be at most .* 3; got 4"),
        (lambda: batch_rank(5, 3, 1.5, 0.9), "position must be a whole number >= 1; got 1.5"),
        (lambda: batch_rank(5, 3, 1, 1.0), "coverage must lie strictly between 0 and 1"),
        (lambda: batch_rank(5, 3, 1, 0.9, side="two-sided"), "side must be one of"),
        (lambda: BatchQuantile(test=5), "not both; got level=None, position=None"),
        (lambda: BatchQuantile(test=5, level=0.5, position=2), "not both; got level=0.5"),
        (lambda: BatchQuantile(test=5, level=0), "level must be a number above 0 and at most 1"),
        (lambda: BatchQuantile(test=5, level="0.5"), "level must be a number .* got '0.5'"),
        (lambda: BatchQuantile(test=5, position=6), "position must be at most"),
        (lambda: BatchQuantile(test=2.0, level=0.5), "test must be a whole number"),
        (lambda: BatchQuantile(test=5, level=0.5, side="both"), "side must be one of 'lower'"),
        (lambda: BatchQuantile(test=5, level=0.5, coverage=0), "coverage must lie strictly"),
        (lambda: BatchQuantiles(test=5), "levels or positions must be given"),
        (lambda: BatchQuantiles(test=5, positions=(2,)), "two or more that increase; got"),
        (lambda: BatchQuantiles(test=5, positions=(3, 2)), r"increase; got \(3, 2\) of 5"),
        (lambda: BatchQuantiles(test=5, levels=(0.1, 0.2)), r"increase; got \(1, 1\) of 5"),
        (lambda: BatchQuantiles(test=5, positions=(2, 6)), "position must be at most"),
        (lambda: BatchQuantiles(test=5, positions=(1, 2), region="all"), "region must be one of"),
        (lambda: BatchQuantiles(test=5, positions=(1, 2), grow="all"), "grow must be one of"),
        (lambda: SimultaneousCoverage(test=5, share=1.1), "share must be a number above 0"),
        (lambda: BatchSelection(test=5, false=5), "false must be less than test, 5; got 5"),
        (lambda: BatchSelection(test=5, false=-1), "false must be a whole number >= 0"),
        (
            lambda: BatchQuantile(test=5, level=0.5).calibrate(jnp.ones((2, 2))),
            r"scores must have shape \(n,\)",
        ),
        (
            lambda: BatchQuantile(test=5, level=0.5).calibrate(jnp.array([1.0, jnp.nan])),
            "scores must not be NaN; 1 of 2 are",
        ),
        (
            lambda: jax.jit(
                lambda kept: BatchQuantiles(test=5, positions=(2, 4)).calibrate(
                    jnp.ones(3), kept=kept
                )
            )(jnp.ones(3, bool)),
            "kept must be known, for joint ranks are found on the host; it is traced",
        ),
        (
            lambda: BatchQuantile(test=5, level=0.5).calibrate(jnp.ones(3), kept=jnp.ones(3)),
            "kept must be 3 booleans, one a calibration row; got float32",
        ),
        (
            lambda: BatchQuantiles(test=5, positions=(1, 2)).calibrate(
                jnp.ones(3), kept=jnp.ones(4, bool)
            ),
            r"kept must be 3 booleans, .* shape \(4,\)",
        ),
        (
            lambda: BatchSelection(test=2).calibrate(jnp.ones(3), jnp.ones(4), claim=0.0),
            "y must have length 3",
        ),
        (
            lambda: BatchSelection(test=2).calibrate(jnp.ones(3), jnp.ones(3), claim=jnp.ones(3)),
            "claim must be a single number",
        ),
        (
            lambda: (
                BatchSelection(test=2)
                .calibrate(jnp.ones(3), jnp.ones(3), claim=0.0)
                .select(jnp.ones(3))
            ),
            "predictions must have length 2",
        ),
        (
            lambda: thin_to_shift(jnp.array([0.5, 3.0]), largest=2.0, key=jax.random.key(0)),
            "ratios must lie between 0 and largest, 2; they go from 0.5 to 3",
        ),
        (
            lambda: thin_to_shift(jnp.ones(2), largest=0.0, key=jax.random.key(0)),
            "largest must be finite and positive",
        ),
        (lambda: thin_to_shift(jnp.ones(2), largest=1.0, key=0), "key must be a new-style key"),
    ],
)
def test_bad_input_is_refused(call, message):
    with refuses(message):
        call()
