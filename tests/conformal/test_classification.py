"""Sets of classes: scores by hand and by the oracle, sets without a sort, every threshold."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from estimators import conformal, io
from estimators.conformal import _classification as room
from estimators.conformal._classification._clusters import weighted_means
from estimators.testing import refuses

KEY = jax.random.key(0)
ROWS, CLASSES = 120, 8


def scores():
    return [
        conformal.LAC(),
        conformal.Margin(),
        conformal.TopK(),
        conformal.APS(),
        conformal.APS(True),
        conformal.RAPS(0.05, 2),
        conformal.RAPS(0.05, 2, True),
        conformal.SAPS(0.1),
        conformal.SAPS(0.1, True),
    ]


def draw(key, n, dtype=float, classes=CLASSES, sharp=1.0):
    """Logits, probabilities that are too sharp or right, and labels of the logits' law."""
    of_logits, of_labels = jax.random.split(key)
    logits = 2 * jax.random.normal(of_logits, (n, classes), jnp.float32)
    labels = jax.random.categorical(of_labels, logits)
    return jax.nn.softmax(sharp * logits.astype(dtype)), labels


def tied(probabilities):
    """Rounded to tenths, so that many are equal, or 0."""
    rounded = jnp.round(probabilities, 1) + 0.1 * (probabilities > 0.999)
    return rounded / jnp.sum(rounded, -1, keepdims=True)


@pytest.fixture
def oracle(shared_data):
    return np.load(shared_data / "conformal_oracle" / "classification.npz")


def test_scores_equal_the_oracle(x64, oracle):
    """RAPS within the peer's float32 penalty. The peer's SAPS gives calibration rows of the
    most probable label 0, and the same label p_max in prediction: only the latter is compared;
    its ranks of calibration rows are all K."""
    pairs = {
        "lac": conformal.LAC(),
        "margin": conformal.Margin(),
        "topk": conformal.TopK(),
        "aps": conformal.APS(),
    }
    pairs |= {"raps": conformal.RAPS(0.05, 2), "saps": conformal.SAPS(0.2)}
    for name, score in pairs.items():
        rtol = 1e-7 if name in ("raps", "saps") else 1e-14
        got = score.of_all(oracle["probs_test"])
        np.testing.assert_allclose(got, oracle[f"torchcp_{name}_all"], rtol=rtol, atol=1e-15)
        got = np.asarray(score.of_labels(oracle["probs_cal"], oracle["y_cal"]))
        theirs = oracle[f"torchcp_{name}_cal"]
        if name == "topk":
            np.testing.assert_array_equal(got, 1 + oracle["mapie_top_k_scores"][:, 0])
            continue
        if name == "saps":
            first = np.argmax(oracle["probs_cal"], 1) == oracle["y_cal"]
            np.testing.assert_array_equal(theirs[first], 0)
            np.testing.assert_array_equal(got[first], oracle["probs_cal"].max(1)[first])
            continue
        np.testing.assert_allclose(got, theirs, rtol=rtol, atol=1e-15)


def test_sets_equal_the_oracle(x64, oracle):
    n = oracle["y_cal"].size
    ours = {"mapie_lac": conformal.LAC(), "mapie_top_k": conformal.TopK()}
    for i, coverage in enumerate(oracle["levels"]):
        for name, score in ours.items():
            spec = conformal.ConformalClassification(float(coverage), score)
            calibrated = spec.calibrate(oracle["probs_cal"], oracle["y_cal"])
            got = calibrated.contains(oracle["probs_test"])
            np.testing.assert_array_equal(got, oracle[name][:, :, i])
            if name == "mapie_lac":  # in by rank is in by p-value
                beyond = n + 1 - conformal.conformal_rank(n, float(coverage)) + 1
                p_values = np.round(oracle["crepes_lac_p_nonsmoothed"] * (n + 1))
                np.testing.assert_array_equal(got, p_values >= beyond)
    # The peer's APS draws in calibration alone.
    drawn = oracle["probs_cal"], oracle["y_cal"], 1 - oracle["mapie_aps_u"]
    own = room._score.scores_of_labels(conformal.APS(True), *map(jnp.asarray, drawn))
    np.testing.assert_allclose(own, oracle["mapie_aps_scores"][:, 0], atol=1e-15)
    for i, coverage in enumerate(oracle["levels"]):
        threshold = conformal.conformal_quantile(own, float(coverage))
        inside = conformal.APS().of_all(oracle["probs_test"]) <= threshold
        np.testing.assert_array_equal(inside, oracle["mapie_aps_lastFalse"][:, :, i])
    spec = conformal.ConformalClassification(0.8)
    each = spec.calibrate(oracle["probs_cal"], oracle["y_cal"], per="class")
    np.testing.assert_array_equal(each.thresholds.values, oracle["classcond_lac_q80_own"])


