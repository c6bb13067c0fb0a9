"""Sets of classes on simulated data, against their own guarantees: tables."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from promises import judge

from estimators import conformal

pytestmark = pytest.mark.validation

N, COVERAGE, CLASSES = 60, 0.8, 6
PRIOR = jnp.asarray([0.3, 0.25, 0.2, 0.15, 0.07, 0.03])
SHIFTED = jnp.asarray([0.03, 0.07, 0.15, 0.2, 0.25, 0.3])


def rows(key, n, prior=PRIOR, spread=1.5):
    """Labels of a law, and probabilities of a model that is too sure and blind to some classes."""
    of_labels, of_noise = jax.random.split(key)
    labels = jax.random.categorical(of_labels, jnp.log(prior), shape=(n,))
    signal = jnp.linspace(3.0, 0.5, prior.size)[labels]
    logits = signal[:, None] * jax.nn.one_hot(labels, prior.size)
    noise = spread * jax.random.normal(of_noise, logits.shape)
    return jax.nn.softmax(1.5 * (logits + noise)), labels


def tenths(probabilities):
    """Heavy ties: rounded to tenths, the rest to the most probable label."""
    rounded = jnp.floor(10 * probabilities) / 10
    rest = 1 - jnp.sum(rounded, -1, keepdims=True)
    best = jnp.argmax(probabilities, -1)
    return rounded + rest * jax.nn.one_hot(best, probabilities.shape[-1])


def method(score=None, n=N, edit=None, old=None, new=None, never_empty=False, only=None, **options):
    """Calibrate on n rows and ask for one new one, which is of the classes `only` if given."""
    score = score or conformal.LAC()
    spec = conformal.ConformalClassification(COVERAGE, score, never_empty=never_empty)
    old = PRIOR if old is None else old
    new = old if new is None else new

    def run(key):
        of_rows, of_new, of_calibration, of_sets = jax.random.split(key, 4)
        probabilities, labels = rows(of_rows, n, old)
        row, label = rows(of_new, 1, new if only is None else new * jnp.asarray(only))
        if edit is not None:
            probabilities, row = edit(probabilities), edit(row)
        drawn = spec.score.randomised or options.get("per") == "cluster"
        calibrated = spec.calibrate(
            probabilities, labels, key=of_calibration if drawn else None, **options
        )
        inside = calibrated.contains(row, key=of_sets if spec.score.randomised else None)
        return calibrated, inside[0, label[0]]

    return run


def grouped(key):
    """Two groups, by the most probable label."""
    of_rows, of_new = jax.random.split(key)
    (probabilities, labels), (row, label) = rows(of_rows, N), rows(of_new, 1)
    groups = [(jnp.argmax(array, -1) > 1).astype(int) for array in (probabilities, row)]
    spec = conformal.ConformalClassification(COVERAGE, conformal.APS())
    calibrated = spec.calibrate(probabilities, labels, groups=groups[0], count=2)
    return calibrated, calibrated.contains(row, groups=groups[1])[0, label[0]]


def estimated_shift(key):
    """Weights of labels from 400 rows of each law, those of the new one without labels."""
    of_rows, of_new, of_known, of_unknown = jax.random.split(key, 4)
    (probabilities, labels), (row, label) = rows(of_rows, N), rows(of_new, 1, SHIFTED)
    known, known_labels = rows(of_known, 400)
    weights = conformal.label_shift_weights(known, known_labels, rows(of_unknown, 400, SHIFTED)[0])
    spec = conformal.ConformalClassification(COVERAGE)
    calibrated = spec.calibrate(probabilities, labels, label_weights=weights)
    return calibrated, calibrated.contains(row)[0, label[0]]


SCORES = {
    "LAC": conformal.LAC(),
    "Margin": conformal.Margin(),
    "TopK": conformal.TopK(),
    "APS": conformal.APS(),
    "RAPS": conformal.RAPS(0.05, 1),
    "SAPS": conformal.SAPS(0.1),
    "APS, drawn": conformal.APS(True),
    "RAPS, drawn": conformal.RAPS(0.05, 1, True),
    "SAPS, drawn": conformal.SAPS(0.1, True),
}
TWELVE = jnp.concatenate([jnp.full(8, 0.12), jnp.full(4, 0.01)])
METHODS = {
    "one threshold": {name: method(score) for name, score in SCORES.items()}
    | {
        "LAC, never empty": method(never_empty=True),
        "APS, drawn, never empty": method(conformal.APS(True), never_empty=True),
        "two groups": grouped,
    },
    "heavy ties, probabilities in tenths": {
        name: method(SCORES[name], edit=tenths) for name in ("LAC", "APS", "RAPS", "SAPS")
    },
    "classes": {
        "each class, APS": method(conformal.APS(), per="class"),
        "each class, APS, new rows of the rarest, 3 % of 60": method(
            conformal.APS(), per="class", only=[0, 0, 0, 0, 0, 1]
        ),
        "each class, new rows of the largest": method(per="class", only=[1, 0, 0, 0, 0, 0]),
    },
    "classes have another law": {
        "known weights": method(new=SHIFTED, label_weights=SHIFTED / PRIOR),
        "known weights, SAPS, drawn": method(
            conformal.SAPS(0.1, True), new=SHIFTED, label_weights=SHIFTED / PRIOR
        ),
        "estimated weights, 400 rows of each law": estimated_shift,
    },
}


@pytest.mark.parametrize("setting", METHODS)
def test_every_method_keeps_its_promise(setting):
    """4000 calibration sets each; see `judge` for what is broken and how often by chance."""
    assert not judge(setting, METHODS[setting])


def test_a_thousand_classes():
    """2000 calibration sets of 30 rows; see `judge`."""
    many = jnp.full(1000, 1e-3)
    methods = {
        f"{name}, K = 1000": method(SCORES[name], n=30, old=many)
        for name in ("LAC", "APS", "RAPS, drawn", "SAPS")
    }
    assert not judge("a thousand classes", methods, replicates=2000, batch=20)


def test_clusters_cover_within_each():
    """2000 calibration sets of 400 rows, 12 classes of which 4 are rare, 2 clusters: new rows of
    the cluster 0, of the cluster 1 and of rare classes. Promised in clusters, at least the
    coverage within three errors (false alarm .001 each); shown for the rare ones."""
    spec = conformal.ConformalClassification(COVERAGE)

    def one(key):
        of_rows, of_new, of_clusters = jax.random.split(key, 3)
        probabilities, labels = rows(of_rows, 400, TWELVE)
        row, label = rows(of_new, 20, TWELVE)
        calibrated = spec.calibrate(
            probabilities, labels, per="cluster", clusters=2, key=of_clusters
        )
        hit = jnp.take_along_axis(calibrated.contains(row), label[:, None], 1)[:, 0]
        cluster = calibrated.thresholds.clusters[label]
        first = jnp.array([jnp.argmax(cluster == number) for number in range(3)])
        return hit[first], (cluster[first] == jnp.arange(3))

    hit, known = jax.lax.map(one, jax.random.split(jax.random.key(3), 2000), batch_size=200)
    hit, known = np.asarray(hit), np.asarray(known)
    print("\n| new rows of | promised | covered | error |\n|---|---|---|---|")
    broken = []
    for number, name in enumerate(("cluster 0", "cluster 1", "rare classes")):
        own = hit[known[:, number], number]
        covered, error = own.mean(), np.sqrt(own.mean() * (1 - own.mean()) / own.size)
        promised = f"at least {COVERAGE}" if number < 2 else "nothing"
        print(f"| {name} | {promised} | {covered:.4f} | {error:.4f} |", flush=True)
        if number < 2 and covered < COVERAGE - 3 * error:
            broken.append(name)
    assert not broken


def test_without_weights_a_shift_of_classes_is_not_covered():
    """The same shift as above: were weights ignored, the table above would show it."""
    broken = judge("no weights where there should be", {"none": method(new=SHIFTED)})
    assert broken == ["none"]
