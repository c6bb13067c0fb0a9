"""Calibrated probabilities and calibration errors, against refits, peers and known laws."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, optimize, stats
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss

from estimators import conformal, io
from estimators.testing import refuses

KEY = jax.random.key(0)


def forecasts(n, power=1.0, seed=0, dtype=np.float64):
    """Uniform probabilities p, and labels that are 1 with probability p**power."""
    rng = np.random.default_rng(seed)
    p = rng.random(n)
    return jnp.asarray(p, dtype), jnp.asarray(rng.random(n) < p**power)


# Venn predictors


def test_venn_abers_equals_the_oracle_to_the_last_digit(x64, shared_data):
    case = np.load(shared_data / "conformal_oracle" / "venn_abers.npz")
    found = (
        conformal.VennAbers().calibrate(case["p_cal"], case["y_cal"]).probability(case["p_test"])
    )
    np.testing.assert_array_equal(np.stack([found.lower, found.upper], 1), case["p0p1"])
    np.testing.assert_array_equal(found.merged, case["p_comb"][:, 1])


@pytest.mark.parametrize("weighted", [False, True])
def test_venn_abers_is_two_refits_with_the_new_row(x64, weighted):
    """Tied scores, new scores among and beyond them, labels of one class, weights of zero."""
    rng = np.random.default_rng(1)
    for trial in range(12):
        scores = np.round(rng.normal(size=24), 1 if trial % 2 else 9)
        labels = (rng.random(24) < [0.0, 1.0, 0.3, 0.6][trial % 4]).astype(int)
        weights = rng.integers(0, 4, 24) * 1.0 if weighted else np.ones(24)
        new = np.concatenate([scores[:4], [-9.0, 9.0], rng.normal(size=3)])
        options = {"weights": weights} if weighted else {}
        found = conformal.VennAbers().calibrate(scores, labels, **options).probability(new)
        for label, bound in enumerate((found.lower, found.upper)):
            refits = [
                IsotonicRegression()
                .fit(np.append(scores, x), np.append(labels, label), np.append(weights, 1))
                .predict([x])[0]
                for x in new
            ]
            np.testing.assert_allclose(bound, refits, rtol=1e-12, atol=1e-15)
        inside = (found.lower <= found.merged) & (found.merged <= found.upper)
        assert inside.all()


@pytest.mark.thorough
def test_venn_abers_depends_on_the_order_of_scores_alone():
    p, labels = forecasts(60, dtype=np.float32)
    plain = conformal.VennAbers().calibrate(p, labels).probability(p)
    order = np.random.default_rng(0).permutation(60)
    moved = conformal.VennAbers().calibrate(p[order] ** 3, labels[order]).probability(p**3)
    np.testing.assert_array_equal(plain.upper, moved.upper)
    np.testing.assert_array_equal(plain.lower, moved.lower)
    turned = conformal.VennAbers().calibrate(-p, ~labels).probability(-p)
    np.testing.assert_allclose(1 - turned.upper, plain.lower, atol=1e-6)
    doubled = (
        conformal.VennAbers().calibrate(jnp.repeat(p, 2), jnp.repeat(labels, 2)).probability(p)
    )
    weighted = conformal.VennAbers().calibrate(p, labels, weights=jnp.full(60, 2.0)).probability(p)
    np.testing.assert_allclose(doubled.upper, weighted.upper, rtol=1e-6)


@pytest.mark.thorough
def test_several_classes_are_one_against_the_rest():
    scores = jax.random.normal(KEY, (60, 3))
    labels = jnp.argmax(scores + jax.random.normal(jax.random.key(1), (60, 3)), 1)
    found = conformal.VennAbers().calibrate(scores, labels).probability(scores.reshape(2, 30, 3))
    assert found.lower.shape == (2, 30, 3)
    for k in range(3):
        one = conformal.VennAbers().calibrate(scores[:, k], labels == k).probability(scores[:, k])
        np.testing.assert_array_equal(found.upper[..., k].ravel(), one.upper)
        np.testing.assert_array_equal(found.lower[..., k].ravel(), one.lower)
    np.testing.assert_allclose(found.merged.sum(-1), 1, rtol=1e-6)


def test_venn_abers_under_jit_and_vmap():
    p, labels = (a.reshape(3, 20) for a in forecasts(60, dtype=np.float32))

    def upper(p, labels):
        return conformal.VennAbers().calibrate(p, labels).probability(p[:4]).upper

    got = jax.jit(jax.vmap(upper))(p, labels)
    np.testing.assert_array_equal(
        got, jnp.stack([upper(*row) for row in zip(p, labels, strict=True)])
    )
    assert jnp.isnan(jax.jit(upper)(p[0].at[3].set(jnp.nan), labels[0])).all()
    assert jnp.isnan(jax.jit(upper)(p[0], labels[0] * 2)).all()


def test_venn_predictor_is_the_frequency_with_the_new_row_counted():
    rng = np.random.default_rng(0)
    groups, labels = rng.integers(0, 4, 50), rng.integers(0, 3, 50)
    found = conformal.VennPredictor(3).calibrate(groups, labels, count=5).probability(np.arange(5))
    for group, label, true in itertools.product(range(5), range(3), range(3)):
        own = np.append(labels[groups == group], true)
        bound = found.upper if true == label else found.lower
        np.testing.assert_allclose(bound[group, label], np.mean(own == label), rtol=1e-6)
    np.testing.assert_allclose(found.merged.sum(-1), 1, rtol=1e-6)
    jitted = jax.jit(lambda g: conformal.VennPredictor(3).calibrate(g, labels, count=4).counts)
    np.testing.assert_array_equal(jitted(groups), np.asarray(found_counts(groups, labels)))
    with refuses("groups must lie between 0 and 4"):
        conformal.VennPredictor(3).calibrate(groups, labels, count=5).probability(np.asarray([5]))


def found_counts(groups, labels):
    """Counts of labels in groups."""
    return [[np.sum((groups == g) & (labels == k)) for k in range(3)] for g in range(4)]


# Calibrators


def test_isotonic_scaling_equals_the_peer(x64):
    rng = np.random.default_rng(0)
    scores = np.round(rng.normal(size=80), 1)
    labels = (rng.random(80) < 1 / (1 + np.exp(-scores))).astype(int)
    new = np.linspace(-4, 4, 50)
    peer = IsotonicRegression(out_of_bounds="clip").fit(scores, labels)
    found = conformal.IsotonicScaling().calibrate(scores, labels).probability(new)
    np.testing.assert_allclose(found, peer.predict(new), rtol=1e-12, atol=1e-15)


def test_platt_scaling_equals_the_peer(x64):
    scores, labels = np.asarray(jax.random.normal(KEY, (80,))), np.arange(80) % 3 == 0
    peer = LogisticRegression(C=np.inf, tol=1e-12).fit(scores[:, None], labels)
    found = conformal.PlattScaling().calibrate(scores, labels)
    np.testing.assert_allclose(found.coefficients[0], peer.coef_[0, 0], atol=1e-6)
    np.testing.assert_allclose(
        found.probability(scores), peer.predict_proba(scores[:, None])[:, 1], atol=1e-6
    )
    np.testing.assert_allclose(
        found.log_loss, log_loss(labels, peer.predict_proba(scores[:, None])), rtol=1e-10
    )


@pytest.mark.parametrize("classes", [2, 4])
def test_temperature_is_the_best_there_is(x64, classes):
    """By a search over it; and two columns of logits are one logit."""
    logits = 3 * jax.random.normal(KEY, (90, classes))
    labels = jax.random.categorical(jax.random.key(1), logits / 2)
    found = conformal.TemperatureScaling().calibrate(logits, labels)

    def loss(log_temperature):
        rows = jax.nn.log_softmax(logits / np.exp(log_temperature), -1)
        return -float(jnp.mean(jnp.take_along_axis(rows, labels[:, None], 1)))

    best = optimize.minimize_scalar(loss, (-1, 2), tol=1e-10)
    np.testing.assert_allclose(-np.log(found.coefficients[0]), best.x, atol=1e-6)
    np.testing.assert_allclose(found.log_loss, best.fun, rtol=1e-12)
    p = found.probability(logits)
    np.testing.assert_array_equal(jnp.argmax(p, 1), jnp.argmax(logits, 1))
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-12)
    if classes == 2:
        one = conformal.TemperatureScaling().calibrate(logits[:, 1] - logits[:, 0], labels)
        np.testing.assert_allclose(one.probability(logits[:, 1] - logits[:, 0]), p[:, 1])


def test_temperature_of_logits_that_mislead_is_infinite():
    logits, labels = jnp.array([2.0, 1.0, -1.0, -2.0]), jnp.array([0, 0, 1, 1])
    found = conformal.TemperatureScaling().calibrate(logits, labels)
    assert found.coefficients[0] == 0
    np.testing.assert_array_equal(found.probability(logits), 0.5)


@pytest.mark.parametrize("law", ["free", "one at zero", "falling"])
def test_beta_scaling_is_the_best_there_is(x64, law):
    """By a bounded search; each law has other constraints at work."""
    p = np.asarray(jax.random.uniform(KEY, (200,)))
    rising = {"free": p**2, "one at zero": np.where(p < 0.5, 0.7 - p, p), "falling": 1 - p}[law]
    labels = np.asarray(jax.random.uniform(jax.random.key(1), (200,))) < rising
    found = conformal.BetaScaling().calibrate(p, labels)

    def loss(c):
        logits = c[0] * np.log(p) - c[1] * np.log1p(-p) + c[2]
        return np.mean(np.logaddexp(0, logits) - labels * logits)

    bounds = [(0, None), (0, None), (None, None)]
    best = optimize.minimize(loss, [1, 1, 0], bounds=bounds, options={"ftol": 1e-15})
    np.testing.assert_allclose(found.log_loss, best.fun, rtol=1e-9)
    np.testing.assert_allclose(found.coefficients, best.x, atol=1e-3)
    at_zero = {"free": 0, "one at zero": 1, "falling": 2}[law]
    assert (found.coefficients[:2] >= 0).all()
    assert jnp.sum(found.coefficients[:2] == 0) == at_zero


@pytest.mark.thorough
def test_scaling_under_jit_and_vmap_and_in_float32():
    p, labels = (a.reshape(4, 50) for a in forecasts(200, 2.0, dtype=np.float32))

    def fit(p, labels):
        return conformal.BetaScaling().calibrate(p, labels)

    batch = jax.jit(jax.vmap(fit))(p, labels)
    assert batch.coefficients.dtype == jnp.float32
    for i in range(4):
        alone = fit(p[i], labels[i])
        np.testing.assert_allclose(batch.coefficients[i], alone.coefficients, atol=2e-2)
        np.testing.assert_allclose(batch.log_loss[i], alone.log_loss, rtol=1e-5)
    broken = jax.jit(fit)(p[0].at[0].set(1.5), labels[0])
    assert jnp.isnan(broken.coefficients).all()


# Calibration errors


def binned_by_hand(p, y, edges, power):
    bin = np.clip(np.searchsorted(edges, p, side="right") - 1, 0, len(edges) - 2)
    parts = [(np.mean(bin == b), (y - p)[bin == b]) for b in np.unique(bin)]
    return sum(share * abs(rows.mean()) ** power for share, rows in parts)


@pytest.mark.parametrize("power", [1, 2])
def test_plain_binned_error_is_what_it_says(x64, power):
    p, labels = (np.asarray(a) for a in forecasts(90, 2.0))
    found = conformal.calibration_error(
        p, labels, binning="width", bins=7, power=power, debias=False
    )
    by_hand = binned_by_hand(p, labels, np.linspace(0, 1, 8), power)
    np.testing.assert_allclose(found.value, by_hand, rtol=1e-12)
    found = conformal.calibration_error(p, labels, bins=7, power=power, debias=False)
    order = np.argsort(p)
    parts = np.split((labels - p)[order], -(-90 * np.arange(1, 7) // 7))
    by_hand = sum(len(rows) / 90 * abs(rows.mean()) ** power for rows in parts)
    np.testing.assert_allclose(found.value, by_hand, rtol=1e-12)


def test_debiased_square_is_kumars_where_probabilities_are_equal_in_a_bin(x64):
    """Kumar et al. 2019: `(mean y - p)**2 - mean y (1 - mean y) / (n_b - 1)`."""
    p = np.repeat([0.1, 0.45, 0.9], 30)
    y = np.asarray(jax.random.uniform(KEY, (90,))) < p**2
    means = y.reshape(3, 30).mean(1)
    theirs = np.mean((means - [0.1, 0.45, 0.9]) ** 2 - means * (1 - means) / 29)
    for binning, bins in (("mass", 3), ("width", 5)):
        found = conformal.calibration_error(p, y, bins=bins, binning=binning, power=2)
        np.testing.assert_allclose(found.value, theirs, rtol=1e-12)


@pytest.mark.parametrize("power", [1, 2])
def test_errors_have_no_bias_where_probabilities_are_right(x64, power):
    """Mean over 400 samples within 3.5 standard errors of 0: a false alarm in 2000 runs each."""
    p = jax.random.uniform(KEY, (400, 60))
    labels = jax.random.uniform(jax.random.key(1), (400, 60)) < p
    binned = jax.vmap(lambda *rows: conformal.calibration_error(*rows, bins=6, power=power).value)
    kernel = jax.vmap(
        lambda *rows: conformal.kernel_calibration_error(*rows, bandwidth=0.05, power=power).value
    )
    plain = jax.vmap(
        lambda *rows: conformal.calibration_error(*rows, bins=6, power=power, debias=False).value
    )
    for values, biased in ((binned(p, labels), False), (kernel(p, labels), False)):
        z = jnp.mean(values) / jnp.std(values) * 20
        assert abs(z) < 3.5, (biased, z)
    values = plain(p, labels)
    assert jnp.mean(values) / jnp.std(values) * 20 > 20


def kernel_by_hand(f, y, bandwidth):
    """The leave-one-out ratio in numpy, by densities."""
    alpha = f / bandwidth + 1
    density = np.stack([stats.dirichlet.pdf(f.T, a) for a in alpha], 1)
    np.fill_diagonal(density, 0)
    return density @ y / density.sum(1, keepdims=True)


@pytest.mark.parametrize("power", [1, 2])
def test_kernel_error_is_the_published_ratio(x64, power):
    """Eq. 9 by Dirichlet densities of scipy; more rows than one block."""
    logits = jax.random.normal(KEY, (150, 3))
    f = np.asarray(jax.nn.softmax(logits))
    f = f / f.sum(1, keepdims=True)
    labels = np.asarray(jax.random.categorical(jax.random.key(1), 2 * logits))
    onehot = np.eye(3)[labels]
    options = {"bandwidth": 0.1, "power": power}
    found = conformal.kernel_calibration_error(f, labels, debias=False, **options)
    gap = kernel_by_hand(f, onehot, 0.1) - f
    np.testing.assert_allclose(found.value, np.mean(np.sum(abs(gap) ** power, 1)), rtol=1e-8)
    right, top = labels == f.argmax(1), f.max(1)
    pair = np.stack([top, 1 - top], 1)
    gap = kernel_by_hand(pair, right[:, None] * 1.0, 0.1)[:, 0] - top
    found = conformal.kernel_calibration_error(f, labels, kind="top-label", debias=False, **options)
    np.testing.assert_allclose(found.value, np.mean(abs(gap) ** power), rtol=1e-8)
    alone = conformal.kernel_calibration_error(top, right, debias=False, **options)
    np.testing.assert_allclose(alone.value, found.value, rtol=1e-12)


def test_gradient_of_the_kernel_error_equals_finite_differences(x64):
    """In all logits and the bandwidth, across two blocks."""
    logits = jax.random.normal(KEY, (70, 3))
    labels = jax.random.categorical(jax.random.key(1), 2 * logits)

    def loss(logits, bandwidth, power):
        f = jax.nn.softmax(logits)
        options = {"bandwidth": bandwidth, "power": power, "debias": False}
        return conformal.kernel_calibration_error(f, labels, **options).value

    direction = jax.random.normal(jax.random.key(2), logits.shape)
    for power in (1, 2):
        value = jax.jit(lambda t, power=power: loss(logits + t * direction, 0.1 + 0.01 * t, power))
        slope = jax.grad(value)(0.0)
        np.testing.assert_allclose(slope, (value(1e-6) - value(-1e-6)) / 2e-6, rtol=1e-5)


def test_kernel_error_at_the_corners_of_the_simplex_has_a_gradient():
    f = jnp.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [0.2, 0.8]])
    labels = jnp.array([0, 1, 0, 1])

    def loss(f):
        return conformal.kernel_calibration_error(f, labels, bandwidth=0.1, debias=False).value

    assert jnp.isfinite(jax.grad(loss)(f)).all()


@pytest.mark.parametrize("measure", ["binned", "kernel"])
def test_errors_find_the_truth(measure):
    """Of labels with probability p**2: mean p - p**2 is 1/6, its square 1/30; four errors."""
    p, labels = forecasts(4000, 2.0, seed=3, dtype=np.float32)
    estimate = {
        "binned": lambda power: conformal.calibration_error(p, labels, power=power),
        "kernel": lambda power: conformal.kernel_calibration_error(
            p, labels, power=power, bandwidth=0.003
        ),
    }[measure]
    for power, truth in ((1, 1 / 6), (2, 1 / 30)):
        found = estimate(power)
        assert abs(found.value - truth) < 4 * found.standard_error
        assert found.standard_error < 0.012
        lower, upper = found.interval(0.99)
        assert lower < found.value < upper


@pytest.mark.thorough
def test_bandwidth_is_the_most_likely_of_its_grid(x64):
    p = np.asarray(jax.random.beta(KEY, 2.0, 5.0, (80,)))
    pairs = np.stack([p, 1 - p], 1)
    grid = np.logspace(-3, 0, 15)

    def likelihood(bandwidth):
        density = np.stack([stats.dirichlet.pdf(pairs.T, a) for a in pairs / bandwidth + 1], 1)
        np.fill_diagonal(density, 0)
        return np.log(density.sum(1)).mean()

    best = grid[np.argmax([likelihood(bandwidth) for bandwidth in grid])]
    np.testing.assert_allclose(conformal.dirichlet_bandwidth(p), best, rtol=1e-6)
    labels = p < 0.4
    auto = conformal.kernel_calibration_error(p, labels)
    np.testing.assert_allclose(
        auto.value, conformal.kernel_calibration_error(p, labels, bandwidth=best).value
    )


@pytest.mark.thorough
def test_of_many_classes_the_top_label_counts():
    f = jax.nn.softmax(2 * jax.random.normal(KEY, (60, 4)))
    labels = jnp.arange(60) % 4
    top, right = jnp.max(f, 1), jnp.argmax(f, 1) == labels
    options = {"bins": 5}
    for call in (conformal.calibration_error, conformal.reliability):
        one, other = call(f, labels, **options), call(top, right, **options)
        assert all(
            np.array_equal(a, b)
            for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
        )
    tests = [
        conformal.calibration_test(*rows, key=KEY, draws=19) for rows in ((f, labels), (top, right))
    ]
    assert tests[0].p_value == tests[1].p_value


def test_calibration_test_finds_what_is_wrong_and_keeps_its_level():
    """p-values of 200 calibrated samples: a KS test with false alarms in 1 of 1000 runs."""
    p = jax.random.uniform(KEY, (200, 50))
    uniform = jax.random.uniform(jax.random.key(1), (200, 50))
    labels, wrong = uniform < p, uniform < p**3
    keys = jax.random.split(jax.random.key(2), 200)

    def test(p, labels, key):
        return conformal.calibration_test(p, labels, key=key, bins=5, draws=99).p_value

    values = jax.vmap(test)(p, labels, keys)
    assert stats.kstest(np.asarray(values) - 0.005, "uniform").pvalue > 1e-3
    assert jnp.mean(jax.vmap(test)(p, wrong, keys) <= 0.05) > 0.6
    found = conformal.calibration_test(p[0], labels[0], key=KEY, bins=5, draws=9)
    error = conformal.calibration_error(p[0], labels[0], bins=5, power=2, debias=False)
    np.testing.assert_allclose(found.statistic, error.value, rtol=1e-5)
    # Certain and right: no draw can be smaller, and all are as large.
    sure = jnp.array([0.0, 1.0, 1.0])
    assert conformal.calibration_test(sure, sure > 0, key=KEY, bins=1, draws=9).p_value == 1


# Levels of predictive distributions


def test_recalibrated_levels_are_conformal_quantiles():
    """Of the level itself from 1/2 on; of its distance from 1/2 for a central interval."""
    pit = jax.random.beta(KEY, 2.0, 1.0, (59,))
    calibrated = conformal.QuantileRecalibration(0.8).calibrate(pit)
    for level in (0.5, 0.75, 0.9):
        got = calibrated.levels([level])[0]
        assert got == conformal.conformal_quantile(pit, level)
    # 1 - Z mirrors the map.
    mirror = conformal.QuantileRecalibration(0.8).calibrate(1 - pit)
    np.testing.assert_allclose(mirror.levels([0.1, 0.9]), 1 - calibrated.levels([0.1, 0.9])[::-1])
    folded = conformal.QuantileRecalibration().calibrate(jnp.abs(2 * pit - 1))
    central = conformal.DistributionalConformal(0.8).calibrate_distribution(pit)
    np.testing.assert_allclose(folded.levels([0.8])[0], 2 * central.threshold, rtol=1e-6)
    lower, upper = calibrated.interval()
    ordered = jnp.sort(pit)
    assert (lower, upper) == (ordered[5], ordered[53])
    assert calibrated.guarantee.at_least == 48 / 60
    assert calibrated.reason is None


def test_too_few_rows_give_the_outermost_levels():
    calibrated = conformal.QuantileRecalibration(0.9).calibrate(jnp.array([0.3, 0.6]))
    np.testing.assert_array_equal(calibrated.levels([0.1, 0.9]), [0, 1])
    assert calibrated.interval() == (0, 1)
    assert "needs at least 19" in calibrated.reason


def test_recalibrated_values_are_smoothed_ranks():
    pit = jnp.array([0.2, 0.4, 0.4, 0.9])
    calibrated = conformal.QuantileRecalibration().calibrate(pit)
    got = calibrated.distribution(jnp.array([0.0, 0.4, 0.5, 1.0]))
    np.testing.assert_allclose(got, [0.2, 0.8, 0.8, 1.0], rtol=1e-6)
    smooth = jax.vmap(lambda key: calibrated.distribution(jnp.asarray(0.4), key=key))
    values = np.asarray(smooth(jax.random.split(KEY, 300)))
    # False alarm in 1 of 1000 runs.
    assert stats.kstest(values, "uniform", (0.2, 0.6)).pvalue > 1e-3


@pytest.mark.parametrize("power", [1, 2])
def test_pit_error_is_the_integral(x64, power):
    pit = np.asarray(jax.random.beta(KEY, 2.0, 1.0, (25,)))
    found = conformal.pit_calibration_test(pit, key=KEY, power=power, draws=199)

    def gap(u):
        return abs(np.mean(pit <= u) - u) ** power

    ends = np.concatenate([[0], np.sort(pit), [1]])
    by_hand = sum(integrate.quad(gap, *pair)[0] for pair in itertools.pairwise(ends))
    np.testing.assert_allclose(found.statistic, by_hand, rtol=1e-6)
    if power == 2:
        peer = stats.cramervonmises(pit, "uniform")
        np.testing.assert_allclose(found.statistic * 25, peer.statistic, rtol=1e-10)
        # Four standard errors of 199 draws.
        assert abs(found.p_value - peer.pvalue) < 4 * np.sqrt(peer.pvalue / 199) + 0.005


# Confidence that knows when it is wrong


def mixed_logits(key, n=600):
    """Logits that are right where their third entry is low, and arbitrary where it is high."""
    of_kind, of_logits, of_label = jax.random.split(key, 3)
    bad = jax.random.bernoulli(of_kind, 0.5, (n,))
    first = jnp.stack([jnp.zeros(n), 3.0 * jax.random.rademacher(of_logits, (n,))], 1)
    logits = jnp.append(first, jnp.where(bad, -2.0, -9.0)[:, None], 1)
    labels = jax.random.categorical(of_label, jnp.where(bad[:, None], 0.05, 1.0) * first)
    return logits, labels, bad


def test_correctness_scaling_tells_rows_apart_that_one_temperature_cannot():
    logits, labels, _ = mixed_logits(KEY)
    new, new_labels, new_bad = mixed_logits(jax.random.key(1))
    spec = conformal.CorrectnessScaling(top=3, width=8, steps=150)
    calibrated = spec.calibrate(logits, labels, key=KEY)
    p = calibrated.probability(new)
    right = jnp.argmax(new, 1) == new_labels
    np.testing.assert_array_equal(jnp.argmax(p, 1), jnp.argmax(new, 1))

    def brier(p):
        return jnp.mean((jnp.max(p, 1) - right) ** 2)

    one = conformal.TemperatureScaling().calibrate(logits, labels).probability(new)
    best = jnp.where(new_bad, jnp.mean(right[new_bad]), jnp.mean(right[~new_bad]))
    floor = jnp.mean((best - right) ** 2)
    assert brier(p) - floor < 0.2 * (brier(one) - floor)
    temperature = calibrated.temperature(new)
    assert jnp.min(temperature[new_bad]) > jnp.max(temperature[~new_bad])
    again = spec.calibrate(logits, labels, key=KEY)
    assert (again.probability(new) == p).all()


# Reliability


def test_reliability_counts_and_bars(x64):
    p, labels = (np.asarray(a) for a in forecasts(230, 2.0))
    for binning in ("width", "mass"):
        found = conformal.reliability(p, labels, bins=8, binning=binning, coverage=0.8)
        assert found.count.sum() == 230
        for b in range(8):
            inside = (p >= found.edges[b]) & ((p < found.edges[b + 1]) | (b == 7))
            assert inside.sum() == found.count[b]
            np.testing.assert_allclose(found.predicted[b], p[inside].mean(), rtol=1e-12)
            np.testing.assert_allclose(found.observed[b], labels[inside].mean(), rtol=1e-12)
        law = stats.binom(np.asarray(found.count), np.asarray(found.predicted))
        np.testing.assert_allclose(found.lower, law.ppf(0.1) / found.count, rtol=1e-12)
        np.testing.assert_allclose(found.upper, law.ppf(0.9) / found.count, rtol=1e-12)


def test_reliability_of_certain_rows_and_of_empty_bins():
    p = jnp.array([0.0, 0.0, 1.0, 1.0])
    found = conformal.reliability(p, p > 0, bins=3, binning="width")
    np.testing.assert_array_equal(found.count, [2, 0, 2])
    np.testing.assert_array_equal(found.lower, [0, np.nan, 1])
    np.testing.assert_array_equal(found.upper, [0, np.nan, 1])


@pytest.mark.parametrize("score", ["brier", "log"])
def test_corp_parts_add_up_to_the_score(x64, score):
    p, labels = (np.asarray(a) for a in forecasts(120, 2.0))
    p = np.round(0.01 + 0.98 * p, 2)
    found = conformal.corp_reliability(p, labels, score=score)
    peer = {"brier": brier_score_loss, "log": log_loss}[score]
    np.testing.assert_allclose(found.mean_score, peer(labels, p), rtol=1e-10)
    parts = found.miscalibration - found.discrimination + found.uncertainty
    np.testing.assert_allclose(found.mean_score, parts, rtol=1e-12)
    refit = IsotonicRegression().fit(p, labels).predict(p)
    np.testing.assert_allclose(found.recalibrated, refit, rtol=1e-12, atol=1e-15)
    again = conformal.corp_reliability(found.recalibrated, labels, score=score)
    np.testing.assert_allclose(again.miscalibration, 0, atol=1e-12)
    np.testing.assert_allclose(again.discrimination, found.discrimination, rtol=1e-10)


@pytest.mark.thorough
def test_pictures_can_be_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    p, labels = forecasts(300, 2.0, dtype=np.float32)
    for record in (conformal.reliability(p, labels, bins=7), conformal.corp_reliability(p, labels)):
        ax = record.plot()
        assert record.plot(ax) is ax
        ax.figure.savefig(tmp_path / "picture.png")
        assert (tmp_path / "picture.png").stat().st_size > 5000


# All of them


def test_results_come_back_from_a_file(tmp_path):
    p, labels = forecasts(40, dtype=np.float32)
    logits = jax.random.normal(KEY, (40, 3))
    objects = [
        (conformal.VennAbers().calibrate(p, labels), lambda f: f.probability(p).merged),
        (conformal.BetaScaling().calibrate(p, labels), lambda f: f.probability(p)),
        (conformal.IsotonicScaling().calibrate(p, labels), lambda f: f.probability(p)),
        (conformal.QuantileRecalibration().calibrate(p), lambda f: f.levels([0.5])),
        (
            conformal.CorrectnessScaling(2, width=4, steps=2).calibrate(
                logits, jnp.arange(40) % 3, key=KEY
            ),
            lambda f: f.probability(logits),
        ),
    ]
    for fitted, use in objects:
        io.save(tmp_path / "fitted", fitted)
        np.testing.assert_array_equal(use(io.load(tmp_path / "fitted")), use(fitted))


P, Y = np.linspace(0.1, 0.9, 8), np.arange(8) % 2
ROWS = np.stack([P, 1 - P], 1)
MEASURES = {
    "binned": lambda p, y: conformal.calibration_error(p, y, bins=2),
    "kernel": lambda p, y: conformal.kernel_calibration_error(p, y, bandwidth=0.1),
    "test": lambda p, y: conformal.calibration_test(p, y, key=KEY, bins=2, draws=9),
    "reliability": lambda p, y: conformal.reliability(p, y, bins=2),
    "corp": conformal.corp_reliability,
}


@pytest.mark.parametrize("measure", MEASURES)
def test_bad_probabilities_and_labels_are_refused(measure):
    call, p = MEASURES[measure], P.astype(np.float32)
    bad = np.where(np.arange(8) == 3, 1.2, p)
    with refuses(r"probabilities must lie in \[0, 1\]; 1 of 8 do not, the first is 1.2"):
        call(bad.astype(np.float32), Y)
    with refuses(r"probabilities must have rows that sum to one; row 0 sums to 0.5"):
        call((ROWS / 2).astype(np.float32), Y)
    with refuses(r"probabilities must be finite"):
        call(p * np.float32(np.nan), Y)
    with refuses(r"labels must lie between 0 and 1; got 2"):
        call(p, Y + 1)
    with refuses(r"labels must have shape \(8,\)"):
        call(p, Y[:5])
    with refuses(r"labels must be whole numbers"):
        call(p, p)
    with refuses(r"probabilities must have shape \(n,\) or \(n, classes\)"):
        call(np.float32(0.3), Y)
    for broken in ((bad.astype(np.float32), Y), (p, Y * 3)):
        values = jax.tree.leaves(jax.jit(call)(*broken))
        assert any(jnp.isnan(v).any() for v in values if v.dtype.kind == "f")


def test_other_bad_input_is_refused():
    p = P.astype(np.float32)
    with refuses("bins must not be more than the rows, 8; got 9"):
        conformal.calibration_error(p, Y, bins=9)
    with refuses("binning must be one of 'mass', 'width'; got 'equal'"):
        conformal.reliability(p, Y, binning="equal", bins=2)
    with refuses(r"power must be one of \(1, 2\); got 3"):
        conformal.calibration_error(p, Y, power=3)
    with refuses("bandwidth must be finite and positive; got 0"):
        conformal.kernel_calibration_error(p, Y, bandwidth=0.0)
    with refuses("probabilities must have at least 2 rows"):
        conformal.kernel_calibration_error(p[:1], Y[:1], bandwidth=0.1)
    with refuses("coverage must lie strictly between 0 and 1; got 1"):
        conformal.reliability(p, Y, bins=2, coverage=1.0)
    with refuses("score must be one of 'brier', 'log'"):
        conformal.corp_reliability(p, Y, score="squared")
    with refuses(r"pit must lie in \[0, 1\]"):
        conformal.QuantileRecalibration().calibrate(p + 1)
    with refuses(r"pit must lie in \[0, 1\]"):
        conformal.pit_calibration_test(p - 1, key=KEY)
    with refuses("key must be a new-style key"):
        conformal.pit_calibration_test(p, key=3)
    with refuses("draws must be a whole number >= 1; got 0"):
        conformal.calibration_test(p, Y, key=KEY, bins=2, draws=0)
    with refuses(r"logits must have at least 2 columns; got shape \(8, 1\)"):
        conformal.CorrectnessScaling().calibrate(p[:, None], Y, key=KEY)
    with refuses("width must be a whole number >= 1; got 0"):
        conformal.CorrectnessScaling(width=0)
    with refuses(r"scores must have shape \(n,\); got shape \(8, 2\)"):
        conformal.PlattScaling().calibrate(ROWS.astype(np.float32), Y)
    with refuses(r"scores must lie in \[0, 1\]"):
        conformal.BetaScaling().calibrate(p * 3, Y)
    for spec in (conformal.TemperatureScaling(), conformal.PlattScaling(), conformal.BetaScaling()):
        with refuses("labels must be of at least 2 classes; all are"):
            spec.calibrate(p, Y * 0)
    with refuses("labels must be of at least 2 classes; all are"):
        conformal.IsotonicScaling().calibrate(p, Y * 0)
    fitted = conformal.TemperatureScaling().calibrate(ROWS.astype(np.float32), Y)
    with refuses(r"scores must have shape \(\*batch, 2\); got shape \(8,\)"):
        fitted.probability(p)
    with refuses("scores must be finite"):
        conformal.VennAbers().calibrate(p * np.float32(np.inf), Y)
    with refuses("scores must have at least 1 row"):
        conformal.VennAbers().calibrate(p[:0], Y[:0])
    with refuses("weights must not be negative"):
        conformal.VennAbers().calibrate(p, Y, weights=-p)
    with refuses("classes must be a whole number >= 2; got 1"):
        conformal.VennPredictor(1)


@pytest.mark.parametrize(("unit", "origin"), [(1, 1000), (1e-4, 0), (1e30, 1e30)])
def test_units_of_scores_do_not_matter(unit, origin):
    """Platt's curve is the same in float32, up to what a far origin leaves of the scores."""
    scores = jax.random.normal(KEY, (200,))
    labels = jax.random.uniform(jax.random.key(1), (200,)) < jax.nn.sigmoid(2 * scores + 0.5)
    plain = conformal.PlattScaling().calibrate(scores, labels)
    moved = conformal.PlattScaling().calibrate(scores * unit + origin, labels)
    np.testing.assert_allclose(moved.log_loss, plain.log_loss, rtol=1e-4)
    np.testing.assert_allclose(
        moved.probability(scores * unit + origin), plain.probability(scores), atol=1e-3
    )
    np.testing.assert_allclose(moved.coefficients[0] * unit, plain.coefficients[0], rtol=1e-3)