def by_hand(score, row, u):
    """The scores of all labels of one row, from their definitions, ties together."""
    p = np.asarray(row, np.float64)
    at_least, above = p[None] >= p[:, None], p[None] > p[:, None]
    rank, ahead = at_least.sum(1), above.sum(1)
    u = u if score.randomised else 1.0
    mass = (above * p[None]).sum(1) + u * ((at_least & ~above) * p[None]).sum(1)
    name = type(score).__name__
    if name == "Margin":
        return np.array([np.delete(p, k).max() for k in range(p.size)]) - p
    if name == "SAPS":
        before = np.where(ahead > 0, p.max() + score.penalty * (ahead - 1), 0)
        return before + u * (p.max() + score.penalty * (rank - 1) - before)
    if name == "RAPS":
        return mass + score.penalty * np.maximum(rank - score.free, 0)
    return {"LAC": 1 - p, "TopK": rank, "APS": mass}[name]


@pytest.mark.parametrize("ties", [False, True])
def test_scores_by_hand(x64, ties):
    probabilities, _ = draw(KEY, ROWS)
    probabilities = tied(probabilities) if ties else probabilities
    u = 1 - np.asarray(jax.random.uniform(KEY, (ROWS,), jnp.float32), np.float64)
    for score in scores():
        got = score.of_all(probabilities, key=KEY if score.randomised else None)
        expected = [by_hand(score, *row) for row in zip(probabilities, u, strict=True)]
        np.testing.assert_allclose(got, expected, atol=1e-13)


@pytest.mark.parametrize(
    ("dtype", "which"),
    [
        ("float32", (1, 3, 6)),
        ("float64", (8,)),
        pytest.param("float32", range(9), marks=pytest.mark.thorough),
        pytest.param("float64", range(9), marks=pytest.mark.thorough),
    ],
)
def test_a_label_is_in_the_set_exactly_if_its_score_is_at_most_the_threshold(dtype, which):
    """To the last bit, with thresholds that are scores, with ties and without; the own labels
    of calibration rows with them."""
    with jax.enable_x64(dtype == "float64"):
        probabilities, labels = draw(KEY, ROWS, jnp.dtype(dtype))
        for rows in (probabilities, tied(probabilities)):
            for score in map(scores().__getitem__, which):
                key = KEY if score.randomised else None
                own = np.asarray(score.of_labels(rows, labels, key=key))
                every = np.asarray(score.of_all(rows, key=key))
                assert own.dtype == every.dtype == rows.dtype
                np.testing.assert_array_equal(every[np.arange(ROWS), labels], own)
                for coverage in (0.3, 0.9):
                    spec = conformal.ConformalClassification(coverage, score)
                    calibrated = spec.calibrate(rows, labels, key=key)
                    threshold = np.asarray(calibrated.thresholds.values)[0]
                    assert (own == threshold).any()
                    inside = calibrated.contains(rows, key=key)
                    np.testing.assert_array_equal(inside, every <= threshold)


def test_rows_beyond_one_block_and_batches_are_the_same(monkeypatch):
    probabilities, labels = draw(KEY, ROWS)
    score = conformal.RAPS(0.05, 2)
    calibrated = conformal.ConformalClassification(0.9, score).calibrate(probabilities, labels)
    whole = calibrated.contains(probabilities)
    batch = calibrated.contains(probabilities.reshape(3, 40, CLASSES))
    np.testing.assert_array_equal(batch.reshape(whole.shape), whole)
    np.testing.assert_array_equal(calibrated.contains(probabilities[7]), whole[7])
    assert calibrated.contains(probabilities[:0]).shape == (0, CLASSES)
    monkeypatch.setattr(room._score, "BLOCK", 70 * CLASSES)
    for function in (score.of_all, calibrated.contains):
        compiled = jax.jit(lambda p, function=function: function(p))
        np.testing.assert_array_equal(compiled(probabilities), function(probabilities))


