"""Weights that depend on the row, and the aggregator that chooses."""

import chex
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import slow

from estimators import io, quantile, training
from estimators.quantile._aggregators._cross_fit import Schedule, _Loss, cross_fit, held_out
from estimators.quantile._aggregators._data import Rows
from estimators.quantile._aggregators._gate import Dropout, Gate
from estimators.quantile._aggregators._start import Folds, make_folds
from estimators.testing import refuses

LEVELS = np.array([0.1, 0.3, 0.5, 0.7, 0.9], np.float32)
NORMAL = np.array([-1.2816, -0.5244, 0, 0.5244, 1.2816], np.float32)
KEY = jax.random.key(0)
SHAPES = {"coarse": (3,), "medium": (3, 5), "fine": (3, 5, 5)}
FORMS = [
    ("coarse", "coarse"),
    ("medium", "coarse"),
    ("medium", "medium"),
    ("fine", "coarse"),
    ("fine", "medium"),
    ("fine", "product"),
    ("fine", "fine"),
]

# A base alone, or under the network of a resolution.
GATES = ["medium", "fine under product", "coarse", "fine", *(f"{b} under {r}" for b, r in FORMS)]
GATES = list(dict.fromkeys(GATES))


def experts(n=400, seed=0):
    """y ~ N(x, .3^2); the first model is right where x > 0, the second where x < 0."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(n, 2))
    y = x[:, 0] + 0.3 * generator.normal(size=n)
    right = x[:, :1] + 0.3 * NORMAL
    models = [right + 2 * (x[:, :1] < 0), right - 2 * (x[:, :1] > 0)]
    return np.stack(models, 1).astype(np.float32), y.astype(np.float32), x.astype(np.float32)


def gate(base, resolution):
    """A gate of three models with a network that says much."""
    logits = jax.random.normal(jax.random.fold_in(KEY, 1), SHAPES[base])
    made = Gate.random(KEY, logits, 5, 4, resolution, 8, 1)
    return jax.tree.map(lambda leaf: 3 * leaf, made)


@pytest.mark.parametrize(("base", "resolution"), FORMS)
def test_combining_is_the_sum_over_weights(base, resolution):
    generator = np.random.default_rng(0)
    z = generator.normal(size=(7, 3, 5)).astype(np.float32)
    inputs = jnp.asarray(generator.normal(size=(7, 4)), jnp.float32)
    mask = generator.random((7, 3, 5)) < 0.7
    mask[:, 0] = True
    one = gate(base, resolution)
    weights = np.asarray(one.weights(inputs))
    assert weights.shape == (7, *SHAPES[base])
    full = np.zeros((7, 3, 5, 5), np.float32)
    if base == "fine":
        full = weights
    else:
        weights = weights.reshape(7, 3, -1) * np.ones((7, 3, 5))
        full[:, :, range(5), range(5)] = weights
    np.testing.assert_allclose(full.sum((1, 2)), 1, rtol=1e-5)
    expected = np.einsum("njv,njvk->nk", z, full)
    np.testing.assert_allclose(one.combine(inputs, jnp.asarray(z)), expected, atol=1e-5)
    some = full * mask[..., None]
    expected = np.einsum("njv,njvk->nk", z, some) / some.sum((1, 2))
    hidden, mask = jnp.where(mask, z, jnp.nan), jnp.asarray(mask)
    np.testing.assert_allclose(one.combine(inputs, hidden, mask), expected, atol=1e-5)
    slope = jax.grad(lambda g: jnp.sum(g.combine(inputs, hidden, mask) ** 2))(one)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slope))


@pytest.mark.parametrize("masked", [False, True])
def test_gates_of_all_folds_agree_with_one_at_a_time(masked):
    # Compiled and mapped over gates, a product with ones has come out wrong on the CPU.
    z = jax.random.normal(KEY, (5, 64, 3, 5))
    mask = jax.random.bernoulli(KEY, 0.8, z.shape).at[:, :, 0].set(True) if masked else None
    gates = Gate(jax.random.normal(KEY, (5, 3, 5, 5)), (), "fine")
    nothing = jnp.zeros((64, 0))

    def total(gates, z, mask):
        return jnp.mean(jax.vmap(lambda g, z, m: g.combine(nothing, z, m))(gates, z, mask), (1, 2))

    got = jax.jit(total)(gates, z, mask)
    weights = jax.nn.softmax(gates.base, (1, 2))
    for k in range(5):
        there = None if mask is None else mask[k]
        expected = np.mean(quantile.average(z[k], weights[k], mask=there))
        np.testing.assert_allclose(got[k], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("form", slow.parameters(GATES, GATES[1:]))
def test_a_compiled_step_goes_down_the_gradient(form, masked):
    # Compiled into the training loop, sums over broadcast weights have had a wrong derivative.
    z, y, x = (jnp.asarray(a[:40], jnp.float64) for a in experts())
    mask = jax.random.bernoulli(KEY, 0.7, z.shape).at[:, 0].set(True) if masked else None
    rows = Rows(x, z, y, jnp.asarray(LEVELS, jnp.float64), mask)
    base, _, resolution = form.partition(" under ")
    folds = make_folds(np.arange(40) % 5)
    shape = {"coarse": (2,), "medium": (2, 5), "fine": (2, 5, 5)}[base]
    logits = jax.random.normal(KEY, (5, *shape), jnp.float64)
    if not resolution:
        gates = Gate(logits, (), "fine")
    else:
        keys = jax.random.split(KEY, 5)
        gates = eqx.filter_vmap(lambda k, b: Gate.random(k, b, 5, 2, resolution, 4, 1))(
            keys, logits
        )
    loss = _Loss(64, 1.0, None)
    data = (rows, folds)
    result = training.minimise(loss, gates, data, key=KEY, steps=1, optimiser=optax.sgd(1.0))
    slope = eqx.filter_grad(lambda g: loss(g, data, jax.random.fold_in(KEY, 0)))(gates)
    expected = jax.tree.map(lambda a, b: a - b, gates, slope)
    chex.assert_trees_all_close(result.parameters, expected, atol=1e-12)


def test_held_out_rows_are_not_seen():
    # What fold 0 holds cannot matter for the gate that predicts it; it does for the others.
    z, y, x = experts(90)
    folds = make_folds(np.arange(90) % 3)
    schedule = Schedule(40, 16, 1e-2, None, 1.0, Dropout(0.2, 0.2))

    def fit(y):
        rows = Rows(jnp.asarray(x), jnp.asarray(z), jnp.asarray(y), jnp.asarray(LEVELS), None)
        keys = jax.random.split(KEY, 3)
        gates = eqx.filter_vmap(lambda k: Gate.random(k, jnp.zeros(2), 5, 2, "coarse", 8, 1))(keys)
        return cross_fit(gates, rows, folds, schedule, key=KEY)

    gates, held_out, result = fit(y)
    changed, held_out_changed, _ = fit(np.where(np.arange(90) % 3 == 0, y + 100, y))
    assert result.best_step == 40
    same = [
        np.array_equal(a, b)
        for a, b in zip(
            jax.tree.leaves(jax.tree.map(lambda leaf: leaf[0], gates)),
            jax.tree.leaves(jax.tree.map(lambda leaf: leaf[0], changed)),
            strict=True,
        )
    ]
    assert all(same)
    first = np.arange(90) % 3 == 0
    np.testing.assert_array_equal(held_out[first], held_out_changed[first])
    assert np.abs(held_out[~first] - held_out_changed[~first]).max() > 0.1


def test_folds_hold_every_row_once():
    folds = make_folds(np.array([2, 2, 5, 5, 5, 9, 2]))
    assert isinstance(folds, Folds)
    assert sorted(r for r in np.asarray(folds.inside).ravel() if r < 7) == list(range(7))
    np.testing.assert_array_equal(folds.counts, [4, 4, 6])


def test_several_partitions_predict_by_their_mean():
    z, y, x = (jnp.asarray(a[:12]) for a in experts())
    rows = Rows(x, z, y, jnp.asarray(LEVELS), None)
    partitions = np.arange(12) % 3, np.arange(12) // 4
    gates = Gate(jax.random.normal(KEY, (6, 2)), (), "coarse")
    both = held_out(gates, rows, make_folds(*partitions))
    each = [
        held_out(jax.tree.map(lambda leaf, i=i: leaf[3 * i : 3 * i + 3], gates), rows, folds)
        for i, folds in enumerate(map(make_folds, partitions))
    ]
    np.testing.assert_allclose(both, (each[0] + each[1]) / 2, rtol=1e-6)
    assert np.abs(each[0] - each[1]).max() > 0.01


@pytest.mark.thorough
@pytest.mark.parametrize("resolution", ["coarse", "product"])
def test_it_finds_out_who_is_right_where(resolution):
    z, y, x = experts()
    spec = quantile.LocalWeights(resolution, steps=400, learning_rate=1e-2)
    fitted = spec.fit(z, y, LEVELS, features=x, key=KEY)
    new, outcomes, features = experts(1000, seed=1)
    combined = fitted.combine(new, features)
    assert (np.diff(combined) >= 0).all()
    score = float(quantile.weighted_interval_score(outcomes, combined, LEVELS).mean())
    truth = features[:, :1] + 0.3 * NORMAL[None]
    best = float(quantile.weighted_interval_score(outcomes, truth, LEVELS).mean())
    # The truth scores .19, the average .71; near x = 0 nobody can tell the models apart.
    assert score < 1.4 * best
    assert float(fitted.info.wis) == pytest.approx(score, rel=0.2)
    weights = np.asarray(fitted.weights(new, features))
    of_first = weights.reshape(1000, 2, -1).sum(-1) / weights.reshape(1000, -1).sum(-1)[:, None]
    assert of_first[features[:, 0] > 0.5, 0].mean() > 0.9
    assert of_first[features[:, 0] < -0.5, 0].mean() < 0.1


def test_without_features_it_sees_the_predictions():
    z, y, _ = experts()
    spec = quantile.LocalWeights("coarse", steps=200, learning_rate=1e-2)
    fitted = spec.fit(z, y, LEVELS, key=KEY)
    assert fitted.inputs.sees == "predictions"
    # They tell less than x does: near 0 both signs look alike.
    assert fitted.info.wis < 0.9 * fitted.info.wis_of_average
    with refuses("features must be None: the fit had none"):
        fitted.combine(z, np.zeros((400, 2), np.float32))


SMALL = quantile.Aggregator(
    local=(quantile.LocalWeights("medium", base="fine", sees="both", steps=200),)
)


@pytest.fixture(scope="module")
def chosen():
    z, y, x = experts()
    return SMALL.fit(z, y, LEVELS, features=x, key=KEY)


def test_the_aggregator_mixes_what_is_good(chosen):
    z, _, x = experts()
    info = chosen.info
    assert info.candidates == ("global coarse", "global fine", "local medium, sees both")
    assert float(info.shares.sum()) == pytest.approx(1, abs=1e-5)
    assert info.shares[2] > 0.8
    assert info.wis <= info.scores.min() * 1.001
    assert info.wis < 0.5 * info.wis_of_average
    combined = np.asarray(chosen.combine(z.reshape(20, 20, 2, 5), x.reshape(20, 20, 2)))
    np.testing.assert_allclose(combined.reshape(400, 5), chosen.combine(z, x), atol=1e-5)
    everything = np.ones(2, bool)
    np.testing.assert_allclose(
        chosen.combine(z, x, mask=everything), chosen.combine(z, x), atol=1e-5
    )
    # A model that is missing may hold anything; with the other one alone, that one is left.
    hidden = z.copy()
    hidden[:, 1] = np.nan
    alone = np.asarray(chosen.combine(hidden, x, mask=np.array([True, False])))
    assert np.isfinite(alone).all()
    assert (alone >= z[:, 0].min(-1, keepdims=True) - 1e-5).all()
    assert (alone <= z[:, 0].max(-1, keepdims=True) + 1e-5).all()


def test_it_is_saved_and_compiled(chosen, tmp_path):
    z, _, x = experts()
    io.save(tmp_path / "chosen.safetensors", chosen)
    loaded = io.load(tmp_path / "chosen.safetensors")
    np.testing.assert_array_equal(loaded.combine(z, x), chosen.combine(z, x))
    compiled = jax.jit(quantile.FittedAggregator.combine)(chosen, z, x)
    np.testing.assert_allclose(compiled, chosen.combine(z, x), atol=1e-5)


@pytest.mark.thorough
def test_one_key_chooses_the_same_again(chosen):
    z, y, x = experts()
    again = SMALL.fit(z, y, LEVELS, features=x, key=KEY)
    np.testing.assert_array_equal(again.info.shares, chosen.info.shares)


@pytest.mark.thorough
def test_hard_cases_have_an_answer():
    z, y, x = experts(60)
    spec = quantile.Aggregator(local=())
    one = spec.fit(z[:, :1], y, LEVELS, key=KEY)
    assert np.isfinite(one.combine(z[:, :1])).all()
    constant = spec.fit(z, np.full(60, 3, np.float32), LEVELS, key=KEY)
    assert np.isfinite(constant.combine(z)).all()
    many = np.concatenate([z] * 40, 1)  # 80 models for 60 rows
    wide = spec.fit(many, y, LEVELS, key=KEY, features=x)
    assert wide.info.wis <= 1.02 * wide.info.wis_of_average


@pytest.mark.thorough
def test_interrupts_keep_what_there_is():
    z, y, x = experts(60)
    reports = []

    def interrupt(report):
        assert isinstance(report, training.Report)
        reports.append(report)
        if len(reports) == 5:
            raise KeyboardInterrupt

    spec = quantile.LocalWeights("coarse", steps=2000)
    fitted = spec.fit(z, y, LEVELS, features=x, key=KEY, progress=interrupt)
    assert fitted.info.status == "interrupted"
    assert np.isfinite(fitted.combine(z, x)).all()


def test_bad_input_is_refused():
    z, y, x = experts(60)
    spec = quantile.LocalWeights("coarse", steps=1)
    with refuses("resolution must be one of 'coarse', 'medium', 'product', 'fine'; got 'rough'"):
        quantile.LocalWeights("rough")
    with refuses("base must be at least as fine as resolution='fine'; got 'coarse'"):
        quantile.LocalWeights("fine", base="coarse")
    with refuses("base must be 'fine' for resolution='product'; got 'medium'"):
        quantile.LocalWeights("product", base="medium")
    with refuses("sees must be one of 'features', 'predictions', 'both'; got 'all'"):
        quantile.LocalWeights(sees="all")
    with refuses(r"dropout must lie in \[0, 1\); got 1"):
        quantile.LocalWeights(dropout=1.0)
    with refuses("local must hold LocalWeights with base='fine'"):
        quantile.Aggregator(local=(quantile.LocalWeights("coarse"),))
    with refuses("predictions must have at least 10 rows for 5 folds; got 9"):
        spec.fit(z[:9], y[:9], LEVELS, key=KEY)
    with refuses(r"features must have shape \(60, d\)"):
        spec.fit(z, y, LEVELS, features=x[:50], key=KEY)
    with refuses("features must be finite"):
        spec.fit(z, y, LEVELS, features=np.where(x > 1, np.nan, x), key=KEY)
    with refuses("fold must be 60 whole numbers"):
        spec.fit(z, y, LEVELS, features=x, fold=np.zeros(60), key=KEY)
    with refuses("fold must hold at least two numbers; got 0 only"):
        spec.fit(z, y, LEVELS, features=x, fold=np.zeros(60, int), key=KEY)
    with refuses("predictions must be finite"):
        spec.fit(np.where(z > 1, np.nan, z), y, LEVELS, features=x, key=KEY)
    with refuses("mask must leave a model at each row and level"):
        spec.fit(z, y, LEVELS, features=x, mask=np.zeros(2, bool), key=KEY)
    fitted = spec.fit(z, y, LEVELS, features=x, key=KEY)
    with refuses("features must be given: the fit had 2; got None"):
        fitted.combine(z)
    with refuses(r"features must have shape \(60, 2\)"):
        fitted.combine(z, x[:, :1])
    with refuses(r"predictions must have shape \(\*batch, 2 models, 5 levels\)"):
        fitted.combine(z[:, :1], x)
