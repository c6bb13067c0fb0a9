"""Intervals for regression: every way to a threshold, against the peers and known truth."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from estimators import conformal, io
from estimators.testing import refuses

KEY = jax.random.key(0)


def oracle(shared_data, name):
    return np.load(shared_data / "conformal_oracle" / f"{name}.npz")


def test_groups_equal_the_oracle_to_the_last_digit(x64, shared_data):
    case = oracle(shared_data, "split_regression")
    for i, coverage in enumerate(case["levels"]):
        spec = conformal.SplitRegression(float(coverage))
        plain = spec.calibrate(case["mu_cal"], case["y_cal"], groups=case["bins_cal"])
        got = plain.interval(case["mu_test"], groups=case["bins_test"])
        np.testing.assert_array_equal(np.stack(got, 1), case["crepes_mondrian"][:, :, i])
        scaled = spec.calibrate(
            case["mu_cal"], case["y_cal"], case["sigma_cal"], groups=case["bins_cal"]
        )
        got = scaled.interval(case["mu_test"], case["sigma_test"], groups=case["bins_test"])
        np.testing.assert_array_equal(np.stack(got, 1), case["crepes_norm_mondrian"][:, :, i])


def test_scaled_quantile_regression_equals_the_oracle(x64, shared_data):
    """CQR-m to the last digit. The peer's CQR-r intervals are widened by threshold times
    1e-6 alone, the predicted width left out; its threshold is ours."""
    case = oracle(shared_data, "cqr")
    new = case["lo_test"], case["hi_test"]
    spec = conformal.ConformalizedQuantileRegression(0.8, scaling="sides")
    calibrated = spec.calibrate(case["lo_cal"], case["hi_cal"], case["y_cal"], case["mid_cal"])
    got = calibrated.interval(*new, case["mid_test"])
    np.testing.assert_array_equal(np.stack(got, 1), case["torchcp_cqrm"])
    spec = conformal.ConformalizedQuantileRegression(0.8, scaling="width")
    calibrated = spec.calibrate(case["lo_cal"], case["hi_cal"], case["y_cal"])
    theirs = (case["torchcp_cqrr"][:, 1] - case["hi_test"]) / 1e-6
    np.testing.assert_allclose(calibrated.thresholds.values[0], theirs, rtol=1e-8)
    _, upper = calibrated.interval(*new)
    width = (new[1] - new[0] + 1e-6) * calibrated.thresholds.values[0]
    np.testing.assert_allclose(upper - new[1], width, rtol=1e-12)


def test_weighted_thresholds_equal_the_oracle(x64, shared_data):
    case = oracle(shared_data, "weighted")
    for i, coverage in enumerate(case["levels"]):
        arguments = case["scores"], case["weights"], case["test_weights"], float(coverage)
        got = conformal.weighted_conformal_quantiles(*arguments)
        np.testing.assert_array_equal(got, case["shift_q"][:, i])
        # Barber et al. 2023: weights of calibration rows are chosen, that of a new one is 1.
        fixed = conformal.weighted_conformal_quantiles(*arguments[:2], 1.0, float(coverage))
        assert fixed == case["barber_q"][i]


def test_groups_are_conformal_quantiles_of_each(x64):
    """Heavy ties, an empty group, groups too small, infinite scores."""
    rng = np.random.default_rng(0)
    scores = np.round(rng.normal(size=300), 1)
    scores[:3] = [np.inf, -np.inf, np.inf]
    groups = np.minimum(rng.geometric(0.3, 300) - 1, 8)
    groups[groups == 4] = 5
    got = conformal.grouped_conformal_quantiles(scores, groups, 0.85, count=10)
    for group in range(10):
        own = np.append(np.sort(scores[groups == group]), np.inf)
        assert got[group] == own[conformal.conformal_rank(len(own) - 1, 0.85) - 1]
    one = conformal.grouped_conformal_quantiles(scores, np.zeros(300, int), 0.85)
    assert one[0] == conformal.conformal_quantile(scores, 0.85)


def test_gradient_of_grouped_quantiles_is_that_of_the_scores_found():
    scores, groups = jax.random.normal(KEY, (40,)), jnp.arange(40) % 3

    def total(scores):
        values = conformal.grouped_conformal_quantiles(scores, groups, 0.8, count=3)
        return jnp.sum(jnp.arange(1.0, 4.0) * values)

    slope = jax.grad(total)(scores)
    found = conformal.grouped_conformal_quantiles(scores, groups, 0.8)
    expected = jnp.where(scores == found[groups], groups + 1.0, 0)
    np.testing.assert_array_equal(slope, expected)


def test_equal_weights_change_nothing():
    scores = jax.random.normal(KEY, (99,))
    groups = jnp.arange(99) % 4
    for coverage in (0.1, 0.5, 0.9, 0.97, 0.99, 0.995):
        plain = conformal.conformal_quantile(scores, coverage)
        for weight in (1.0, 0.3, 7e5):
            weights, new = jnp.full(99, weight), jnp.full((2,), weight)
            got = conformal.weighted_conformal_quantiles(scores, weights, new, coverage)
            assert (got == plain).all()
            got = conformal.weighted_conformal_quantiles(
                scores,
                weights,
                jnp.full((4,), weight),
                coverage,
                groups=groups,
                new_groups=jnp.arange(4),
            )
            expected = conformal.grouped_conformal_quantiles(scores, groups, coverage)
            np.testing.assert_array_equal(got, expected)


def test_a_weight_of_two_is_a_row_twice():
    scores = jax.random.normal(KEY, (30,))
    weights = jnp.arange(30) % 3
    twice = np.repeat(np.asarray(scores), np.asarray(weights))
    got = conformal.weighted_conformal_quantiles(scores, weights, jnp.ones(1), 0.8)
    assert got[0] == conformal.conformal_quantile(twice, 0.8)


def draw(key, n, power=1.0):
    """Rows at `uniform ** power`, so that the density ratio to power 1 is known; skewed noise
    that grows."""
    of_x, of_noise = jax.random.split(key)
    x = jax.random.uniform(of_x, (n,)) ** power
    return x, x + (0.1 + x) * jax.random.exponential(of_noise, (n,))


REPLICATES, N = 4000, 50
WAYS = ("plain", "two ends", "groups", "weights", "local")


def covered(way, key):
    """Whether one new row is covered, after calibration on 50."""
    of_rows, of_new, of_point = jax.random.split(key, 3)
    x, y = draw(of_rows, N)
    new_x, new_y = draw(of_new, 1, 0.5 if way == "weights" else 1.0)
    calibration, new = {}, {}
    if way == "groups":
        calibration = {"groups": (x > 0.6).astype(int), "count": 2}
        new = {"groups": (new_x > 0.6).astype(int)}
    if way == "weights":
        calibration, new = {"weights": 2 * x}, {"weights": 2 * new_x}
    if way == "local":
        calibration = {"points": x[:, None], "bandwidth": 0.2}
        new = {"points": new_x[:, None], "key": of_point}
    spec = conformal.SplitRegression(0.8, symmetric=way != "two ends")
    lower, upper = spec.calibrate(x, y, **calibration).interval(new_x, **new)
    return (lower <= new_y) & (new_y <= upper), new_x


@pytest.mark.parametrize("way", WAYS)
def test_every_way_covers(way):
    """4000 calibration sets, one new row each: the share covered lies within 4 standard errors
    of what is promised, false alarm 6e-5 a side. Plain thresholds reach k / (n + 1) exactly;
    by weight and by place 0.8 is a lower bound, and far above it something else is wrong."""
    hit, x = jax.jit(jax.vmap(lambda key: covered(way, key)))(jax.random.split(KEY, REPLICATES))
    hit, x = np.asarray(hit)[:, 0], np.asarray(x)[:, 0]
    error = np.sqrt(0.8 * 0.2 / REPLICATES)
    exact = {"plain": 41 / 51, "two ends": 2 * 46 / 51 - 1}
    if way in exact:
        assert abs(hit.mean() - exact[way]) < 4 * error
        return
    assert 0.8 - 4 * error < hit.mean() < 0.9
    if way == "groups":
        for group in (x > 0.6, x <= 0.6):
            assert hit[group].mean() > 0.8 - 4 * np.sqrt(0.16 / group.sum())


def test_without_weights_a_shift_is_not_covered():
    """The same shift as above: were weights ignored, the test above would see it."""

    def one(key):
        of_rows, of_new = jax.random.split(key)
        x, y = draw(of_rows, N)
        new_x, new_y = draw(of_new, 1, 0.5)
        lower, upper = conformal.SplitRegression(0.8).calibrate(x, y).interval(new_x)
        return (lower <= new_y) & (new_y <= upper)

    hit = jax.jit(jax.vmap(one))(jax.random.split(KEY, REPLICATES))
    assert hit.mean() < 0.8 - 4 * np.sqrt(0.16 / REPLICATES)


def test_a_wide_bandwidth_is_split_and_a_narrow_one_follows_the_noise():
    x, y = draw(KEY, 400)
    spec = conformal.SplitRegression(0.9)
    new = jnp.linspace(0.1, 0.9, 5)
    plain = spec.calibrate(x, y).interval(new)
    wide = spec.calibrate(x, y, points=x[:, None], bandwidth=1e3)
    got = wide.interval(new, points=new[:, None], key=KEY)
    np.testing.assert_array_equal(got, plain)
    narrow = spec.calibrate(x, y, points=x[:, None], bandwidth=jnp.array([0.1]))
    lower, upper = narrow.interval(new, points=new[:, None], key=KEY)
    assert upper[-1] - lower[-1] > 2 * (upper[0] - lower[0])


def test_local_thresholds_by_hand(x64):
    """Every weight, sum and threshold of a row in numpy."""
    rng = np.random.default_rng(1)
    points, new = rng.normal(size=(70, 2)), rng.normal(size=(40, 2))
    y = rng.normal(size=70)
    spec = conformal.SplitRegression(0.8)
    calibrated = spec.calibrate(np.zeros(70), y, points=points, bandwidth=np.array([0.5, 2.0]))
    _, upper = calibrated.interval(np.zeros(40), points=new, key=KEY)
    centres = new + np.asarray(jax.random.normal(KEY, (40, 2), jnp.float32)) * [0.5, 2.0]

    def kernel(rows):
        return stats.norm.pdf((rows - centres[:, None]) / [0.5, 2.0]).prod(-1)

    near, own = kernel(points[None]), kernel(new[:, None])[:, 0]
    order = np.argsort(np.abs(y))
    reached = np.cumsum(near[:, order], 1) / (near.sum(1) + own)[:, None]
    place = (reached < 0.8).sum(1)
    np.testing.assert_allclose(upper, np.append(np.abs(y)[order], np.inf)[place], rtol=1e-12)


def test_guarantees_in_numbers():
    y = jnp.arange(30.0)
    plain = conformal.SplitRegression(0.9).calibrate(y, 2 * y)
    assert plain.guarantee.kind == "exact"
    assert plain.guarantee.at_least == plain.guarantee.at_most == 28 / 31
    assert "covers with probability 0.903226, 0.9 asked" in str(plain.guarantee)
    both = conformal.SplitRegression(0.9, symmetric=False).calibrate(y, 2 * y)
    np.testing.assert_allclose(both.guarantee.at_least, 2 * 30 / 31 - 1)
    groups = conformal.SplitRegression(0.9).calibrate(y, 2 * y, groups=(y > 19).astype(int))
    np.testing.assert_allclose(groups.guarantee.at_least, 19 / 21)
    assert "in every group" in groups.guarantee.over
    weights = conformal.SplitRegression(0.9).calibrate(y, 2 * y, weights=y)
    assert weights.guarantee.at_least == 0.9
    assert "ratio" in weights.guarantee.given
    local = conformal.SplitRegression(0.9).calibrate(y, 2 * y, points=y[:, None], bandwidth=1.0)
    assert local.guarantee.at_least == 0.9


def test_reasons():
    y, groups = jnp.arange(30.0), (jnp.arange(30) > 25).astype(int)
    few = conformal.SplitRegression(0.9).calibrate(y, 2 * y, groups=groups)
    assert few.reason == (
        "coverage 0.9 needs at least 9 calibration rows in each group; too few are in 1 of 2, "
        "the first is group 1 with 4"
    )
    _, upper = few.interval(y[:2], groups=jnp.array([0, 1]))
    assert jnp.isfinite(upper[0])
    assert jnp.isposinf(upper[1])
    heavy = conformal.SplitRegression(0.9).calibrate(y, 2 * y, weights=jnp.ones(30))
    assert heavy.reason == "a row gets the infinite set where its weight is above 3.33333"
    _, upper = heavy.interval(y[:2], weights=jnp.array([3.3, 3.4]))
    assert list(map(bool, jnp.isposinf(upper))) == [False, True]


def test_an_unknown_group_inside_jit_gets_the_infinite_set():
    y = jnp.arange(40.0)
    calibrated = conformal.SplitRegression(0.8).calibrate(y, 2 * y, groups=jnp.arange(40) % 2)
    lower, upper = jax.jit(lambda g: calibrated.interval(y[:3], groups=g))(jnp.array([0, 1, 2]))
    assert list(map(bool, jnp.isposinf(upper))) == [False, False, True]
    assert list(map(bool, jnp.isneginf(lower))) == [False, False, True]


def test_everything_survives_a_file(tmp_path):
    x, y = draw(KEY, 40)
    spec = conformal.SplitRegression(0.8, symmetric=False)
    kinds = [
        {},
        {"groups": jnp.arange(40) % 2},
        {"weights": x, "groups": jnp.arange(40) % 2},
        {"points": x[:, None], "bandwidth": 0.3},
    ]
    for number, kind in enumerate(kinds):
        calibrated = spec.calibrate(x, y, **kind)
        new = {name: value[:3] for name, value in kind.items() if name != "bandwidth"}
        if "points" in kind:
            new["key"] = KEY
        io.save(tmp_path / f"{number}.safetensors", calibrated)
        again = io.load(tmp_path / f"{number}.safetensors")
        np.testing.assert_array_equal(
            again.interval(x[:3], **new), calibrated.interval(x[:3], **new)
        )


def test_bad_input():
    y, spec = jnp.arange(20.0), conformal.SplitRegression(0.9)
    groups = jnp.arange(20) % 2
    with refuses(r"groups must be whole numbers, 0 and up; got float32"):
        spec.calibrate(y, y, groups=y)
    with refuses(r"groups must have shape \(20,\), one a row; got shape \(3,\)"):
        spec.calibrate(y, y, groups=groups[:3])
    with refuses(r"groups must lie between 0 and 1, .*; got -1 \(1 of 20 are outside\)"):
        spec.calibrate(y, y, groups=groups.at[0].set(-1))
    with refuses("count must be given where groups are traced"):
        jax.jit(lambda g: spec.calibrate(y, y, groups=g).thresholds.values)(groups)
    calibrated = spec.calibrate(y, y, groups=groups)
    with refuses("groups is missing: calibration had groups"):
        calibrated.interval(y)
    with refuses(r"groups must lie between 0 and 1, .*; got 7 \(1 of 1 are outside\)"):
        calibrated.interval(y[:1], groups=jnp.array([7]))
    with refuses("weights is not used: calibration did not have weights"):
        calibrated.interval(y, groups=groups, weights=y)
    with refuses("weights must not be negative; the least of 20 is -3.0"):
        spec.calibrate(y, y, weights=y - 3)
    with refuses("weights must be finite"):
        spec.calibrate(y, y, weights=jnp.full(20, jnp.inf))
    weighted = spec.calibrate(y, y, weights=y)
    with refuses("new_weights must not be negative; the least of 1 is -1.0"):
        weighted.interval(y[:1], weights=jnp.array([-1.0]))
    with refuses(r"weights must have shape \(20,\), one a row; got \(3,\)"):
        weighted.interval(y, weights=y[:3])
    with refuses("points and bandwidth must be given together"):
        spec.calibrate(y, y, points=y[:, None])
    with refuses("points must not be given together with groups or weights"):
        spec.calibrate(y, y, points=y[:, None], bandwidth=1.0, groups=groups)
    with refuses("bandwidth must be finite and positive; got"):
        spec.calibrate(y, y, points=y[:, None], bandwidth=0.0)
    with refuses(r"points must have 20 rows, as y; got shape \(3, 1\)"):
        spec.calibrate(y, y, points=y[:3, None], bandwidth=1.0)
    local = spec.calibrate(y, y, points=y[:, None], bandwidth=1.0)
    with refuses("key is missing: it draws where calibration had points"):
        local.interval(y, points=y[:, None])
    with refuses("key is not used"):
        spec.calibrate(y, y).interval(y, key=KEY)
    ends = conformal.ConformalizedQuantileRegression(0.9, scaling="sides")
    with refuses("middle must be given with scaling='sides', and only then"):
        ends.calibrate(y, y, y)
    with refuses("scaling must be one of 'none', 'width', 'sides'; got 'sqrt'"):
        conformal.ConformalizedQuantileRegression(scaling="sqrt")
    with refuses("groups and new_groups must be given together"):
        conformal.weighted_conformal_quantiles(y, y, y, 0.9, groups=groups)
    with refuses("coverage must lie strictly between 0 and 1; got 1.0"):
        conformal.weighted_conformal_quantiles(y, y, y, 1.0)


def test_bad_weights_inside_jit_give_nan():
    y = jnp.arange(20.0)
    for weights in (y - 3, y.at[0].set(jnp.nan), y.at[3].set(jnp.inf)):
        found = jax.jit(lambda w: conformal.weighted_conformal_quantiles(y, w, jnp.ones(2), 0.8))(
            weights
        )
        assert jnp.isnan(found).all()
    new = jnp.array([1.0, -1.0])
    found = jax.jit(lambda w: conformal.weighted_conformal_quantiles(y, y, w, 0.8))(new)
    assert list(map(bool, jnp.isnan(found))) == [False, True]


def test_a_group_of_small_weights_is_not_lost_behind_one_of_large():
    """Sums over all groups would end in the other group's scores, and p-values in its sums."""
    scores, groups = jnp.arange(120.0), (jnp.arange(120) > 99).astype(int)
    weights = jnp.where(groups == 0, 1e7, 1.0)
    both = {"groups": groups, "new_groups": jnp.array([1])}
    got = conformal.weighted_conformal_quantiles(scores, weights, jnp.ones(1), 0.5, **both)
    assert got[0] == conformal.weighted_conformal_quantiles(
        scores[100:], weights[100:], jnp.ones(1), 0.5
    )
    p = conformal.conformal_p_values(
        scores, jnp.array([110.0]), weights=weights, new_weights=jnp.ones(1), **both
    )
    np.testing.assert_allclose(p, 11 / 21, rtol=1e-6)