def test_permuted_classes_give_permuted_sets():
    """Ties too: no label is preferred for its number."""
    probabilities, labels = draw(KEY, ROWS)
    probabilities = tied(probabilities)
    order = jax.random.permutation(KEY, CLASSES)
    for score in (conformal.APS(), conformal.Margin()):
        spec = conformal.ConformalClassification(0.6, score)
        plain = spec.calibrate(probabilities, labels).contains(probabilities)
        moved = spec.calibrate(probabilities[:, order], jnp.argsort(order)[labels])
        np.testing.assert_array_equal(moved.contains(probabilities[:, order]), plain[:, order])


def test_one_program_for_all_penalties_and_a_map_over_them():
    probabilities, labels = draw(KEY, ROWS)

    def sizes(penalty):
        spec = conformal.ConformalClassification(0.9, conformal.RAPS(penalty, 1))
        calibrated = spec.calibrate(probabilities, labels)
        return jnp.mean(jnp.sum(calibrated.contains(probabilities), -1).astype(float))

    single = [sizes(penalty) for penalty in (0.0, 0.3)]
    compiled = room._calibrated._contains._cache_size()
    sizes(0.7)
    assert room._calibrated._contains._cache_size() == compiled
    np.testing.assert_array_equal(jax.vmap(sizes)(jnp.array([0.0, 0.3])), jnp.stack(single))
    assert jnp.isfinite(sizes(1e30))
    assert jax.jit(sizes)(-1.0) == 0  # no plausible sets