def test_a_common_part_of_logits_does_not_matter():
    logits = 2 * jax.random.normal(KEY, (200, 3))
    labels = jax.random.categorical(jax.random.key(1), logits / 2)
    plain = conformal.TemperatureScaling().calibrate(logits, labels)
    moved = conformal.TemperatureScaling().calibrate(logits + 1e4, labels)
    np.testing.assert_allclose(moved.coefficients, plain.coefficients, rtol=1e-3)
    np.testing.assert_allclose(
        moved.probability(logits + 1e4), plain.probability(logits), atol=2e-3
    )


@pytest.mark.parametrize("scale", [1.0, 1e6, 1e20])
def test_venn_abers_with_weights_far_above_one_row(scale):
    """Against the isotonic fit with the row put in, in float64."""
    rng = np.random.default_rng(3)
    scores = rng.integers(0, 12, 40).astype(np.float32)
    labels = (rng.random(40) < scores / 12).astype(int)
    weights = (scale * rng.lognormal(size=40)).astype(np.float32)
    new = np.array([-1, 2, 5.5, 9, 20], np.float32)
    found = conformal.VennAbers().calibrate(scores, labels, weights=weights).probability(new)
    for label, got in ((0, found.lower), (1, found.upper)):
        expected = [
            IsotonicRegression()
            .fit(np.append(scores, row), np.append(labels, label), np.append(weights, 1.0))
            .predict([row])[0]
            for row in new.astype(float)
        ]
        np.testing.assert_allclose(got, expected, atol=1e-5)