def test_weights_that_say_nothing_give_the_infinite_set_and_huge_ones_do_not_overflow():
    scores, new = jnp.arange(10.0), jnp.array([0.0, 1.0])
    nothing = conformal.weighted_conformal_quantiles(scores, jnp.zeros(10), new, 0.8)
    assert jnp.isposinf(nothing).all()
    empty = conformal.weighted_conformal_quantiles(
        scores, jnp.ones(10), new, 0.8, groups=jnp.ones(10, int), new_groups=jnp.zeros(2, int)
    )
    assert jnp.isposinf(empty).all()
    assert jnp.isposinf(conformal.weighted_conformal_quantiles(new[:0], new[:0], new, 0.8)).all()
    huge = conformal.weighted_conformal_quantiles(scores, jnp.full(10, 3e38), 3e38, 0.8)
    assert huge == conformal.conformal_quantile(scores, 0.8)
    traced = jax.jit(lambda c: conformal.weighted_conformal_quantiles(scores, scores, new, c))
    assert jnp.isposinf(traced(-0.5)).all()


def test_one_group_with_weights_is_used_as_it_was_calibrated():
    y, one = jnp.arange(30.0), jnp.zeros(30, int)
    spec = conformal.SplitRegression(0.9)
    grouped = spec.calibrate(y, 2 * y, groups=one, weights=jnp.ones(30))
    got = grouped.interval(y[:2], groups=one[:2], weights=jnp.ones(2))
    np.testing.assert_array_equal(got, spec.calibrate(y, 2 * y).interval(y[:2]))