def test_derivatives_are_those_of_the_sums(x64):
    probabilities, labels = draw(KEY, 6)
    score = conformal.RAPS(0.1, 1, True)

    def one(p):
        return jnp.sum(score.of_labels(p, labels, key=KEY))

    def every(p):
        own = jnp.take_along_axis(score.of_all(p, key=KEY), labels[:, None], 1)
        return jnp.sum(own)

    slope = jax.grad(one)(probabilities)
    direction = jax.random.normal(KEY, probabilities.shape)
    direction -= jnp.mean(direction, 1, keepdims=True)  # rows keep their sum
    step = 1e-6 * direction
    numeric = (one(probabilities + step) - one(probabilities - step)) / 2e-6
    np.testing.assert_allclose(jnp.sum(slope * direction), numeric, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(jax.grad(every)(probabilities), slope, atol=1e-12)


REPLICATES = 3000


def test_scores_without_draws_cover_with_small_sets():
    """3000 calibration sets of 40 rows, one new row each: at least 0.7 within 4 standard errors
    (false alarm 3e-5 each). A peer's SAPS covers .24 here, as it scores the most probable label
    of calibration rows by another formula; another's LAC keeps the least conforming labels, and
    its sets hold 4.9 of 5. The best label alone is right in about .7; ours hold fewer than 2."""

    def one(key):
        probabilities, labels = draw(key, 41, classes=5, sharp=2.0)
        hit, size = [], []
        for score in (conformal.SAPS(0.2), conformal.LAC(), conformal.APS()):
            spec = conformal.ConformalClassification(0.7, score)
            calibrated = spec.calibrate(probabilities[:40], labels[:40])
            inside = calibrated.contains(probabilities[40])
            hit.append(inside[labels[40]])
            size.append(jnp.sum(inside))
        return jnp.stack(hit), jnp.stack(size)

    hit, size = jax.jit(jax.vmap(one))(jax.random.split(KEY, REPLICATES))
    covered = np.asarray(hit).mean(0)
    assert (covered > 0.7 - 4 * np.sqrt(0.21 / REPLICATES)).all()
    assert (covered < 0.8).all()
    assert (np.asarray(size).mean(0) < 2).all()


def test_ranks_are_exact():
    """Nine rows are enough for 0.9; a peer gives the full set."""
    probabilities, labels = draw(KEY, 9)
    calibrated = conformal.ConformalClassification(0.9).calibrate(probabilities, labels)
    assert calibrated.thresholds.values[0] == jnp.max(
        conformal.LAC().of_labels(probabilities, labels)
    )
    assert calibrated.reason is None
    few = conformal.ConformalClassification(0.9).calibrate(probabilities[:8], labels[:8])
    assert few.contains(probabilities).all()
    assert few.reason == "coverage 0.9 needs at least 9 calibration rows; there were 8"


def test_an_empty_set_gets_the_most_probable_label():
    probabilities, _ = draw(KEY, ROWS, sharp=0.3)
    sure = jnp.argmax(probabilities, -1)
    for score in (conformal.LAC(), conformal.APS(True)):
        key = KEY if score.randomised else None
        found = []
        for never_empty in (False, True):
            spec = conformal.ConformalClassification(0.3, score, never_empty=never_empty)
            found.append(spec.calibrate(probabilities, sure, key=key))
        plain, full = (one.contains(probabilities, key=key) for one in found)
        empty = ~plain.any(-1)
        assert empty.any()
        np.testing.assert_array_equal(plain[~empty], full[~empty])
        np.testing.assert_array_equal(full[empty], jax.nn.one_hot(sure, CLASSES)[empty])
        assert found[1].guarantee.at_most is None


def test_guarantees():
    probabilities, labels = draw(KEY, 30)
    spec = conformal.ConformalClassification(0.9, conformal.APS(True))
    drawn = spec.calibrate(probabilities, labels, key=KEY).guarantee
    assert (drawn.kind, drawn.at_least, drawn.at_most) == ("exact", 28 / 31, 28 / 31)
    plain = conformal.ConformalClassification(0.9).calibrate(probabilities, labels).guarantee
    assert (plain.kind, plain.at_least, plain.at_most) == ("at least", 28 / 31, 28 / 31)
    full = conformal.ConformalClassification(0.9, conformal.APS(True), never_empty=True)
    full = full.calibrate(probabilities, labels, key=KEY).guarantee
    assert (full.kind, full.at_least, full.at_most) == ("at least", 28 / 31, None)
    sizes = np.bincount(labels, minlength=CLASSES)
    each = conformal.ConformalClassification(0.5).calibrate(probabilities, labels, per="class")
    ranks = [conformal.conformal_rank(int(size), 0.5) / (size + 1) for size in sizes]
    assert each.guarantee.at_least == min(ranks)
    assert "in every class" in str(each.guarantee)


def test_classes_with_few_rows_are_in_every_set():
    probabilities, labels = draw(KEY, ROWS)
    labels = jnp.where(labels == 3, 4, labels)  # none
    labels = jnp.where((labels == 6) & (jnp.cumsum(labels == 6) > 5), 5, labels)  # few
    spec = conformal.ConformalClassification(0.9, conformal.APS())
    calibrated = spec.calibrate(probabilities, labels, per="class")
    assert calibrated.reason == (
        "coverage 0.9 needs at least 9 calibration rows of a class; 2 of 8 classes have less, "
        "and are in every set: 3, 6"
    )
    inside = calibrated.contains(probabilities)
    assert inside[:, jnp.array([3, 6])].all()
    assert not inside[:, 0].all()
    own = np.asarray(conformal.APS().of_labels(probabilities, labels))
    for label in (0, 4, 5):
        mine = np.sort(own[np.asarray(labels) == label])
        alone = mine[conformal.conformal_rank(mine.size, 0.9) - 1]
        assert calibrated.thresholds.values[label] == alone


def test_groups_and_weights_are_those_of_the_scores():
    probabilities, labels = draw(KEY, ROWS)
    new, groups = probabilities[:7], jnp.arange(ROWS) % 2
    weights, score = jax.random.uniform(KEY, (ROWS,)), conformal.RAPS(0.1, 1)
    spec = conformal.ConformalClassification(0.8, score)
    own, every = score.of_labels(probabilities, labels), score.of_all(new)
    found = spec.calibrate(probabilities, labels, groups=groups)
    thresholds = conformal.grouped_conformal_quantiles(own, groups, 0.8)[groups[:7]]
    expected = every <= thresholds[:, None]
    np.testing.assert_array_equal(found.contains(new, groups=groups[:7]), expected)
    found = spec.calibrate(probabilities, labels, weights=weights)
    thresholds = conformal.weighted_conformal_quantiles(own, weights, weights[:7], 0.8)
    expected = every <= thresholds[:, None]
    np.testing.assert_array_equal(found.contains(new, weights=weights[:7]), expected)
    assert "weight is above" in found.reason


def test_weights_of_labels_by_hand():
    """Each label's own weight in the sum; equal weights are none, a heavy label is always in."""
    probabilities, labels = draw(KEY, ROWS)
    spec = conformal.ConformalClassification(0.8)
    own = np.asarray(conformal.LAC().of_labels(probabilities, labels))
    plain = spec.calibrate(probabilities, labels)
    equal = spec.calibrate(probabilities, labels, label_weights=jnp.full(CLASSES, 3.0))
    np.testing.assert_array_equal(equal.thresholds.values, plain.thresholds.values[0])
    weights = np.append(np.arange(1.0, CLASSES), 1e4).astype(np.float32)
    labels = labels % (CLASSES - 1)
    own = np.asarray(conformal.LAC().of_labels(probabilities, labels))
    found = spec.calibrate(probabilities, labels, label_weights=weights)
    order = np.argsort(own)
    reached = np.cumsum(weights[labels][order])
    for label in range(CLASSES):
        place = np.searchsorted(reached, 0.8 * (reached[-1] + weights[label]))
        assert found.thresholds.values[label] == np.append(own[order], np.inf)[place]
    assert found.reason == (
        "coverage 0.8 needs calibration rows whose weights sum to 4 times that of the label; "
        "1 of 8 classes have less, and are in every set: 7"
    )
    assert "classes whose features" in found.guarantee.given


def test_estimated_weights_of_labels_are_the_ratio():
    """20 000 rows of each law, a classifier that errs: within 4 standard errors of the ratio,
    about .05 (false alarm 5e-4 for all classes together)."""
    of_old, of_new, of_rows, of_others = jax.random.split(KEY, 4)
    old, new = jnp.array([0.5, 0.3, 0.2]), jnp.array([0.2, 0.3, 0.5])

    def rows(key, labels):
        logits = 2 * jax.nn.one_hot(labels, 3) + jax.random.normal(key, (20_000, 3))
        return jax.nn.softmax(logits)

    labels = jax.random.categorical(of_old, jnp.log(old), shape=(20_000,))
    hidden = jax.random.categorical(of_new, jnp.log(new), shape=(20_000,))
    found = conformal.label_shift_weights(rows(of_rows, labels), labels, rows(of_others, hidden))
    np.testing.assert_allclose(found, new / old, atol=0.1)
    assert abs(np.asarray(found, np.float64)[np.asarray(labels)].mean() - 1) < 1e-4
    # Without errors they are the counts themselves.
    sure = conformal.label_shift_weights(jnp.eye(3)[labels], labels, jnp.eye(3)[hidden])
    counts = [np.bincount(array, minlength=3) for array in (hidden, labels)]
    np.testing.assert_allclose(sure, counts[0] / counts[1], rtol=1e-5)


def test_clusters_find_the_classes_that_are_alike():
    """Classes 0 to 3 are predicted well, 4 to 7 badly, 8 and 9 hardly occur."""
    of_labels, of_rows = jax.random.split(KEY)
    chances = jnp.log(jnp.append(jnp.ones(8), jnp.full(2, 2e-3)))
    labels = jax.random.categorical(of_labels, chances, shape=(2000,))
    strength = jnp.where(labels < 4, 6.0, 1.0)[:, None] * jax.nn.one_hot(labels, 10)
    probabilities = jax.nn.softmax(strength + jax.random.normal(of_rows, (2000, 10)))
    spec = conformal.ConformalClassification(0.9)

    def calibrate(**options):
        return spec.calibrate(probabilities, labels, per="cluster", **options)

    found = calibrate(clusters=2, key=KEY)
    clusters = np.asarray(found.thresholds.clusters)
    assert len(set(clusters[:4])) == len(set(clusters[4:8])) == 1
    assert clusters[0] != clusters[4]
    np.testing.assert_array_equal(clusters[8:], 2)
    values = np.asarray(found.thresholds.values)
    assert values[0] < values[8] == values[9] < values[4]
    assert 0.8 * 2000 < found.thresholds.sizes.sum() < 0.95 * 2000
    chosen = calibrate(key=KEY)  # their number by rule
    assert chosen.thresholds.sizes.shape[0] >= 2
    assert chosen.reason is None
    again = jax.jit(lambda p, y: spec.calibrate(p, y, per="cluster", clusters=2, key=KEY))
    np.testing.assert_array_equal(again(probabilities, labels).thresholds.values, values)
    with refuses("clusters must be given where labels are traced"):
        jax.jit(lambda y: spec.calibrate(probabilities, y, per="cluster", key=KEY))(labels)


def test_weighted_means(x64):
    """Three heaps are found, a point without weight moves no centre, and either precision gives
    the same clusters."""
    heaps = jnp.repeat(jnp.array([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]]), 10, axis=0)
    points = heaps + jax.random.uniform(KEY, (30, 2))
    points = jnp.concatenate([points, jnp.array([[1e3, 1e3]])])
    weights = jnp.ones(31).at[30].set(0)
    found = np.asarray(weighted_means(points, weights, 3, KEY))
    assert all(len(set(found[start : start + 10])) == 1 for start in (0, 10, 20))
    assert len(set(found[:30])) == 3
    narrow = weighted_means(points.astype("float32"), weights.astype("float32"), 3, KEY)
    np.testing.assert_array_equal(narrow, found)
    alike = weighted_means(0 * points, weights, 3, KEY)  # fewer places than clusters
    assert len(set(np.asarray(alike))) == 1


