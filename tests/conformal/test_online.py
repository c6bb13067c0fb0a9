"""Online methods: against plain loops written from the papers, and their deterministic bounds."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from estimators import io
from estimators.conformal import (
    ACI,
    SAOCP,
    SFOGD,
    AgACI,
    ConformalPID,
    DtACI,
    EnbPI,
    conformal_rank,
    rolling_coverage,
)
from estimators.testing import refuses

KEY = jax.random.key(0)
COVERAGE, MISS, WINDOW, PAST, T = 0.8, 0.2, 30, 12, 150
STEPS = (0.01, 0.05, 0.2)

SPECS = {
    "ACI": ACI(COVERAGE, step=0.05, window=WINDOW),
    "DtACI": DtACI(COVERAGE, steps=STEPS, window=WINDOW, horizon=50),
    "AgACI": AgACI(COVERAGE, steps=STEPS, window=WINDOW),
    "SFOGD": SFOGD(COVERAGE, largest=8.0),
    "SAOCP": SAOCP(COVERAGE, largest=8.0, lifetime=5),
    "PID": ConformalPID(COVERAGE, saturation=0.3, window=WINDOW),
    "EnbPI": EnbPI(COVERAGE, window=WINDOW, every=4),
}


def series(key, size, dtype=None):
    """Errors whose size is four times as large in the second half, rounded so that some tie."""
    scale = jnp.where(jnp.arange(size) < size // 2, 0.5, 2.0)
    return jnp.round(jnp.abs(jax.random.normal(key, (size,), dtype)) * scale, 2)


def quantile(scores, level):
    """The conformal quantile, by its definition."""
    n = len(scores)
    rank = math.ceil((n + 1) * level - 1e-9)
    if rank < 1:
        return -math.inf
    return math.inf if rank > n else sorted(scores)[rank - 1]


def loop(step):
    """From one step, `(memory, past) -> (threshold, learn)`, to thresholds of a series."""

    def run(past, scores):
        seen, memory, thresholds = list(past), {}, []
        for score in scores:
            threshold, learn = step(memory, seen)
            thresholds.append(threshold)
            seen.append(score)
            learn(score)
        return np.array(thresholds)

    return run


def aci(memory, seen, step=0.05):
    level = memory.setdefault("level", COVERAGE)
    threshold = quantile(seen[-WINDOW:], level)

    def learn(score):
        memory["level"] = level + step * ((score > threshold) - MISS)

    return threshold, learn


def dtaci(memory, seen):
    """Algorithm 1 of Gibbs & Candes 2024, in its own terms: alphas, and beta."""
    alphas = memory.setdefault("alphas", np.full(3, MISS))
    weights = memory.setdefault("weights", np.ones(3))
    held = seen[-WINDOW:]
    sigma = 1 / 100
    denominator = (1 - MISS) ** 2 * MISS**3 + MISS**2 * (1 - MISS) ** 3
    eta = math.sqrt(3 / 50) * math.sqrt((math.log(2 * 3 * 50) + 1) / denominator)

    def learn(score):
        beta = 1 - sum(s < score for s in held) / (len(held) + 1)
        gap = beta - alphas
        bar = weights * np.exp(-eta * (MISS * gap - np.minimum(0, gap)))
        memory["weights"] = (1 - sigma) * bar + bar.sum() * sigma / 3
        missed = np.array([score > quantile(held, 1 - a) for a in alphas])
        memory["alphas"] = alphas + np.array(STEPS) * (MISS - missed)

    return quantile(held, 1 - (weights * alphas).sum() / weights.sum()), learn


def agaci(memory, seen):
    """Bernstein online aggregation of miss levels, with every past regret kept."""
    alphas = memory.setdefault("alphas", np.full(3, MISS))
    regrets, second = memory.setdefault("regrets", []), memory.setdefault("second", [])
    held = seen[-WINDOW:]

    def rates():
        r = np.array(regrets)
        squares, largest = (r**2).sum(0), np.abs(r).max()
        with np.errstate(divide="ignore"):
            return np.minimum(np.sqrt(math.log(3) / squares), 0.5 / largest if largest else 1)

    weights = np.ones(3)
    if np.any(regrets):
        eta = rates()
        weights = eta * np.exp(eta * (np.sum(regrets, 0) - np.sum(second, 0)))
    mean = (weights * alphas).sum() / weights.sum()
    threshold = quantile(held, 1 - mean)

    def learn(score):
        # The derivative of the pinball loss in alpha, times how far each is from the mean.
        regrets.append(((score > threshold) - MISS) * (mean - alphas))
        second.append(rates() * regrets[-1] ** 2 if np.any(regrets) else np.zeros(3))
        missed = np.array([score > quantile(held, 1 - a) for a in alphas])
        memory["alphas"] = alphas + np.array(STEPS) * (MISS - missed)

    return threshold, learn


def start(seen):
    return min(quantile(seen, COVERAGE), max(seen))


def sfogd(memory, seen):
    threshold = memory.setdefault("threshold", start(seen))
    slopes = memory.setdefault("slopes", [])

    def learn(score):
        slopes.append((score > threshold) - MISS)
        size = 8 / math.sqrt(3) / math.sqrt(sum(s**2 for s in slopes))
        memory["threshold"] = threshold + size * slopes[-1]

    return threshold, learn


def pinball(threshold, score):
    return max((1 - MISS) * (score - threshold), -MISS * (score - threshold))


def active(t, lifetime):
    """Steps whose experts are alive at t, from the definition of their lifetimes."""
    return [i for i in range(1, t + 1) if t - i < lifetime * (i & -i)]


def saocp(memory, seen):
    """Algorithm 1 of Bhatnagar et al. 2023: an object for each expert, all its history kept."""
    t = memory["t"] = memory.get("t", 0) + 1
    experts = memory.setdefault("experts", {})
    begun = {"s": memory.get("mixture", start(seen)), "slopes": [], "gains": [], "weights": []}
    experts[t] = begun

    def weight(expert):
        if not expert["gains"]:
            return 0.0
        wealth = 1 + np.dot(expert["weights"], expert["gains"])
        return np.mean(expert["gains"]) * wealth

    alive = active(t, 5)
    prior = np.array([1 / (i**2 * (1 + math.floor(math.log2(i)))) for i in alive])
    w = np.array([weight(experts[i]) for i in alive])
    p = prior * np.maximum(w, 0)
    p = p / p.sum() if p.sum() > 0 else prior / prior.sum()
    mixture = memory["mixture"] = float(p @ [experts[i]["s"] for i in alive])

    def learn(score):
        for i, bet in zip(alive, w, strict=True):
            expert = experts[i]
            gain = (pinball(mixture, score) - pinball(expert["s"], score)) / (8 * (1 - MISS))
            expert["gains"].append(gain if bet > 0 else max(gain, 0))
            expert["weights"].append(bet)
            expert["slopes"].append((score > expert["s"]) - MISS)
            size = 8 / math.sqrt(3) / math.sqrt(sum(s**2 for s in expert["slopes"]))
            expert["s"] += size * expert["slopes"][-1]

    return mixture, learn


def pid(memory, seen):
    q, errors = memory.setdefault("q", start(seen)), memory.setdefault("errors", [])
    held, t = seen[-WINDOW:], len(errors)
    angle = sum(e - MISS for e in errors) * math.log(t + 1) / (0.3 * (t + 1))
    tangent = math.copysign(math.inf, angle) if abs(angle) >= math.pi / 2 else math.tan(angle)
    threshold = q + (max(held) - min(held)) * tangent

    def learn(score):
        errors.append(score > threshold)
        now = seen[-WINDOW:]
        memory["q"] = q + 0.1 * (max(now) - min(now)) * (errors[-1] - MISS)

    return threshold, learn


def enbpi(memory, seen):
    """All pairs of ranks with enough between them, taken anew every fourth step."""
    t = memory["t"] = memory.get("t", -1) + 1
    if t % 4 == 0:
        held = sorted(seen[-WINDOW:])
        k = conformal_rank(len(held), COVERAGE)
        pairs = list(zip(held, held[k:], strict=False))
        memory["ends"] = min(pairs, key=lambda ends: ends[1] - ends[0])
    return memory["ends"], lambda score: None


LOOPS = {
    "ACI": aci,
    "DtACI": dtaci,
    "AgACI": agaci,
    "SFOGD": sfogd,
    "SAOCP": saocp,
    "PID": pid,
    "EnbPI": enbpi,
}


@pytest.mark.parametrize("name", SPECS)
def test_every_method_is_its_plain_loop(x64, name):
    past, scores = series(jax.random.key(1), PAST), series(KEY, T)
    spec = SPECS[name]
    run = spec.run(scores, state=spec.init(past))
    expected = loop(LOOPS[name])(np.asarray(past), np.asarray(scores))
    np.testing.assert_allclose(run.thresholds, expected, rtol=1e-9)
    ends = expected if expected.ndim == 2 else np.stack([np.full(T, -np.inf), expected], 1)
    hit = (ends[:, 0] <= np.asarray(scores)) & (np.asarray(scores) <= ends[:, 1])
    # The sum of a gradient method may tie with a rounded score: never more than once or twice.
    assert (np.asarray(run.covered) != hit).sum() <= 2
    assert 0.5 < run.covered.mean() < 0.95


@pytest.mark.parametrize("name", SPECS)
def test_parts_files_and_single_steps_give_the_whole(name, tmp_path):
    """Bit for bit in parts, also from a file; step by step too."""
    spec, scores = SPECS[name], series(KEY, T)
    whole = spec.run(scores)
    first = spec.run(scores[:75])
    io.save(tmp_path / "run.safetensors", first)
    state = io.load(tmp_path / "run.safetensors").state
    second = spec.run(scores[75:], state=state)
    np.testing.assert_array_equal(
        np.concatenate([first.thresholds, second.thresholds]), whole.thresholds
    )
    np.testing.assert_array_equal(np.concatenate([first.covered, second.covered]), whole.covered)
    jax.tree.map(np.testing.assert_array_equal, second.state, whole.state)
    assert whole.thresholds.dtype == scores.dtype
    for t in range(75, 80):
        np.testing.assert_allclose(spec.threshold(state), whole.thresholds[t], rtol=1e-5)
        state = spec.update(state, scores[t])


@pytest.mark.parametrize("name", SPECS)
def test_vmap_and_nan_inside_jit(name):
    """Two series at once; the second has NaN in its middle, and nothing plausible after it."""
    spec, scores = SPECS[name], series(KEY, T)
    runs = jax.jit(jax.vmap(spec.run))(jnp.stack([scores, scores.at[70].set(jnp.nan)]))
    alone = spec.run(scores)
    # Experts that are bets on the sign of a small sum make more of the last bit.
    np.testing.assert_allclose(runs.thresholds[0], alone.thresholds, rtol=1e-3, atol=1e-3)
    assert jnp.isnan(runs.thresholds[1, 71:]).all()
    assert not runs.covered[1, 70:].any()
    if runs.levels is not None:
        assert jnp.isnan(runs.levels[1, 71:]).all()


def test_window_holds_the_conformal_quantile_of_any_level():
    """Every level with every number of scores held, below, at and above the ends of (0, 1)."""
    levels = jnp.array([-0.1, 0.0, 0.004, 0.1, 0.5, 0.8, 0.9, 0.99, 1.0, 1.3])
    scores, spec = series(KEY, 60), ACI(window=25)

    def step(state, score):
        return spec.update(state, score), state.window.quantile(levels)

    _, found = jax.lax.scan(step, spec.init(), scores)
    scores, levels = np.asarray(scores), np.round(np.asarray(levels, float), 6)
    for t in range(60):
        expected = [quantile(scores[max(t - 25, 0) : t], level) for level in levels]
        np.testing.assert_array_equal(found[t], np.float32(expected))


def test_step_zero_is_split_conformal_on_the_past():
    scores = np.asarray(series(KEY, T))
    for coverage in (0.7, 0.9, 0.95):
        run = ACI(coverage, step=0.0, window=T).run(scores)
        expected = [
            np.append(np.sort(scores[:t]), np.inf)[conformal_rank(t, coverage) - 1]
            for t in range(T)
        ]
        np.testing.assert_array_equal(run.thresholds, expected)
    assert run.bound == jnp.inf


@pytest.mark.parametrize("method", [DtACI, AgACI])
def test_one_expert_is_aci(method):
    scores = series(KEY, T)
    one = method(COVERAGE, steps=(0.05,), window=WINDOW).run(scores)
    alone = SPECS["ACI"].run(scores)
    np.testing.assert_array_equal(one.thresholds, alone.thresholds)
    np.testing.assert_array_equal(one.levels, alone.levels)


def play(spec, kind, steps, state=None):
    """Misses where each score is chosen after its threshold was seen, by one of `ADVERSARIES`."""

    def step(state, t):
        threshold = spec.threshold(state)
        finite = jnp.where(jnp.isfinite(threshold), threshold, 0.0)
        over = jnp.nextafter(finite, jnp.inf)
        quiet = t % 97 < 60
        choices = {
            "above": over,
            "at": finite,
            "growing": jnp.where(quiet, 0.0, jnp.exp(t / 30.0)),
            "bounded, above": jnp.clip(over, 0.0, 1.0),
            "bounded, at": jnp.clip(finite, 0.0, 1.0),
            "bounded, in bursts": jnp.where(quiet, 0.0, 1.0),
        }
        score = jnp.stack([choices[name] for name in ADVERSARIES])[kind]
        return spec.update(state, score), score > threshold

    return jax.lax.scan(step, spec.init() if state is None else state, jnp.arange(steps))


ADVERSARIES = ["above", "at", "growing", "bounded, above", "bounded, at", "bounded, in bursts"]
ALL, BOUNDED = jnp.arange(6), jnp.arange(3, 6)


def gaps(missed):
    """How far the share missed is from its target, after each number of steps, `(..., steps)`."""
    missed = np.asarray(missed)
    return np.abs(np.cumsum(missed - MISS, -1) / np.arange(1, missed.shape[-1] + 1))


def test_bound_of_aci_holds_for_every_adversary():
    """At every prefix of 600 steps, for three steps and six adversaries. One that always wins
    takes all that the bound allows: it is not loose."""
    steps = jnp.array([0.005, 0.05, 0.5])

    def misses(step):
        spec = ACI(COVERAGE, step=step, window=WINDOW)
        return jax.vmap(lambda kind: play(spec, kind, 600)[1])(ALL), spec.bound(600)

    missed, bound = jax.jit(jax.vmap(misses))(steps)
    t, step = np.arange(1, 601), np.asarray(steps)[:, None]
    bounds = (0.8 + step) / (t * step)
    assert (gaps(missed) <= bounds[:, None] + 1e-5).all()
    np.testing.assert_allclose(bound, bounds[:, -1], rtol=1e-5)
    assert gaps(missed)[1:, 0, -1].max() > 0.2 * bounds[1, -1]


def test_bound_of_sfogd_holds_for_bounded_scores():
    spec = SFOGD(COVERAGE, largest=1.0)
    missed = jax.jit(jax.vmap(lambda kind: play(spec, kind, 800)[1]))(BOUNDED)
    bounds = (2 + math.sqrt(3)) * 0.8 / np.sqrt(np.arange(1, 801))
    assert (gaps(missed) <= bounds + 1e-6).all()
    np.testing.assert_allclose(spec.bound(800), bounds[-1], rtol=1e-6)
    state = spec.run(jnp.zeros(T)).state
    assert spec.bound(800, state) > spec.bound(800)


def test_bound_of_the_integrator_needs_no_bounded_scores():
    spec = ConformalPID(COVERAGE, saturation=0.05, window=WINDOW)
    states, missed = jax.jit(jax.vmap(lambda kind: play(spec, kind, 600)))(ALL)
    t = np.arange(1, 601)
    after = np.maximum(t, 3) + 1
    bounds = (0.05 * math.pi / 2 * after / np.log(after) + 1) / t
    assert (gaps(missed) <= bounds + 1e-5).all()
    np.testing.assert_allclose(spec.bound(600), bounds[-1], rtol=1e-6)
    # Onwards from there, whatever is owed counts.
    state = jax.tree.map(lambda leaf: leaf[0], states)
    assert spec.bound(100, state) > spec.bound(100)


def test_bound_of_quantile_tracking():
    """P alone, where the range of the window is 1 throughout: a constant step of 0.1 keeps the
    tracker in [-0.1, 1.1], and so the sum of misses within 1.2 / 0.1 of its expectation."""
    spec = ConformalPID(COVERAGE, integral=0.0, window=2000)
    state = spec.init(jnp.array([0.0, 1.0]))
    missed = jax.jit(jax.vmap(lambda kind: play(spec, kind, 800, state)[1]))(BOUNDED)
    assert (gaps(missed) <= 1.2 / 0.1 / np.arange(1, 801) + 1e-5).all()
    assert spec.bound(800) == jnp.inf


def test_alive_experts_are_those_of_the_definition():
    """Every step to 300, with lifetimes odd and even: no slot is taken twice, none too early."""
    for lifetime in (1, 5, 8):
        spec = SAOCP(lifetime=lifetime, largest=1.0)

        def step(state, score, spec=spec):
            return spec.update(state, score), (state.step, state.born)

        _, (now, born) = jax.lax.scan(step, spec.init(), jnp.zeros(300))
        for t, slots in zip(np.asarray(now).tolist(), np.asarray(born), strict=True):
            alive = active(t, lifetime)
            assert set(alive) <= set(slots.tolist())
            assert len(alive) <= (lifetime + 1) // 2 * t.bit_length()


def test_forecasts_are_added_and_what_they_leave_is_learned():
    scores, forecasts = series(KEY, T), jnp.sin(jnp.arange(T))
    for name in ("ACI", "EnbPI"):
        spec = SPECS[name]
        run = spec.run(scores, forecasts=forecasts)
        left = spec.run(scores - forecasts)
        shift = forecasts if left.thresholds.ndim == 1 else forecasts[:, None]
        np.testing.assert_array_equal(run.thresholds, left.thresholds + shift)
        np.testing.assert_array_equal(run.covered, left.covered)


def test_options_are_traced_and_share_a_program():
    scores = series(KEY, T)
    covered = jax.vmap(lambda step: ACI(COVERAGE, step=step, window=WINDOW).run(scores).covered)(
        jnp.array([0.05, 0.2])
    )
    np.testing.assert_array_equal(covered[0], SPECS["ACI"].run(scores).covered)
    traced = []

    @jax.jit
    def thresholds(spec, scores):
        traced.append(1)
        return spec.run(scores).thresholds

    for steps in (STEPS, (0.1, 0.2, 0.3)):
        thresholds(DtACI(COVERAGE, steps=steps, window=WINDOW), scores)
    assert len(traced) == 1


def test_precisions(x64):
    """Single scores stay single, also from a state; the two precisions agree."""
    single, double = (series(KEY, T).astype(dtype) for dtype in (jnp.float32, jnp.float64))
    for name in ("AgACI", "SAOCP", "PID"):
        spec = SPECS[name]
        one, two = spec.run(single), spec.run(double)
        assert {leaf.dtype for leaf in jax.tree.leaves(one.state)} == {
            jnp.dtype("float32"),
            jnp.dtype("int32"),
        }
        assert one.thresholds.dtype == one.bound.dtype == jnp.float32
        assert two.thresholds.dtype == two.bound.dtype == jnp.float64
        assert spec.run(double, state=one.state).thresholds.dtype == jnp.float32
        close = np.isclose(one.thresholds, two.thresholds, atol=1e-3)
        assert close.mean() > 0.98


def test_guarantees_and_reasons():
    scores = series(KEY, T)
    run = SPECS["ACI"].run(scores)
    bound = (0.8 + 0.05) / (T * 0.05)
    np.testing.assert_allclose(run.guarantee.at_least, 0.8 - bound, rtol=1e-5)
    np.testing.assert_allclose(run.guarantee.at_most, 0.8 + bound, rtol=1e-5)
    assert "the 150 steps of this run" in str(run.guarantee)
    assert run.reason.startswith(f"{np.isinf(run.thresholds).sum()} of 150 thresholds are inf")
    short = ACI(0.9).run(scores[:3])
    assert (short.guarantee.at_least, short.guarantee.at_most) == (0.0, 1.0)
    for name in ("DtACI", "AgACI", "SAOCP", "EnbPI"):
        guarantee = SPECS[name].run(scores).guarantee
        assert (guarantee.kind, guarantee.at_least) == ("asymptotic", None)
    assert SPECS["SFOGD"].run(scores).reason is None
    spec = EnbPI(0.9, window=20)
    assert jnp.isinf(spec.init(scores[:18]).ends).all()
    assert jnp.isfinite(spec.init(scores[:19]).ends).all()


def test_rolling_coverage_is_that_of_each_window():
    covered = jax.random.uniform(KEY, (200,)) < 0.9
    rolling = rolling_coverage(covered, 40, confidence=0.9)
    assert rolling.null is None
    shares = np.convolve(np.asarray(covered), np.ones(40), "valid") / 40
    np.testing.assert_allclose(rolling.coverage, shares, rtol=1e-6)
    for share, low, high in zip(*map(np.asarray, rolling[:3]), strict=True):
        exact = stats.binomtest(round(float(share) * 40), 40).proportion_ci(0.9)
        np.testing.assert_allclose((low, high), (exact.low, exact.high), rtol=1e-5)
    every = rolling_coverage(jnp.ones(5, bool), 5)
    np.testing.assert_allclose(every.lower, 0.025 ** (1 / 5), rtol=1e-5)
    assert every.upper[0] == every.coverage[0] == 1


def test_null_band_holds_whole_series():
    """2000 series of independent steps leave the band of 999 draws at most in 10 %, within 4
    errors of both simulations: false alarm 3e-5."""
    of_band, of_series = jax.random.split(KEY)
    low, high = rolling_coverage(
        jnp.ones(150, bool), 25, confidence=0.9, target=0.8, draws=999, key=of_band
    ).null

    def leaves(key):
        shares = rolling_coverage(jax.random.uniform(key, (150,)) < 0.8, 25).coverage
        return (shares < low - 1e-6).any() | (shares > high + 1e-6).any()

    outside = jax.jit(jax.vmap(leaves))(jax.random.split(of_series, 2000)).mean()
    error = np.sqrt(0.09 / 2000 + 0.09 / 1000)
    assert 0.02 < outside < 0.1 + 4 * error
    wide = rolling_coverage(jnp.ones(9, bool), 3, target=0.8, draws=5, key=KEY).null
    assert (wide[0], wide[1]) == (0, 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ACI(1.0), "coverage must lie strictly between 0 and 1; got 1.0"),
        (lambda: ACI(step=-0.1), "step must be finite and not negative; got -0.1"),
        (lambda: ACI(window=0), "window must be a whole number >= 1; got 0"),
        (lambda: AgACI(steps=()), r"steps must have shape \(experts,\), one or more; got \(0,\)"),
        (lambda: DtACI(steps=jnp.ones((2, 2))), r"steps must have shape .*; got \(2, 2\)"),
        (lambda: DtACI(steps=(0.1, -0.1)), "steps must be finite and not negative"),
        (lambda: DtACI(horizon=0), "horizon must be a whole number >= 1; got 0"),
        (lambda: SFOGD(largest=0.0), "largest must be finite and positive; got 0.0"),
        (lambda: SAOCP(largest=1.0, lifetime=0), "lifetime must be a whole number >= 1; got 0"),
        (lambda: ConformalPID(saturation=0.0), "saturation must be finite and positive"),
        (lambda: ConformalPID(integral=-1.0), "integral must be finite and not negative"),
        (lambda: EnbPI(every=0), "every must be a whole number >= 1; got 0"),
        (lambda: ACI().run(jnp.array([1.0, jnp.nan])), r"scores must be finite; scores\[1\] is"),
        (lambda: ACI().run(jnp.ones((2, 2))), r"scores must have shape \(n,\); got shape \(2, 2\)"),
        (lambda: ACI().run(jnp.ones(0)), "scores must have at least 1 entries"),
        (lambda: ACI().init(jnp.array([jnp.inf])), "scores must be finite"),
        (lambda: ACI().update(ACI().init(), jnp.nan), "score must be finite; score is nan"),
        (lambda: ACI().update(ACI().init(), jnp.ones(2)), "score must be a single number"),
        (lambda: ACI().run(jnp.ones(3), forecasts=jnp.ones(2)), "forecasts must have length 3"),
        (lambda: ACI().bound(0), "steps must be a whole number >= 1; got 0"),
        (lambda: rolling_coverage(jnp.ones(5), 2), r"covered must be bool, .*; got float32"),
        (lambda: rolling_coverage(jnp.ones(5, bool), 0), "window must be a whole number >= 1"),
        (lambda: rolling_coverage(jnp.ones(5, bool), 6), "window must be at most 5, the steps"),
        (lambda: rolling_coverage(jnp.ones(5, bool), 2, target=0.9), "target and key must be"),
        (
            lambda: rolling_coverage(jnp.ones(5, bool), 2, target=1.5, key=KEY),
            "target must lie strictly between 0 and 1",
        ),
    ],
)
def test_bad_input_is_refused(call, message):
    with refuses(message):
        call()