def test_binary_fractions_and_coverages_near_one():
    """A Fraction of a float has a numerator of 52 bits; ranks from it must not overflow."""
    scores = jnp.arange(2000.0)
    exact = Fraction(0.9)
    got = conformal.grouped_conformal_quantiles(scores, jnp.zeros(2000, int), exact)
    assert got[0] == conformal.conformal_quantile(scores, 0.9)
    assert abs(conformal.calibration_size_within(exact, 0.02) - 930) < 20
    assert conformal.conformal_rank(9, 1e-10) == 1
    near = conformal.SplitRegression(1 - 1e-10).calibrate(scores, 2 * scores)
    assert "needs at least" in near.reason


def test_group_numbers_of_64_bits_do_not_wrap(x64):
    y = jnp.arange(40.0)
    calibrated = conformal.SplitRegression(0.8).calibrate(y, 2 * y, groups=jnp.arange(40) % 2)
    with refuses("groups must lie between 0 and 1"):
        calibrated.interval(y[:1], groups=np.array([2**32 + 1]))
    traced = jax.jit(lambda g: calibrated.interval(y[:1], groups=g)[1])
    assert jnp.isposinf(traced(np.array([2**32 + 1]))).all()


def test_a_scale_that_is_not_positive_is_nan_inside_jit():
    y = jnp.arange(20.0)

    def interval(scale, new):
        spec = conformal.SplitRegression(0.8)
        return spec.calibrate(y, 2 * y, scale).interval(y[:2], new)

    good, bad = jnp.ones(20), jnp.ones(20).at[3].set(-1.0)
    assert jnp.isnan(jnp.stack(jax.jit(interval)(bad, good[:2]))).all()
    lower, _ = jax.jit(interval)(good, jnp.array([1.0, 0.0]))
    assert list(map(bool, jnp.isnan(lower))) == [False, True]
    with refuses("offset must be finite and positive; got 0"):
        conformal.ConformalizedQuantileRegression(scaling="width", offset=0.0)