@pytest.mark.parametrize("name", ["raps", pytest.param("saps", marks=pytest.mark.thorough)])
def test_the_table_of_penalties_is_what_calibration_gives(name):
    """One peer's search has the rank that is free equal to the penalty."""
    probabilities, labels = draw(KEY, ROWS)
    grid, free = jnp.array([0.02, 0.3]), jnp.array([1, 4])
    options = {"free": free} if name == "raps" else {}
    chosen = conformal.choose_regularisation(
        probabilities, labels, score=name, coverage=0.85, penalties=grid, **options
    )
    sizes = []
    for penalty, rank in zip(chosen.penalties, chosen.free, strict=True):
        score = conformal.RAPS(penalty, rank) if name == "raps" else conformal.SAPS(penalty)
        calibrated = conformal.ConformalClassification(0.85, score).calibrate(probabilities, labels)
        sizes.append(jnp.mean(jnp.sum(calibrated.contains(probabilities), -1).astype(float)))
    np.testing.assert_allclose(chosen.sizes, jnp.stack(sizes), rtol=1e-6)
    best = int(np.argmin(sizes))
    assert chosen.score.penalty == chosen.penalties[best]
    assert not chosen.score.randomised
    pairs = {(float(p), int(f)) for p, f in zip(chosen.penalties, chosen.free, strict=True)}
    assert len(pairs) == (4 if name == "raps" else 2)
    if name == "saps":
        drawn = conformal.choose_regularisation(probabilities, labels, score=name, key=KEY)
        assert drawn.score.randomised


