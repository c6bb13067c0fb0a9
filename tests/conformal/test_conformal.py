"""Ranks in exact arithmetic, stored oracle cases, and the law of the coverage."""

import math
import warnings
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from estimators import conformal
from estimators.testing import refuses


def test_every_rank_is_exact():
    """n = 1..199, coverage in steps of .0025: 0 wrong cells, the coverage as written."""
    wrong = cells = 0
    for n in range(1, 200):
        for step in range(4, 399):
            coverage = Fraction(step, 400)
            cells += 1
            wrong += conformal.conformal_rank(n, float(coverage)) != math.ceil((n + 1) * coverage)
    assert cells == 199 * 395 >= 19_801
    assert wrong == 0


def test_the_quantile_is_the_score_of_that_rank():
    """Every n = 1..199 at once for each coverage, through the traced and the exact path."""
    scores = jax.random.permutation(jax.random.key(0), jnp.arange(1.0, 200.0))
    for n in (1, 19, 199):
        part = scores[:n]
        ordered = np.append(np.sort(np.asarray(part)), np.inf)
        grid = [step / 200 for step in range(2, 200)]
        for coverage in grid[::9]:
            rank = math.ceil((n + 1) * Fraction(round(coverage * 200), 200))
            assert conformal.conformal_quantile(part, coverage) == ordered[rank - 1]
        traced = jax.vmap(conformal.conformal_quantile, (None, 0))(part, jnp.array(grid))
        exact = [ordered[math.ceil((n + 1) * Fraction(round(c * 200), 200)) - 1] for c in grid]
        np.testing.assert_array_equal(traced, exact)


@pytest.mark.parametrize("coverage", [1 - 0.1, 1 - 0.07, 0.1 + 0.2, np.float32(0.9), 0.7 + 0.1])
def test_computed_coverages_mean_what_was_meant(coverage):
    exact = Fraction(round(float(coverage) * 100), 100)
    for n in range(1, 500):
        assert conformal.conformal_rank(n, coverage) == math.ceil((n + 1) * exact)


def test_too_few_scores_give_the_infinite_set_and_the_reason():
    y = jnp.arange(8.0)
    calibrated = conformal.SplitRegression(0.9).calibrate(y, y)
    lower, upper = calibrated.interval(y)
    assert jnp.isneginf(lower).all()
    assert jnp.isposinf(upper).all()
    assert calibrated.reason == "coverage 0.9 needs at least 9 calibration rows; there were 8"
    assert conformal.SplitRegression(0.8).calibrate(y, y).reason is None
    asymmetric = conformal.ConformalizedQuantileRegression(0.8, symmetric=False)
    assert "coverage 0.9 needs" in asymmetric.calibrate(y, y, y).reason
    assert conformal.calibration_size(0.9) == 9
    for coverage in (0.5, 0.8, 0.9, 0.95, 0.99):
        n = conformal.calibration_size(coverage)
        assert conformal.conformal_rank(n, coverage) <= n
        assert conformal.conformal_rank(n - 1, coverage) == n


def test_split_equals_the_oracle_to_the_last_digit(x64, shared_data):
    case = np.load(shared_data / "conformal_oracle" / "split_regression.npz")
    for i, coverage in enumerate(case["levels"]):
        spec = conformal.SplitRegression(float(coverage))
        plain = spec.calibrate(case["mu_cal"], case["y_cal"]).interval(case["mu_test"])
        for peer in ("mapie_interval", "crepes_interval"):
            np.testing.assert_array_equal(np.stack(plain, 1), case[peer][:, :, i])
        scaled = spec.calibrate(case["mu_cal"], case["y_cal"], case["sigma_cal"])
        got = scaled.interval(case["mu_test"], case["sigma_test"])
        np.testing.assert_array_equal(np.stack(got, 1), case["crepes_normalized"][:, :, i])


@pytest.mark.parametrize(
    ("symmetric", "peer"), [(True, "mapie_sym"), (False, "mapie_asym"), (True, "torchcp_cqr")]
)
def test_cqr_equals_the_oracle_to_the_last_digit(x64, shared_data, symmetric, peer):
    case = np.load(shared_data / "conformal_oracle" / "cqr.npz")  # made at coverage 0.8
    spec = conformal.ConformalizedQuantileRegression(0.8, symmetric=symmetric)
    calibrated = spec.calibrate(case["lo_cal"], case["hi_cal"], case["y_cal"])
    got = calibrated.interval(case["lo_test"], case["hi_test"])
    np.testing.assert_array_equal(np.stack(got, 1), case[peer])


def test_coverage_follows_the_beta_law():
    """Coverage given the calibration set is Beta(k, n+1-k): a Kolmogorov-Smirnov test over
    4000 calibration sets, false alarm 1e-4."""
    n, coverage = 50, 0.8
    draws = jax.random.uniform(jax.random.key(5), (4000, n))
    thresholds = jax.vmap(lambda s: conformal.conformal_quantile(s, coverage))(draws)
    rank = conformal.conformal_rank(n, coverage)
    law = stats.beta(rank, n + 1 - rank)
    assert stats.kstest(np.asarray(thresholds), law.cdf).pvalue > 1e-4


