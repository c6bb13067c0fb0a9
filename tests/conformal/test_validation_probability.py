"""What calibrated probabilities promise and calibration errors find, on simulated data."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from promises import REPLICATES, judge

from estimators import conformal

pytestmark = pytest.mark.validation

N = 60


def replicate(method, replicates=REPLICATES, batch=500):
    """What a method of a key gives, for many keys."""
    keys = jax.random.split(jax.random.key(2), replicates)
    return jax.lax.map(method, keys, batch_size=batch)


def table(title, *columns):
    """Start a table."""
    print(f"\n**{title}**\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")


def rows(key, n, ties=False):
    """Scores, with rounding to a few values if asked, and labels that they predict badly."""
    of_scores, of_labels = jax.random.split(key)
    scores = jax.random.normal(of_scores, (n,))
    scores = jnp.round(scores) if ties else scores
    truth = jnp.where(scores > 0, 0.3 + 0.5 * jax.nn.sigmoid(2 * scores), 0.35 - 0.1 * scores)
    return scores, jax.random.uniform(of_labels, (n,)) < truth


def venn_abers(key, ties=False):
    """The probabilities of one new row from 60 others, and its label."""
    of_rows, of_new = jax.random.split(key)
    (scores, labels), (new, label) = rows(of_rows, N, ties), rows(of_new, 1, ties)
    found = conformal.VennAbers().calibrate(scores, labels).probability(new)
    return found.lower[0], found.upper[0], found.merged[0], label[0]


def venn_predictor(key):
    """The same with three groups of the score as taxonomy."""
    of_rows, of_new = jax.random.split(key)
    (scores, labels), (new, label) = rows(of_rows, N), rows(of_new, 1)
    groups, group = (jnp.digitize(s, jnp.array([-1.0, 0.8])) for s in (scores, new))
    found = conformal.VennPredictor(2).calibrate(groups, labels, count=3).probability(group)
    return found.lower[0, 1], found.upper[0, 1], found.merged[0, 1], label[0]


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("Venn-Abers", venn_abers),
        ("Venn-Abers, few distinct scores", lambda key: venn_abers(key, ties=True)),
        ("Venn predictor, three groups", venn_predictor),
    ],
)
def test_one_of_two_probabilities_is_calibrated(name, method):
    """In fifths of p_y, the mean of `label - p_y` within three errors of 0 (p = .013 by chance).

    The scores do not rise with the probability everywhere. What is merged is only shown.
    """
    lower, upper, merged, label = (np.asarray(a) for a in replicate(method, 10 * REPLICATES))
    chosen = np.where(label, upper, lower)
    table(f"{name}: one is calibrated", "fifth of p_y", "p_y", "labels", "error", "merged: off by")
    far = []
    fifths = np.unique(np.quantile(chosen, np.arange(1, 5) / 5))
    cells = np.digitize(chosen, fifths), np.digitize(merged, fifths)
    for fifth in np.unique(cells[0]):
        own, other = (cell == fifth for cell in cells)
        gap = label[own] - chosen[own]
        error = gap.std() / np.sqrt(own.sum())
        off = (label - merged)[other].mean()
        print(
            f"| {fifth + 1} | {chosen[own].mean():.4f} | {label[own].mean():.4f} "
            f"| {error:.4f} | {off:+.4f} |"
        )
        far.append(abs(gap.mean()) > 3 * error)
    assert not any(far)


def recalibrated(key, coverage):
    """Levels of outcomes under a law that is too narrow and shifted."""
    of_rows, of_new = jax.random.split(key)

    def pit(key, n):
        return jax.scipy.stats.norm.cdf(0.5 + 1.6 * jax.random.normal(key, (n,)))

    calibrated = conformal.QuantileRecalibration(coverage).calibrate(pit(of_rows, N))
    lower, upper = calibrated.interval()
    new = pit(of_new, 1)[0]
    return calibrated, (lower <= new) & (new <= upper)


def test_recalibrated_levels_cover():
    """See `judge`; N = 60 is too few for .97 with equal tails, where the interval is infinite."""
    methods = {
        f"quantile recalibration, {coverage}": lambda key, coverage=coverage: recalibrated(
            key, coverage
        )
        for coverage in (0.5, 0.8, 0.97)
    }
    assert not judge("levels of a wrong law, recalibrated", methods)


def uniform_rows(key, n, power=1.0):
    """Uniform probabilities p and labels that are 1 with probability p**power."""
    of_p, of_labels = jax.random.split(key)
    p = jax.random.uniform(of_p, (n,))
    return p, jax.random.uniform(of_labels, (n,)) < p**power


def p_value_of_rows(key, power, sharp=False):
    """The calibration test on 100 rows, also of probabilities that are nearly certain."""
    of_rows, of_labels, of_test = jax.random.split(key, 3)
    p, labels = uniform_rows(of_rows, 100, power)
    if sharp:
        p = p**6
        labels = jax.random.uniform(of_labels, (100,)) < p
    return conformal.calibration_test(p, labels, key=of_test, bins=8, draws=199).p_value


def p_value_of_levels(key, power, wrong=1.0):
    """The test of levels on 50 rows."""
    of_rows, of_test = jax.random.split(key)
    pit = jax.random.uniform(of_rows, (50,)) ** wrong
    return conformal.pit_calibration_test(pit, key=of_test, power=power, draws=199).p_value


def test_tests_of_calibration_keep_their_level():
    """Rejections at .05 at most three errors above it where calibration holds; power is shown."""
    table("tests of calibration at level .05", "test", "promised", "rejected", "error")
    methods = {
        "binned": (True, lambda key: p_value_of_rows(key, 1.0)),
        "binned, nearly certain": (True, lambda key: p_value_of_rows(key, 1.0, sharp=True)),
        "binned, labels of probability p**1.5": (False, lambda key: p_value_of_rows(key, 1.5)),
        "levels, power 1": (True, lambda key: p_value_of_levels(key, 1)),
        "levels, power 2": (True, lambda key: p_value_of_levels(key, 2)),
        "levels that are u**1.3": (False, lambda key: p_value_of_levels(key, 1, 1.3)),
    }
    far = []
    for name, (calibrated, method) in methods.items():
        share = float(jnp.mean(replicate(method) <= 0.05))
        error = np.sqrt(share * (1 - share) / REPLICATES)
        print(f"| {name} | {'at most .05' if calibrated else '-'} | {share:.4f} | {error:.4f} |")
        far.append(calibrated and share > 0.05 + 3 * error)
    assert not any(far)


LAWS = {
    "calibrated": (1.0, lambda p: p, (0.0, 0.0)),
    "p**2": (1.0, lambda p: p**2, (1 / 6, 1 / 30)),
    "p + .15": (0.8, lambda p: p + 0.15, (0.15, 0.0225)),
}


def bar(key, kind, law, power):
    """Whether the interval at .9 has the truth in it, and the error found, of 500 rows."""
    largest, truth, errors = LAWS[law]
    of_p, of_labels = jax.random.split(key)
    p = largest * jax.random.uniform(of_p, (500,))
    labels = jax.random.uniform(of_labels, (500,)) < truth(p)
    if kind == "binned":
        found = conformal.calibration_error(p, labels, bins=15, power=power)
    else:
        found = conformal.kernel_calibration_error(p, labels, bandwidth=0.005, power=power)
    lower, upper = found.interval(0.9)
    return (lower <= errors[power - 1]) & (errors[power - 1] <= upper), found.value


@pytest.mark.parametrize("kind", ["binned", "kernel"])
def test_error_bars_cover(kind):
    """At .9, which is asymptotic: at least .87 with 500 rows, three errors in."""
    columns = "labels of probability", "power", "truth", "mean", "promised", "covered", "error"
    table(f"intervals of the {kind} calibration error", *columns)
    low = []
    for law, power in itertools.product(LAWS, (1, 2)):
        hit, value = replicate(lambda key, case=(kind, law, power): bar(key, *case), 2000, batch=20)
        covered = float(jnp.mean(hit.astype(float)))
        error = np.sqrt(covered * (1 - covered) / 2000)
        print(
            f"| {law} | {power} | {LAWS[law][2][power - 1]:.4f} | {jnp.mean(value):.4f} "
            f"| near .9 | {covered:.4f} | {error:.4f} |",
            flush=True,
        )
        low.append(covered < 0.87 - 3 * error)
    assert not any(low)


def bars_hit(key, binning):
    """Whether the observed frequency of a calibrated forecast is within its bar, in each bin."""
    of_p, of_labels = jax.random.split(key)
    p = jax.random.uniform(of_p, (200,)) ** 2
    labels = jax.random.uniform(of_labels, (200,)) < p
    found = conformal.reliability(p, labels, binning=binning)
    return (found.lower <= found.observed) & (found.observed <= found.upper)


def test_consistency_bars_cover():
    """At least .9 in the worst bin, but for three errors."""
    table("consistency bars of reliability diagrams", "bins", "promised", "worst bin", "error")
    for binning in ("mass", "width"):
        hit = replicate(lambda key, binning=binning: bars_hit(key, binning))
        worst = float(jnp.min(jnp.mean(hit.astype(float), 0)))
        error = np.sqrt(worst * (1 - worst) / REPLICATES)
        print(f"| equal {binning} | at least .9 | {worst:.4f} | {error:.4f} |")
        assert worst > 0.9 - 3 * error