def test_everything_survives_a_file(tmp_path):
    probabilities, labels = draw(KEY, ROWS)
    kinds = [{}, {"groups": labels % 2}, {"weights": jnp.ones(ROWS)}, {"per": "class"}]
    kinds += [{"per": "cluster", "clusters": 2}, {"label_weights": jnp.arange(8.0)}]
    spec = conformal.ConformalClassification(0.8, conformal.RAPS(0.1, 2, True), never_empty=True)
    for number, kind in enumerate(kinds):
        calibrated = spec.calibrate(probabilities, labels, key=KEY, **kind)
        new = {name: kind[name] for name in ("groups", "weights") if name in kind}
        io.save(tmp_path / f"{number}.safetensors", calibrated)
        again = io.load(tmp_path / f"{number}.safetensors")
        expected = calibrated.contains(probabilities, key=KEY, **new)
        np.testing.assert_array_equal(again.contains(probabilities, key=KEY, **new), expected)
        assert again.reason == calibrated.reason
        assert again.guarantee == calibrated.guarantee
    chosen = conformal.choose_regularisation(
        probabilities, labels, penalties=jnp.ones(1), free=jnp.ones(1, int)
    )
    io.save(tmp_path / "chosen.safetensors", chosen)
    assert io.load(tmp_path / "chosen.safetensors").score.free == chosen.score.free


