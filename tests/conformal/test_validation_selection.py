"""False discovery rates of outliers and selections, and false alarms of martingales, simulated."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from estimators.conformal import (
    ConformalSelection,
    ExchangeabilityTest,
    HistogramBetting,
    OutlierDetection,
    PowerBetting,
    SimpleJumper,
    e_benjamini_hochberg,
)

pytestmark = pytest.mark.validation

REPLICATES = 2000


def judge_errors(title, methods, replicates=REPLICATES, batch=500):
    """Print a table of errors, and return the names of methods that make too many.

    A method takes a key and returns the bound that is promised, the error (a number whose mean
    is bounded), and a number that says what the method is good for. Too many: a mean more than
    three Monte-Carlo standard errors above the bound, which at the bound happens by chance with
    probability .001; keys are fixed. A name that says "assumption broken" is shown, not judged.
    """
    print(f"\n**{title}**\n\n| method | at most | measured | error | power or delay |")
    print("|---|---|---|---|---|")
    broken = []
    for name, method in methods.items():
        keys = jax.random.split(jax.random.key(2), replicates)
        bounds, errors, use = map(np.asarray, jax.lax.map(method, keys, batch_size=batch))
        mean, deviation = errors.mean(), errors.std() / np.sqrt(replicates)
        bound = bounds.mean()
        print(
            f"| {name} | {bound:.4f} | {mean:.4f} | {deviation:.4f} | {np.nanmean(use):.3f} |",
            flush=True,
        )
        if mean > bound + 3 * deviation and "assumption broken" not in name:
            broken.append(name)
    return broken


def shares(found, true):
    """The share of what was found that is false, and the share of what is true that was found."""
    false = jnp.sum(found & ~true) / jnp.maximum(jnp.sum(found), 1)
    power = jnp.sum(found & true) / jnp.where(true.any(), jnp.sum(true), jnp.nan)
    return false, power


def outliers(key, spec, *, n=199, m=50, keyed=False, ties=False, given=False):
    """A tenth of the new rows lie three deviations off; calibration rows are all inliers."""
    of_cal, of_new, of_ties, of_repeat = jax.random.split(key, 4)
    strange = jnp.arange(m) < m // 10

    def scores(key, shape, off=0.0):
        z = jax.random.normal(key, shape) + off
        return jnp.round(z) if ties else z

    calibrated = spec.calibrate(scores(of_cal, (n,)))
    options = {"key": of_ties} if keyed else {}

    def once(key):
        found = calibrated.detect(scores(key, (m,), 3.0 * strange), **options)
        return shares(found.rejected, strange)

    # Where their share is estimated, the share of inliers is no longer a factor of the bound.
    inliers = 1 if spec.storey else 1 - strange.mean()
    bound = jnp.asarray(calibrated.guarantee.at_most * inliers)
    if not given:
        return bound, *once(of_new)
    # Whether the FDR given this calibration set, over 100 sets of new rows, is above the bound.
    false, power = jax.vmap(once)(jax.random.split(of_repeat, 100))
    over = jnp.mean(false) > bound + 3 * jnp.std(false) / 10
    return jnp.asarray(1 - spec.confidence), over.astype(float), jnp.mean(power)


def selection(key, spec, *, n=200, m=30, digits=None, power=1.0, ignore=False, keyed=False):
    """New rows lie at x to a power, with a density ratio that is known; noise grows with x."""
    of_cal, of_new, of_key = jax.random.split(key, 3)

    def draw(key, count, power):
        of_x, of_noise = jax.random.split(key)
        x = jax.random.uniform(of_x, (count,)) ** power
        # The monotone score finds something only where noise is small.
        size = 1.0 if spec.score == "clipped" else 0.3
        y = 2 * x - 1 + size * (0.2 + 0.6 * x) * jax.random.normal(of_noise, (count,))
        return x, y

    (x, y), (new_x, new_y) = draw(of_cal, n, 1.0), draw(of_new, m, power)
    prediction, new_prediction = 2 * x - 1, 2 * new_x - 1
    if digits is not None:
        prediction, new_prediction = (
            jnp.round(prediction, digits),
            jnp.round(new_prediction, digits),
        )
        y, new_y = jnp.round(y, digits), jnp.round(new_y, digits)
    claim, new_claim = 0.6 - 0.3 * x, 0.6 - 0.3 * new_x
    given = {"claim": claim} if spec.score == "clipped" else {}
    options = {"key": of_key} if keyed else {}
    if power != 1 and not ignore:
        given["weights"], options["weights"] = (r ** (1 / power - 1) for r in (x, new_x))
    found = spec.calibrate(prediction, y, **given).select(
        new_prediction, claim=new_claim, **options
    )
    return jnp.asarray(spec.rate), *shares(found.selected, new_y > new_claim)


CHANGE = 150


def stream(key, test, *, n=300, ties=False, fixed=False):
    """Whether there was an alarm without a change; and rows to it after a change of 1.5."""
    of_scores, of_ties, of_calibration = jax.random.split(key, 3)
    scores = jax.random.normal(of_scores, (n,))
    moved = scores + 1.5 * (jnp.arange(n) >= CHANGE)
    if ties:
        scores, moved = jnp.round(scores), jnp.round(moved)

    def alarm(scores):
        if not fixed:
            return test.run(scores, key=of_ties).alarm
        calibration = jax.random.normal(of_calibration, (20,))
        above = jnp.sum(calibration[None] > scores[:, None], 1)
        u = 1 - jax.random.uniform(of_ties, (n,))
        return test.monitor((above + u) / 21).alarm

    found = alarm(moved)
    delay = jnp.where(found >= CHANGE, found - CHANGE + 1.0, jnp.nan)
    return jnp.asarray(1 / test.threshold), (alarm(scores) >= 0).astype(float), delay


def changed_streams(key):
    """e-values of 20 streams, of which 4 change: their capital at the end."""
    moved = jnp.arange(20) < 4
    scores = (
        jax.random.normal(key, (20, 100)) + 2.0 * moved[:, None] * (jnp.arange(100) >= 40)[None]
    )

    def capital(scores, key):
        return jnp.exp(ExchangeabilityTest().run(scores, key=key).log_path[-1])

    e_values = jax.vmap(capital)(scores, jax.random.split(key, 20))
    return jnp.asarray(0.2 * 0.8), *shares(e_benjamini_hochberg(e_values, 0.2).rejected, moved)


def of(method, *args, **options):
    return lambda key: method(key, *args, **options)


OUTLIERS, SELECTION = OutlierDetection, ConformalSelection
TESTS = {
    "simple jumper, J = .01": SimpleJumper(0.01),
    "simple jumper, composite": SimpleJumper(),
    "power, exponent .5": PowerBetting(0.5),
    "power, mixture": PowerBetting(),
    "histogram, 10 bins": HistogramBetting(),
}
METHODS = {
    "outliers, 10 %: share of false ones": {
        "BH": of(outliers, OUTLIERS(0.2)),
        "BH, smoothed": of(outliers, OUTLIERS(0.2), keyed=True),
        "BH, ties": of(outliers, OUTLIERS(0.2), ties=True),
        "BH, smoothed ties": of(outliers, OUTLIERS(0.2), ties=True, keyed=True),
        "BH, 39 calibration rows, smoothed": of(outliers, OUTLIERS(0.2), n=39, keyed=True),
        "BY": of(outliers, OUTLIERS(0.2, method="by")),
        "Storey .5": of(outliers, OUTLIERS(0.2, storey=0.5)),
        "Storey .5, smoothed ties": of(outliers, OUTLIERS(0.2, storey=0.5), ties=True, keyed=True),
        "conditional, Simes": of(outliers, OUTLIERS(0.2, conditional="simes"), n=999),
        "conditional, DKWM": of(outliers, OUTLIERS(0.2, conditional="dkwm"), n=999),
        "e-BH on 20 streams": changed_streams,
    },
    "selection: share of false ones": {
        "clipped": of(selection, SELECTION(0.3)),
        "clipped, key": of(selection, SELECTION(0.3), keyed=True),
        "clipped, ties": of(selection, SELECTION(0.3), digits=0),
        "clipped, ties, key": of(selection, SELECTION(0.3), digits=0, keyed=True),
        "monotone": of(selection, SELECTION(0.3, score="monotone")),
        "monotone, ties, key": of(
            selection, SELECTION(0.3, score="monotone"), digits=1, keyed=True
        ),
        "clipped, shift 2x unweighted, assumption broken": of(
            selection, SELECTION(0.3), power=0.5, ignore=True
        ),
    },
    **{
        f"selection, {words}": {
            f"{score}, {pruning}{', key' if keyed else ''}{'' if digits is None else ', ties'}": of(
                selection,
                SELECTION(0.3, score=score, pruning=pruning),
                power=power,
                n=n,
                keyed=keyed,
                digits=digits,
            )
            for score, pruning, keyed, digits in (
                ("clipped", "deterministic", False, None),
                ("clipped", "deterministic", True, None),
                ("clipped", "homogeneous", True, None),
                ("clipped", "heterogeneous", True, None),
                ("clipped", "deterministic", False, 0),
                ("clipped", "homogeneous", True, 0),
                ("monotone", "deterministic", False, None),
                ("monotone", "homogeneous", True, None),
                ("monotone", "homogeneous", True, 1),
            )
        }
        for words, power, n in (
            ("density ratio 2x", 0.5, 200),
            ("density ratio 1 / (2 sqrt x), not bounded", 2.0, 60),
        )
    },
    "streams of 300: alarms where nothing changed, and delay": {
        **{name: of(stream, ExchangeabilityTest(betting)) for name, betting in TESTS.items()},
        "simple jumper, composite, ties": of(stream, ExchangeabilityTest(), ties=True),
        "simple jumper, composite, one fixed calibration set, assumption broken": of(
            stream, ExchangeabilityTest(), fixed=True
        ),
    },
}


@pytest.mark.parametrize("setting", METHODS)
def test_every_method_keeps_its_promise(setting):
    """2000 replicates each; see `judge_errors` for what is broken and how often by chance."""
    assert not judge_errors(setting, METHODS[setting])


def test_false_discoveries_are_bounded_given_most_calibration_sets():
    """Bad sets, by the mean over 100 sets of new rows: at most .1. Without adjustment there are
    more of them."""
    methods = {
        "conditional, Simes": of(outliers, OUTLIERS(0.2, conditional="simes"), n=999, given=True),
        "conditional, DKWM": of(outliers, OUTLIERS(0.2, conditional="dkwm"), n=999, given=True),
        "marginal, assumption broken": of(outliers, OUTLIERS(0.2), n=999, given=True),
    }
    title = "outliers: share of calibration sets whose own FDR is above its bound"
    assert not judge_errors(title, methods, replicates=2000, batch=50)


def test_charts_run_long_enough_without_a_change():
    """The mean time to an alarm, cut off at 1000 rows, less than three errors below 200."""
    print("\n**charts: mean rows to an alarm**\n\n| method | at least | measured | error | delay |")
    print("|---|---|---|---|---|")
    names = "simple jumper, composite", "power, mixture", "histogram, 10 bins"
    for statistic, name in itertools.product(("shiryaev-roberts", "cusum"), names):
        test = ExchangeabilityTest(TESTS[name], statistic=statistic, threshold=200.0)

        def rows_to_alarm(key, test=test):
            of_scores, of_ties = jax.random.split(key)
            scores = jax.random.normal(of_scores, (1000,))
            moved = scores[:300] + 1.5 * (jnp.arange(300) >= CHANGE)
            found, late = (test.run(s, key=of_ties).alarm for s in (scores, moved))
            delay = jnp.where(late >= CHANGE, late - CHANGE + 1.0, jnp.nan)
            return jnp.where(found >= 0, found + 1.0, 1000.0), delay

        keys = jax.random.split(jax.random.key(3), 2000)
        times, delays = map(np.asarray, jax.lax.map(rows_to_alarm, keys, batch_size=500))
        mean, error = times.mean(), times.std() / np.sqrt(times.size)
        print(
            f"| {statistic}, {name} | 200 | {mean:.1f} | {error:.1f} | {np.nanmean(delays):.1f} |",
            flush=True,
        )
        assert mean > 200 - 3 * error