def test_intervals_cover_and_the_band_holds_its_share():
    """Heteroscedastic data, 2000 experiments: the share outside the exact 95 % band is at
    most .05 and the mean coverage is k/(n+1), within 4 standard errors."""
    n, m, coverage = 60, 40, 0.9

    def experiment(key):
        keys = jax.random.split(key, 2)
        x = jax.random.uniform(keys[0], (n + m,))
        y = x + (0.1 + x) * jax.random.normal(keys[1], (n + m,))
        spec = conformal.ConformalizedQuantileRegression(coverage)
        calibrated = spec.calibrate(x[:n] - 0.3, x[:n] + 0.1, y[:n])
        lower, upper = calibrated.interval(x[n:] - 0.3, x[n:] + 0.1)
        return jnp.mean((lower <= y[n:]) & (y[n:] <= upper))

    reached = np.asarray(jax.vmap(experiment)(jax.random.split(jax.random.key(6), 2000)))
    band = conformal.coverage_band(n, m, coverage)
    error = reached.std() / np.sqrt(2000)
    assert abs(reached.mean() - band.expected) < 4 * error
    outside = np.mean((reached < band.lower - 1e-6) | (reached > band.upper + 1e-6))
    assert outside < 0.05 + 4 * np.sqrt(0.05 * 0.95 / 2000)


def test_the_band_is_the_beta_binomial_one(shared_data):
    case = np.load(shared_data / "conformal_oracle" / "coverage_law.npz")
    assert set(case.files)  # the file is there and readable
    for n, m, coverage in ((50, 20, 0.9), (200, 200, 0.9), (999, 1000, 0.95)):
        rank = conformal.conformal_rank(n, coverage)
        band = conformal.coverage_band(n, m, coverage)
        law = stats.betabinom(m, rank, n + 1 - rank)
        inside = law.cdf(round(band.upper * m)) - law.cdf(round(band.lower * m) - 1)
        assert inside >= 0.95
        narrower = law.cdf(round(band.upper * m) - 1) - law.cdf(round(band.lower * m))
        assert narrower < 0.95
    assert conformal.coverage_band(5, 10, 0.9) == (1.0, 1.0, 1.0)


def test_metamorphic_identities():
    scores = jax.random.normal(jax.random.key(8), (57,))
    threshold = conformal.conformal_quantile(scores, 0.85)
    shuffled = jax.random.permutation(jax.random.key(9), scores)
    assert conformal.conformal_quantile(shuffled, 0.85) == threshold
    assert conformal.conformal_quantile(jnp.exp(scores), 0.85) == jnp.exp(threshold)
    symmetric = conformal.ConformalizedQuantileRegression(0.85)
    y = scores
    zero = jnp.zeros(57)
    one = conformal.SplitRegression(0.85).calibrate(zero, y).interval(zero)
    two = symmetric.calibrate(zero, zero, y).interval(zero, zero)
    np.testing.assert_array_equal(one, two)


def test_crossed_intervals_collapse_to_a_point():
    wide = jnp.full(20, 5.0)
    calibrated = conformal.ConformalizedQuantileRegression(0.5).calibrate(
        -wide, wide, jnp.zeros(20)
    )
    assert calibrated.thresholds.values[0] == -5.0
    lower, upper = calibrated.interval(jnp.array([-1.0]), jnp.array([2.0]))
    np.testing.assert_array_equal([lower[0], upper[0]], [0.5, 0.5])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: conformal.SplitRegression(1.0), "coverage must lie strictly between 0 and 1"),
        (lambda: conformal.conformal_quantile(jnp.ones((2, 2)), 0.9), r"got shape \(2, 2\)"),
        (lambda: conformal.conformal_quantile(jnp.array([jnp.nan]), 0.9), "NaN; 1 of 1"),
        (lambda: conformal.SplitRegression().calibrate(jnp.ones(3), jnp.ones(4)), "y must have"),
        (
            lambda: conformal.SplitRegression().calibrate(jnp.ones(3), jnp.ones(3), jnp.zeros(3)),
            "scale must be finite and positive",
        ),
        (
            lambda: (
                conformal.SplitRegression()
                .calibrate(jnp.ones(3), jnp.ones(3))
                .interval(jnp.ones(2), jnp.ones(2))
            ),
            "it was not",
        ),
        (lambda: conformal.coverage_band(0, 5, 0.9), "calibration must be a whole number >= 1"),
    ],
)
def test_bad_input_is_refused(call, message):
    with refuses(message):
        call()


def test_levels_from_arithmetic_in_float32_mean_what_was_meant():
    """0.90000004 is 9/10: nine scores are enough for it."""
    levels = jnp.arange(1, 10) / jnp.float32(10)
    assert [conformal.conformal_rank(9, level) for level in np.asarray(levels)] == list(
        range(1, 10)
    )
    assert conformal.conformal_rank(5, np.float32(2 / 3)) == 4
    assert conformal.conformal_rank(99, np.float32(0.123)) == 13


def test_a_traced_coverage_is_refused_by_name():
    scores = jnp.arange(19.0)
    for call in (
        lambda c: conformal.conformal_rank(19, c),
        lambda c: conformal.coverage_band(19, 100, c),
        lambda c: conformal.ACI(c).run(scores),
    ):
        with refuses("coverage must be a known number"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # equinox, of an array in a static field
            jax.jit(call)(0.9)
    with refuses("coverage must be a single number; got str"):
        conformal.SplitRegression("0.9")


def test_whole_numbers_beyond_32_bits():
    scores = 3_000_000_000 + 1000 * np.arange(19)
    found = conformal.conformal_quantile(scores, 0.9)
    np.testing.assert_allclose(found, scores[17], rtol=1e-6)