def test_a_bad_row_inside_jit_has_the_empty_set_and_calibrates_nothing():
    probabilities, labels = draw(KEY, ROWS)
    bad = probabilities.at[1, 0].set(jnp.nan).at[2].mul(3.0).at[3, 0].add(-1.0).at[3, 1].add(1.0)
    for score in (conformal.LAC(), conformal.TopK(), conformal.SAPS(0.1), conformal.APS()):
        spec = conformal.ConformalClassification(0.9, score, never_empty=True)
        calibrated = spec.calibrate(probabilities, labels)
        inside = jax.jit(calibrated.contains.__func__)(calibrated, bad[:6])
        np.testing.assert_array_equal(inside.any(-1), [True, False, False, False, True, True])
        values = jax.jit(lambda p, y, spec=spec: spec.calibrate(p, y).thresholds.values)
        assert jnp.isnan(values(bad, labels)).all()
        assert jnp.isnan(values(probabilities, labels.at[0].set(CLASSES))).all()
        assert jnp.isnan(jax.jit(lambda p, score=score: score.of_all(p))(bad[:6])[1:4]).all()
    spec = conformal.ConformalClassification(0.9)
    each = jax.jit(lambda p: spec.calibrate(p, labels, per="class").thresholds.values)
    assert jnp.isnan(each(bad)).all()
    weighed = jax.jit(lambda w: spec.calibrate(probabilities, labels, label_weights=w).thresholds)
    assert jnp.isnan(weighed(jnp.full(CLASSES, -1.0)).values).all()
    shift = jax.jit(conformal.label_shift_weights)
    assert jnp.isnan(shift(bad, labels, probabilities)).all()
    chosen = jax.jit(
        lambda p: conformal.choose_regularisation(p, labels, penalties=jnp.ones(1)).sizes
    )
    assert jnp.isnan(chosen(bad)).all()


def test_bad_probabilities_and_labels():
    probabilities, labels = draw(KEY, 20)
    spec = conformal.ConformalClassification(0.9)
    probabilities, labels = np.asarray(probabilities), np.asarray(labels)

    def edit(array, place, value):
        array = array.copy()
        array[place] = value
        return array

    with refuses(r"probabilities must sum to one .*; probabilities\[3\] sums to 2 \(1 of 20 rows"):
        spec.calibrate(edit(probabilities, 3, 0.25), labels)
    with refuses(r"must not be negative or NaN; probabilities\[4\] has -0.5 \(1 of 20"):
        spec.calibrate(edit(probabilities, (4, 2), -0.5), labels)
    with refuses(r"must not be negative or NaN; probabilities\[0, 1\] has nan"):
        spec.calibrate(probabilities, labels).contains(
            edit(probabilities, (1, 0), np.nan).reshape(2, 10, CLASSES)
        )
    with refuses(r"a column for each of at least 2 classes; got shape \(20, 1\)"):
        spec.calibrate(jnp.ones((20, 1)), labels)
    with refuses(r"at least 2 classes; got shape \(20, 0\)"):
        spec.calibrate(jnp.ones((20, 0)), labels)
    with refuses(r"probabilities must have shape \(n, K\), n at least 1; got shape \(0, 8\)"):
        spec.calibrate(probabilities[:0], labels[:0])
    with refuses(r"shape \(n, K\), n at least 1; got shape \(8,\)"):
        spec.calibrate(probabilities[0], labels[0])
    with refuses(r"must have 8 columns, one a class, as in calibration; got shape \(2, 2\)"):
        spec.calibrate(probabilities, labels).contains(jnp.eye(2))
    with refuses(r"labels must lie between 0 and 7, .*; got 8 \(1 of 20 are outside\)"):
        spec.calibrate(probabilities, edit(labels, 2, 8))
    with refuses("labels must be whole numbers, 0 and up; got float32"):
        spec.calibrate(probabilities, labels.astype(np.float32))
    with refuses(r"labels must have shape \(20,\), one a row; got shape \(3,\)"):
        spec.calibrate(probabilities, labels[:3])


