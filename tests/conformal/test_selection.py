"""Outliers and selections: definitions written out, exact arithmetic, peers, and refusals."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from estimators import io
from estimators.conformal import (
    ConformalSelection,
    OutlierDetection,
    benjamini_hochberg,
    e_benjamini_hochberg,
)
from estimators.conformal._predictive import conformal_p_values
from estimators.conformal._selection._conditional import conditional_levels
from estimators.testing import refuses

KEY = jax.random.key(0)


def oracle(shared_data):
    return np.load(shared_data / "conformal_oracle" / "outlier_bh.npz")


def step_up_by_definition(p, rate):
    """The k smallest, k the last with p_(k) <= rate k / m; in the arithmetic of what is given."""
    m = len(p)
    ordered = sorted(p)
    k = max((i for i in range(1, m + 1) if ordered[i - 1] <= rate * i / m), default=0)
    return np.array([k > 0 and value <= ordered[k - 1] for value in p])


def test_adjusted_p_values_equal_the_oracle(x64, shared_data):
    case = oracle(shared_data)
    for method in ("bh", "by"):
        got = benjamini_hochberg(case["p"], 0.1, method=method)
        np.testing.assert_array_equal(got.adjusted, case[method])
    rng = np.random.default_rng(0)
    p = np.round(rng.uniform(size=100) ** 2, 2)
    expected = stats.false_discovery_control(p, method="bh")
    np.testing.assert_allclose(benjamini_hochberg(p).adjusted, expected, rtol=1e-15)


def test_p_values_that_meet_the_line_are_rejected():
    """In float32, against fractions: some counts over n + 1 lie on it exactly."""
    rng = np.random.default_rng(0)
    met = 0
    for trial in range(200):
        n, rate = 60 * int(rng.integers(1, 9)) - 1, Fraction(int(rng.integers(1, 10)), 20)
        counts = np.minimum(rng.geometric(3 / n, 12), n + 1)
        exact = [Fraction(int(count), n + 1) for count in counts]
        expected = step_up_by_definition(exact, rate)
        got = benjamini_hochberg(np.float32(counts) / np.float32(n + 1), float(rate)).rejected
        np.testing.assert_array_equal(got, expected, err_msg=f"trial {trial}")
        met += any(p == rate * i / 12 for i, p in enumerate(sorted(exact), 1))
    assert met > 20


def test_weights_and_storey_by_definition(x64):
    rng = np.random.default_rng(1)
    for _ in range(20):
        p, weights = rng.uniform(size=30) ** 2, rng.exponential(size=30) * (rng.random(30) > 0.2)
        relative = weights / weights.mean()
        with np.errstate(divide="ignore"):
            weighed = p / relative
        got = benjamini_hochberg(p, 0.3, weights=weights)
        np.testing.assert_array_equal(got.rejected, step_up_by_definition(weighed, 0.3))
        assert not np.asarray(got.rejected)[weights == 0].any()
        share = (1 + (p > 0.4).sum()) / (30 * 0.6)
        got = benjamini_hochberg(p, 0.3, storey=0.4)
        np.testing.assert_array_equal(got.rejected, step_up_by_definition(p * share, 0.3))
        share = (relative.max() + relative[p > 0.4].sum()) / (30 * 0.6)
        got = benjamini_hochberg(p, 0.3, weights=weights, storey=0.4)
        np.testing.assert_array_equal(got.rejected, step_up_by_definition(weighed * share, 0.3))


def test_adjusted_is_the_least_rate_that_rejects():
    p = jax.random.uniform(KEY, (25,)) ** 2
    adjusted = benjamini_hochberg(p, method="by").adjusted
    for rate in jnp.unique(adjusted[adjusted < 1])[:4]:
        below = benjamini_hochberg(p, rate * 0.9999, method="by").rejected
        at = benjamini_hochberg(p, rate, method="by").rejected
        np.testing.assert_array_equal(at, adjusted <= rate)
        np.testing.assert_array_equal(below, adjusted < rate)


def test_e_values_by_definition(x64):
    rng = np.random.default_rng(2)
    for _ in range(20):
        e = np.append(np.exp(2 * rng.normal(size=18) + 1), [0.0, np.inf])
        ordered = np.sort(e)[::-1]
        k = max((i for i in range(1, 21) if ordered[i - 1] >= 20 / (i * 0.2)), default=0)
        got = e_benjamini_hochberg(e, 0.2).rejected
        np.testing.assert_array_equal(got, e >= ordered[k - 1])
    doubled = e_benjamini_hochberg(jnp.array([20.0, 1.0]), 0.1, weights=jnp.array([1.0, 0.0]))
    np.testing.assert_array_equal(doubled.rejected, [True, False])
    assert doubled.adjusted[0] == 0.05


def test_procedures_under_vmap_and_jit_in_both_precisions():
    p = jax.random.uniform(KEY, (5, 40)) ** 3
    rates = jnp.linspace(0.05, 0.3, 5)
    batched = jax.jit(jax.vmap(lambda p, rate: benjamini_hochberg(p, rate, storey=0.5)))(p, rates)
    for i in range(5):
        one = benjamini_hochberg(p[i], float(rates[i]), storey=0.5)
        np.testing.assert_array_equal(one.rejected, batched.rejected[i])
    assert batched.adjusted.dtype == jnp.float32
    assert benjamini_hochberg(jnp.zeros(0)).rejected.shape == (0,)
    with jax.enable_x64(True):
        wide = benjamini_hochberg(np.asarray(p[0], np.float64), 0.05, storey=0.5)
        assert wide.adjusted.dtype == jnp.float64
        np.testing.assert_array_equal(wide.rejected, batched.rejected[0])


def test_outliers_equal_the_oracle_and_the_public_p_values(x64, shared_data):
    case = oracle(shared_data)
    calibrated = OutlierDetection(0.1).calibrate(case["scores_cal"])
    found = calibrated.detect(case["scores_test"])
    np.testing.assert_array_equal(found.p_values, case["p"])
    np.testing.assert_array_equal(found.rejected, case["bh"] <= 0.1)
    tied, new = np.round(case["scores_cal"]), np.round(case["scores_test"])
    found = OutlierDetection(0.1).calibrate(tied).detect(new, key=KEY)
    np.testing.assert_array_equal(found.p_values, conformal_p_values(tied, new, key=KEY))


def all_below(bounds):
    """P(U_(k) <= b_k for every k) of n independent uniforms, by the counts up to each bound."""
    n = len(bounds)
    chances, reached = np.eye(n + 1)[0], 0.0
    for k, bound in enumerate(bounds, 1):
        step = (bound - reached) / (1 - reached) if reached < 1 else 0.0
        moves = [
            np.pad(stats.binom.pmf(np.arange(n - c + 1), n - c, step), (c, 0)) for c in range(n + 1)
        ]
        chances = np.where(np.arange(n + 1) >= k, chances @ np.array(moves), 0)
        reached = bound
    return chances.sum()


@pytest.mark.parametrize("method", ["simes", "dkwm"])
def test_conditional_levels_hold_together(method):
    for n, confidence in ((1, 0.9), (2, 0.5), (7, 0.9), (40, 0.8)):
        levels = conditional_levels(n, confidence, method)
        assert levels.shape == (n + 1,)
        assert levels[-1] == 1
        assert (np.diff(levels) >= 0).all()
        assert (levels >= np.arange(1, n + 2) / (n + 1) - 1e-12).all()
        together = all_below(levels[:-1])
        assert together >= confidence - 1e-12
        # Bounds that held far too often would cost power; these are nearly exact.
        assert together <= confidence + (1e-9 if method == "simes" else 0.1)


def test_conditional_p_values_are_levels_of_ranks():
    scores, new = jax.random.normal(KEY, (30,)), jnp.array([-5.0, 0.0, 5.0])
    for method in ("simes", "dkwm"):
        spec = OutlierDetection(conditional=method, confidence=0.8)
        got = spec.calibrate(scores).detect(new).p_values
        ranks = [int((scores >= value).sum()) for value in new]
        np.testing.assert_array_equal(got, conditional_levels(30, 0.8, method)[ranks].astype("f4"))


def test_reason_says_when_nothing_can_be_found():
    scores = jnp.arange(9.0)
    assert OutlierDetection(0.1).calibrate(scores).reason is None
    assert "8 calibration rows" in str(OutlierDetection(0.1).calibrate(scores[:8]).reason)
    assert "0.3" in str(OutlierDetection(0.1, conditional="dkwm").calibrate(scores).reason)


def rows(seed, n):
    rng = np.random.default_rng(seed)
    predictions = np.round(rng.normal(size=n), 1)
    return predictions, np.round(predictions + rng.normal(size=n), 1)


@pytest.mark.parametrize("score", ["clipped", "monotone"])
def test_selection_by_definition(x64, score):
    """Heavy ties, and a claim for each row."""
    for seed in range(5):
        (predictions, y), (new, _) = rows(seed, 80), rows(seed + 50, 25)
        claims, new_claims = np.sin(np.arange(80)), np.cos(np.arange(25)) * 0.5
        given = {"claim": claims} if score == "clipped" else {}
        calibrated = ConformalSelection(0.3, score=score).calibrate(predictions, y, **given)
        got = calibrated.select(new, claim=new_claims)
        scores = y - predictions
        if score == "clipped":
            scores = np.where(y > claims, np.inf, claims - predictions)
        values = new_claims - new
        p = ((scores[None] <= values[:, None]).sum(1) + 1) / 81
        np.testing.assert_array_equal(got.p_values, p)
        np.testing.assert_array_equal(got.selected, step_up_by_definition(p, 0.3))
        smoothed = calibrated.select(new, claim=new_claims, key=KEY).p_values
        least = (scores[None] < values[:, None]).sum(1) / 81
        assert ((smoothed > least) & (smoothed <= p)).all()


def weighted_by_definition(scores, weights, values, own, p_values, rate, draws):
    """All m^2 auxiliary p-values, the first step, and the pruning."""
    m = len(values)
    sizes = np.zeros(m)
    for j in range(m):
        lower = (weights[None] * (scores[None] < values[:, None])).sum(1)
        auxiliary = (lower + own[j] * (values[j] < values)) / (weights.sum() + own[j])
        auxiliary[j] = 0
        sizes[j] = step_up_by_definition(auxiliary, rate).sum()
    first = p_values <= rate * sizes / m
    drawn = np.where(first, draws * sizes, np.inf)
    r = max((r for r in range(m + 1) if (drawn <= r).sum() >= r), default=0)
    return drawn <= r, first


@pytest.mark.parametrize("pruning", ["deterministic", "homogeneous", "heterogeneous"])
def test_weighted_selection_by_definition(x64, pruning):
    """Ties within new rows, and between them and calibration rows; some rows of weight 0."""
    pruned = 0
    for seed in range(30):
        (predictions, y), (new, _) = rows(seed, 60), rows(seed + 50, 20)
        rng = np.random.default_rng(seed)
        weights, own = rng.exponential(size=60) ** 2, rng.exponential(size=20) ** 3 + 0.01
        weights[:3] = 0
        spec = ConformalSelection(0.4, score="monotone", pruning=pruning)
        calibrated = spec.calibrate(predictions, y, weights=weights)
        key = None if pruning == "deterministic" else jax.random.key(seed)
        got = calibrated.select(new, claim=0.0, weights=own, key=key)
        expected = conformal_p_values(
            predictions - y,
            new,
            weights=weights,
            new_weights=own,
            key=None if key is None else jax.random.split(key)[0],
        )
        np.testing.assert_allclose(got.p_values, expected, rtol=1e-12)
        draws = np.ones(20)
        if key is not None:
            shape = () if pruning == "homogeneous" else (20,)
            draws = jax.random.uniform(jax.random.split(key)[1], shape, jnp.float32)
            draws = np.broadcast_to(np.asarray(draws, float), (20,))
        arguments = y - predictions, weights, -new, own, np.asarray(got.p_values), 0.4, draws
        kept, first = weighted_by_definition(*arguments)
        np.testing.assert_array_equal(got.selected, kept, err_msg=f"seed {seed}")
        pruned += int((first & ~kept).sum())
    assert pruning == "heterogeneous" or pruned > 0


def test_a_factor_of_the_weights_changes_nothing(x64):
    (predictions, y), (new, _) = rows(0, 60), rows(1, 20)
    weights, own = np.linspace(0.1, 2, 60), np.linspace(0.1, 2, 20)
    spec = ConformalSelection(0.4)
    results = [
        spec.calibrate(predictions, y, claim=0.0, weights=weights * factor).select(
            new, claim=0.0, weights=own * factor
        )
        for factor in (1.0, 1e300)
    ]
    np.testing.assert_array_equal(results[0].selected, results[1].selected)
    np.testing.assert_allclose(results[0].p_values, results[1].p_values, rtol=1e-12)
    plain = spec.calibrate(predictions, y, claim=0.0).select(new, claim=0.0)
    equal = spec.calibrate(predictions, y, claim=0.0, weights=np.full(60, 3.0)).select(
        new, claim=0.0, weights=np.full(20, 3.0)
    )
    np.testing.assert_allclose(plain.p_values, equal.p_values, rtol=1e-12)


def test_selection_under_vmap_and_jit():
    predictions, y, new = (jax.random.normal(key, (4, 30)) for key in jax.random.split(KEY, 3))
    weights = jnp.exp(0.3 * predictions)
    spec = ConformalSelection(0.5, pruning="homogeneous")

    def once(predictions, y, new, weights, key):
        calibrated = spec.calibrate(predictions, y, claim=0.0, weights=weights)
        return calibrated.select(new, claim=0.0, weights=weights, key=key)

    keys = jax.random.split(KEY, 4)
    batched = jax.jit(jax.vmap(once))(predictions, y, new, weights, keys)
    for i in range(4):
        one = once(predictions[i], y[i], new[i], weights[i], keys[i])
        np.testing.assert_array_equal(one.selected, batched.selected[i])
        np.testing.assert_allclose(one.p_values, batched.p_values[i], rtol=1e-5)
    assert batched.p_values.dtype == jnp.float32


def test_nan_gives_nan_inside_jit():
    scores = jnp.arange(20.0)
    bad = scores.at[3].set(jnp.nan)

    def outliers(scores, new):
        return OutlierDetection(storey=0.5).calibrate(scores).detect(new)

    def selection(predictions, weights):
        calibrated = ConformalSelection().calibrate(predictions, scores, claim=30.0, weights=scores)
        return calibrated.select(scores, claim=0.0, weights=weights)

    results = [
        jax.jit(outliers)(bad, scores),
        jax.jit(outliers)(scores, bad),
        jax.jit(selection)(bad, scores + 1),
        jax.jit(selection)(scores, scores),  # a weight of 0
        jax.jit(benjamini_hochberg)(bad / 20),
        jax.jit(benjamini_hochberg)(scores),
        jax.jit(benjamini_hochberg)(scores / 20, 1.5),
        jax.jit(lambda p: benjamini_hochberg(p, weights=-p))(scores / 20),
        jax.jit(e_benjamini_hochberg)(-scores),
    ]
    for i, result in enumerate(results):
        assert not result[0].any(), i
        assert jnp.isnan(result[1]).any(), i
    assert jnp.isnan(results[0].p_values).all()
    assert jnp.isnan(results[0].adjusted).all()


def test_files_come_back(tmp_path):
    scores, new = jax.random.normal(KEY, (40,)), jnp.array([0.0, 4.0])
    detection = OutlierDetection(0.2, conditional="simes").calibrate(scores)
    selection = ConformalSelection(0.2).calibrate(scores, scores, claim=0.0, weights=jnp.ones(40))
    io.save(tmp_path / "detection", detection)
    io.save(tmp_path / "selection", selection)
    loaded = io.load(tmp_path / "detection")
    np.testing.assert_array_equal(loaded.detect(new).p_values, detection.detect(new).p_values)
    assert str(loaded.guarantee) == str(detection.guarantee)
    loaded = io.load(tmp_path / "selection")
    given = {"claim": 0.0, "weights": jnp.ones(2)}
    np.testing.assert_array_equal(
        loaded.select(new, **given).p_values, selection.select(new, **given).p_values
    )
    assert "at most 0.2" in str(loaded.guarantee)


def test_bad_input_is_refused():
    p, scores = jnp.linspace(0.1, 0.9, 5), jnp.arange(5.0)
    for call, message in (
        (
            lambda: benjamini_hochberg(scores),
            "p_values must .*; 3 of 5 do not, the first is 2",
        ),
        (lambda: benjamini_hochberg(-p), "must lie in .0, 1."),
        (lambda: benjamini_hochberg(p.at[0].set(jnp.nan)), "p_values must be finite"),
        (lambda: benjamini_hochberg(p[None]), "shape"),
        (lambda: benjamini_hochberg(p, 1.0), "rate must lie strictly between"),
        (lambda: benjamini_hochberg(p, storey=0.0), "storey must lie"),
        (lambda: benjamini_hochberg(p, method="holm"), "method must be one of"),
        (lambda: benjamini_hochberg(p, weights=p[:3]), "weights must have length 5"),
        (lambda: benjamini_hochberg(p, weights=-p), "weights must not be negative"),
        (lambda: benjamini_hochberg(p, weights=0 * p), "positive sum"),
        (lambda: e_benjamini_hochberg(-p), "e_values must not be negative"),
        (lambda: e_benjamini_hochberg(p, 0.0), "rate must"),
        (lambda: OutlierDetection(1.5), "rate must"),
        (lambda: OutlierDetection(method="x"), "method must be"),
        (lambda: OutlierDetection(storey=1.0), "storey must"),
        (lambda: OutlierDetection(conditional="x"), "conditional must be"),
        (lambda: OutlierDetection(confidence=0.3), "confidence must be at least 0.5"),
        (lambda: OutlierDetection().calibrate(scores[None]), "scores must have shape"),
        (lambda: OutlierDetection().calibrate(scores[:0]), "at least 1 entry"),
        (lambda: OutlierDetection().calibrate(scores * jnp.nan), "scores must not be NaN"),
        (lambda: OutlierDetection().calibrate(scores).detect(p * jnp.nan), "new_scores"),
        (lambda: OutlierDetection().calibrate(scores).detect(p, key=0), "new-style key"),
        (
            lambda: OutlierDetection(conditional="dkwm").calibrate(scores).detect(p, key=KEY),
            "key must not be given with conditional",
        ),
        (lambda: ConformalSelection(0.0), "rate must"),
        (lambda: ConformalSelection(score="x"), "score must be"),
        (lambda: ConformalSelection(pruning="x"), "pruning must be"),
    ):
        with refuses(message):
            call()


def test_bad_selections_are_refused():
    scores, spec = jnp.arange(5.0), ConformalSelection()
    monotone = ConformalSelection(score="monotone")
    plain = spec.calibrate(scores, scores, claim=2.0)
    weighed = spec.calibrate(scores, scores, claim=2.0, weights=scores)
    random = ConformalSelection(pruning="homogeneous").calibrate(
        scores, scores, claim=2.0, weights=scores
    )
    for call, message in (
        (lambda: spec.calibrate(scores, scores), "claim must be given to calibrate"),
        (lambda: monotone.calibrate(scores, scores, claim=1.0), "claim must not be given"),
        (lambda: spec.calibrate(scores, scores[:3], claim=1.0), "y must have length 5"),
        (lambda: spec.calibrate(scores, scores, claim=scores[:2]), "claim must have shape"),
        (lambda: spec.calibrate(scores, scores, claim=jnp.inf), "claim must be finite"),
        (lambda: spec.calibrate(scores * jnp.nan, scores, claim=1.0), "predictions must be finite"),
        (lambda: spec.calibrate(scores, scores, claim=1.0, weights=-scores), "not be negative"),
        (lambda: spec.calibrate(scores[:0], scores[:0], claim=1.0), "at least 1"),
        (lambda: plain.select(scores, claim=scores[:2]), "claim must have shape"),
        (lambda: plain.select(scores, claim=1.0, weights=scores), "weights must be given exactly"),
        (lambda: plain.select(scores, claim=1.0, key=3), "new-style key"),
        (lambda: weighed.select(scores, claim=1.0), "weights must be given exactly"),
        (
            lambda: weighed.select(scores, claim=1.0, weights=scores),
            "weights must be finite and pos",
        ),
        (lambda: weighed.select(scores, claim=1.0, weights=scores[:2] + 1), "weights must have"),
        (lambda: random.select(scores, claim=1.0, weights=scores + 1), "key is missing"),
    ):
        with refuses(message):
            call()
