"""Exchangeability martingales: enumeration, closed forms, peers, and refusals."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from estimators import io
from estimators.conformal import (
    ExchangeabilityTest,
    HistogramBetting,
    PowerBetting,
    SimpleJumper,
    online_p_values,
)
from estimators.conformal._martingale._power import log_power_mixture
from estimators.conformal._martingale._stream import earlier_and_lower
from estimators.testing import refuses

KEY = jax.random.key(0)
BETTINGS = {
    "jumper": SimpleJumper(0.01),
    "composite": SimpleJumper(),
    "power": PowerBetting(0.4),
    "power mixture": PowerBetting(),
    "histogram": HistogramBetting(),
}


def path(betting, p_values, **options):
    return ExchangeabilityTest(betting, **options).monitor(p_values).log_path


def test_simple_jumper_equals_the_oracle(x64, shared_data):
    case = np.load(shared_data / "conformal_oracle" / "martingale.npz")
    got = path(SimpleJumper(0.01, (-1.0, -0.5, 0.0, 0.5, 1.0)), case["p"])
    np.testing.assert_allclose(np.exp(got), case["simple_jumper"], rtol=1e-13)


def test_simple_jumper_is_the_mean_over_paths_of_slopes(x64):
    """All 81 paths of four steps, each with its probability."""
    p, slopes, jump = np.array([0.1, 0.7, 0.02, 0.4]), np.array([-1.0, 0.0, 1.5]), 0.3
    total = 0.0
    for states in itertools.product(range(3), repeat=4):
        chance = 1 / 3
        for before, after in itertools.pairwise(states):
            chance *= jump / 3 + (1 - jump) * (before == after)
        total += chance * np.prod(1 + slopes[list(states)] * (p - 0.5))
    got = path(SimpleJumper(jump, slopes), p)[-1]
    np.testing.assert_allclose(np.exp(got), total, rtol=1e-14)


def test_composite_is_the_mean_of_its_martingales(x64):
    p = np.random.default_rng(0).uniform(size=200) ** 1.5
    single = [np.exp(path(SimpleJumper(jump), p)) for jump in (0.001, 0.1)]
    composite = path(SimpleJumper(np.array([0.001, 0.1])), p)
    np.testing.assert_allclose(np.exp(composite), np.mean(single, 0), rtol=1e-12)


def test_power_mixture_is_the_incomplete_gamma_function(x64):
    for count in (1, 2, 7, 100, 2000):
        total = count * np.array([0.01, 0.5, 0.9, 1.0, 1.1, 2.0, 30.0])
        a = count + 1
        chance = special.gammainc(a, total)
        expected = (
            total - a * np.log(total) + special.gammaln(a) + np.log(np.maximum(chance, 1e-300))
        )
        got = jax.vmap(log_power_mixture, (None, 0))(jnp.asarray(float(count)), jnp.asarray(total))
        np.testing.assert_allclose(got[chance > 1e-290], expected[chance > 1e-290], atol=1e-9)
        # Where the function itself underflows: its series, 1F1(1; n + 2; s) / (n + 1).
        terms = np.cumprod(total[0] / (a + np.arange(1, 60)))
        np.testing.assert_allclose(np.exp(got[0]), (1 + terms.sum()) / a, rtol=1e-12)


def test_power_mixture_in_float32_keeps_its_digits():
    counts = np.array([1.0, 30.0, 1e3, 1e5])
    totals = counts + np.array([0.3, -2.0, 100.0, 1500.0])
    got = jax.vmap(log_power_mixture)(jnp.asarray(counts, "f4"), jnp.asarray(totals, "f4"))
    with jax.enable_x64(True):
        expected = jax.vmap(log_power_mixture)(jnp.asarray(counts), jnp.asarray(totals))
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, expected, atol=2e-3)


def test_power_bets_by_definition(x64):
    p = np.random.default_rng(1).uniform(size=50)
    expected = np.cumsum(np.log(0.4) - 0.6 * np.log(p))
    np.testing.assert_allclose(path(PowerBetting(0.4), p), expected, rtol=1e-12)
    exponents = (np.arange(20000) + 0.5) / 20000
    each = np.exp(50 * np.log(exponents) + (exponents - 1) * np.log(p).sum())
    np.testing.assert_allclose(path(PowerBetting(), p)[-1], np.log(each.mean()), rtol=1e-6)


def test_histogram_is_the_dirichlet_mixture(x64):
    p = np.random.default_rng(2).beta(2, 2, size=60)
    counts = np.bincount((p * 4).astype(int), minlength=4)
    law = stats.dirichlet_multinomial([0.7] * 4, 60)
    sequences = special.gammaln(61) - special.gammaln(counts + 1).sum()
    expected = law.logpmf(counts) - sequences + 60 * np.log(4)
    np.testing.assert_allclose(path(HistogramBetting(4, 0.7), p)[-1], expected, rtol=1e-12)
    assert jnp.isfinite(path(HistogramBetting(4), jnp.array([0.0, 1.0]))).all()


@pytest.mark.parametrize("name", BETTINGS)
def test_every_bet_is_fair(x64, name):
    """After 30 p-values the bet is a density: its integral over the next one is 1.

    Over t = -log p, so that the singularity of power bets at 0 is none.
    """
    betting = BETTINGS[name]
    state = betting.init(jnp.float64)
    update = jax.jit(lambda state, p: betting.update(state, p)[0])
    for p in np.random.default_rng(3).uniform(size=30) ** 2:
        state = update(state, p)
    edges = -np.log(np.linspace(1, 0.1, 10))  # where the histogram jumps
    pieces = np.append(edges, np.linspace(edges[-1], 80, 30)[1:])
    nodes, weights = np.polynomial.legendre.leggauss(40)
    half = np.diff(pieces)[:, None] / 2
    t = (pieces[:-1, None] + half * (nodes[None] + 1)).ravel()
    bets = jax.jit(jax.vmap(lambda p: betting.update(state, p)[1]))(np.exp(-t))
    integral = np.sum((half * weights[None]).ravel() * np.exp(bets - t))
    np.testing.assert_allclose(integral, 1, rtol=1e-8)


def test_charts_are_sums_and_maxima_over_starts(x64):
    p = np.random.default_rng(4).uniform(size=80) ** 1.3
    capital = np.exp(np.append(0, path(SimpleJumper(), p)))
    ratios = [capital[n] / capital[:n] for n in range(1, 81)]
    cusum = path(SimpleJumper(), p, statistic="cusum")
    np.testing.assert_allclose(np.exp(cusum), [r.max() for r in ratios], rtol=1e-12)
    sums = path(SimpleJumper(), p, statistic="shiryaev-roberts")
    np.testing.assert_allclose(np.exp(sums), [r.sum() for r in ratios], rtol=1e-12)


@pytest.mark.parametrize("name", BETTINGS)
def test_one_at_a_time_is_the_whole_path(name):
    p = jax.random.uniform(KEY, (12,)) ** 2
    test = ExchangeabilityTest(BETTINGS[name], statistic="cusum", threshold=3.0)
    evidence = test.monitor(p)
    state, steps = test.init(), []
    update = jax.jit(lambda state, value: test.update(state, value))
    for value in p:
        state = update(state, value)
        steps.append(state.log_statistic)
    np.testing.assert_allclose(np.array(steps), evidence.log_path, rtol=1e-4, atol=1e-5)
    assert evidence.log_path.dtype == jnp.float32


def test_no_capital_overflows():
    """10 000 p-values of 1e-6: nearly all of them, and 0 and 1, in float32."""
    p = jnp.full(10000, 1e-6).at[jnp.array([0, 5000])].set(jnp.array([0.0, 1.0]))
    for name, betting in BETTINGS.items():
        log_path = path(betting, p)
        assert jnp.isfinite(log_path).all(), name
        assert log_path[-1] > 1000, name


def test_alarm_is_the_first_crossing():
    p = jnp.array([0.9, 0.9, 0.01, 0.01, 0.01, 0.9])
    evidence = ExchangeabilityTest(PowerBetting(0.5), threshold=10.0).monitor(p)
    assert evidence.alarm == np.flatnonzero(np.exp(evidence.log_path) >= 10)[0] == 4
    quiet = ExchangeabilityTest(PowerBetting(0.5), threshold=1e6).monitor(p)
    assert quiet.alarm == -1
    assert ExchangeabilityTest().monitor(p[:0]).alarm == -1
    assert "at most 0.1" in str(evidence.guarantee)
    assert "mean time" in str(ExchangeabilityTest(statistic="cusum").guarantee)


def test_online_p_values_by_definition(x64):
    """Heavy ties and infinite scores; the key draws the same in both precisions."""
    rng = np.random.default_rng(5)
    for n in (1, 2, 65, 200):
        scores = np.round(rng.normal(size=n), 1)
        scores[: n // 8] = np.inf
        u = 1 - np.asarray(jax.random.uniform(KEY, (n,), jnp.float32), float)
        past = np.tril(np.ones((n, n), bool))
        above = (past & (scores[None] > scores[:, None])).sum(1)
        tied = (past & (scores[None] == scores[:, None])).sum(1)
        expected = (above + u * tied) / np.arange(1, n + 1)
        got = online_p_values(scores, key=KEY)
        np.testing.assert_allclose(got, expected, rtol=1e-15)
    narrow = online_p_values(scores.astype(np.float32), key=KEY)
    assert narrow.dtype == jnp.float32
    np.testing.assert_allclose(narrow, expected, rtol=1e-6)
    assert online_p_values(np.zeros(0), key=KEY).shape == (0,)


def test_ranks_in_the_past_are_independent_and_uniform():
    """Over all orders of 5 scores every combination of ranks in the past comes once."""
    orders = jnp.array(list(itertools.permutations(range(5))), jnp.int32)
    by_rank = jax.vmap(earlier_and_lower)(orders)
    in_time = np.take_along_axis(np.asarray(by_rank), np.asarray(orders), 1)
    assert {tuple(row) for row in in_time} == set(itertools.product(*map(range, range(1, 6))))


def test_tests_under_vmap_and_jit():
    scores = jax.random.normal(KEY, (4, 50)) + jnp.linspace(0, 3, 50)[None]
    keys = jax.random.split(KEY, 4)

    def run(scores, key, jump):
        test = ExchangeabilityTest(SimpleJumper(jump), threshold=3.0)
        evidence = test.run(scores, key=key)
        return evidence.log_path, evidence.alarm

    jumps = jnp.array([0.01, 0.05, 0.1, 0.2])
    batched = jax.jit(jax.vmap(run))(scores, keys, jumps)
    for i in range(4):
        log_path, alarm = run(scores[i], keys[i], float(jumps[i]))
        np.testing.assert_allclose(log_path, batched[0][i], atol=1e-4)
        assert alarm == batched[1][i]


def test_nan_gives_nan_inside_jit():
    p = jnp.linspace(0.1, 0.9, 9)
    for name, betting in BETTINGS.items():
        for bad in (jnp.nan, 1.5, -0.1):
            found = jax.jit(lambda p, betting=betting: path(betting, p))(p.at[4].set(bad))
            assert jnp.isfinite(found[:4]).all(), name
            assert jnp.isnan(found[4:]).all(), name
    bad = p.at[2].set(jnp.nan)
    assert jnp.isnan(jax.jit(lambda s: online_p_values(s, key=KEY))(bad)).all()
    assert jnp.isnan(jax.jit(lambda jump: path(SimpleJumper(jump), p))(1.5)).all()
    assert jnp.isnan(jax.jit(lambda e: path(PowerBetting(e), p))(1.5)).all()
    assert jnp.isnan(jax.jit(lambda a: path(HistogramBetting(4, a), p))(-1.0)).all()


def test_files_come_back(tmp_path):
    evidence = ExchangeabilityTest(threshold=5.0).run(jnp.arange(20.0), key=KEY)
    io.save(tmp_path / "evidence", evidence)
    loaded = io.load(tmp_path / "evidence")
    np.testing.assert_array_equal(loaded.log_path, evidence.log_path)
    assert loaded.alarm == evidence.alarm
    assert str(loaded.guarantee) == str(evidence.guarantee)


def test_bad_input_is_refused():
    p, test = jnp.linspace(0.1, 0.9, 5), ExchangeabilityTest()
    for call, message in (
        (
            lambda: test.monitor(p + 0.5),
            "p_values must .*; 2 of 5 do not, the first is 1.1",
        ),
        (lambda: test.monitor(p.at[1].set(jnp.nan)), "p_values must be finite"),
        (lambda: test.monitor(p[None]), "p_values must have shape"),
        (lambda: test.update(test.init(), 1.2), "p_value must lie in"),
        (lambda: test.update(test.init(), p), "p_value must be a single number"),
        (lambda: test.run(p * jnp.nan, key=KEY), "scores must not be NaN"),
        (lambda: test.run(p, key=0), "new-style key"),
        (lambda: online_p_values(p[None], key=KEY), "scores must have shape"),
        (lambda: ExchangeabilityTest(threshold=1.0), "threshold must be above 1"),
        (lambda: ExchangeabilityTest(threshold=jnp.inf), "threshold must be finite"),
        (lambda: ExchangeabilityTest(statistic="x"), "statistic must be one of"),
        (lambda: SimpleJumper(0.0), "jump must lie strictly between 0 and 1"),
        (lambda: SimpleJumper((0.1, 1.0)), "jump must lie"),
        (lambda: SimpleJumper([[0.1]]), "jump must be one rate"),
        (lambda: SimpleJumper(slopes=(-3.0, 0.0)), "slopes must lie between -2 and 2; got -3"),
        (lambda: SimpleJumper(slopes=()), "slopes must have at least 1"),
        (lambda: PowerBetting(1.0), "exponent must lie"),
        (lambda: HistogramBetting(1), "bins must be a whole number >= 2"),
        (lambda: HistogramBetting(prior=0.0), "prior must be finite and positive"),
    ):
        with refuses(message):
            call()