def test_bad_options():
    probabilities, labels = draw(KEY, 20)
    spec, drawn = (
        conformal.ConformalClassification(0.9),
        conformal.ConformalClassification(0.9, conformal.APS(True)),
    )
    with refuses("score must be one such as"):
        conformal.ConformalClassification(0.9, "aps")
    with refuses("coverage must lie strictly between 0 and 1; got 1.0"):
        conformal.ConformalClassification(1.0)
    with refuses("key is missing: the score APS with per='all' needs one"):
        drawn.calibrate(probabilities, labels)
    with refuses("key is not used: the score LAC with per='class' does not need one"):
        spec.calibrate(probabilities, labels, per="class", key=KEY)
    with refuses("key is missing: the score LAC with per='cluster' needs one"):
        spec.calibrate(probabilities, labels, per="cluster")
    with refuses("key is missing: the score APS is randomised"):
        drawn.calibrate(probabilities, labels, key=KEY).contains(probabilities)
    with refuses("per must be one of 'all', 'class', 'cluster'; got 'row'"):
        spec.calibrate(probabilities, labels, per="row")
    with refuses("groups and weights must not be given with per='class'"):
        spec.calibrate(probabilities, labels, per="class", groups=labels)
    with refuses("label_weights must not be given with groups, weights or per"):
        spec.calibrate(probabilities, labels, label_weights=jnp.ones(8), weights=jnp.ones(20))
    with refuses(r"label_weights must have shape \(8,\), one a class; got shape \(3,\)"):
        spec.calibrate(probabilities, labels, label_weights=jnp.ones(3))
    with refuses("label_weights must not be negative; the least of 8 is -1.0"):
        spec.calibrate(probabilities, labels, label_weights=jnp.full(8, -1.0))
    with refuses("count must come with groups; got 3 without them"):
        spec.calibrate(probabilities, labels, count=3)
    with refuses("clusters must come with per='cluster'; got 3 without it"):
        spec.calibrate(probabilities, labels, clusters=3)
    with refuses("clusters must be a whole number >= 1; got 0"):
        spec.calibrate(probabilities, labels, per="cluster", clusters=0, key=KEY)
    with refuses("groups is missing: calibration had groups"):
        spec.calibrate(probabilities, labels, groups=labels).contains(probabilities)
    with refuses("groups is not used: calibration did not have groups"):
        spec.calibrate(probabilities, labels).contains(probabilities, groups=labels)
    with refuses("penalty must be finite and not negative; got -1"):
        conformal.SAPS(-1.0)
    with refuses("free must be a whole number >= 0; got 0.5"):
        conformal.RAPS(0.1, 0.5)
    with refuses("free is not used: score='saps' has none"):
        conformal.choose_regularisation(probabilities, labels, score="saps", free=jnp.arange(2))
    with refuses("score must be one of 'raps', 'saps'; got 'aps'"):
        conformal.choose_regularisation(probabilities, labels, score="aps")
    with refuses("free must be whole numbers"):
        conformal.choose_regularisation(probabilities, labels, free=jnp.ones(2))
    with refuses("labels must have a row of every class; class 1 has none"):
        conformal.label_shift_weights(jnp.eye(3), jnp.array([0, 0, 2]), jnp.eye(3))
    with refuses("the confusion matrix of the predicted class has no inverse"):
        conformal.label_shift_weights(jnp.full((2, 2), 0.5), jnp.array([0, 1]), jnp.eye(2))
    with refuses("new_probabilities must have 3 columns, as probabilities"):
        conformal.label_shift_weights(jnp.eye(3), jnp.arange(3), jnp.eye(2))
