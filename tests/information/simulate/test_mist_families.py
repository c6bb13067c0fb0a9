"""MIST's families: which they are, and that their parameters are drawn as published."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from estimators.information import simulate
from estimators.testing import refuses

pytestmark = pytest.mark.thorough

KEYS = jax.random.split(jax.random.key(0), 200)


def batch(split, name, dimension=4):
    draw = simulate.mist_families(split)[name]
    return jax.jit(jax.vmap(lambda key: draw(key, dimension)))(KEYS)


def test_splits():
    families = {split: set(simulate.mist_families(split)) for split in ("train", "in_meta")}
    out = set(simulate.mist_families("out_of_meta"))
    assert [len(families["train"]), len(families["in_meta"]), len(out)] == [16, 6, 7]
    assert families["in_meta"] < families["train"]
    assert not out & families["train"]
    for split, names in (("in_meta", families["in_meta"]), ("out_of_meta", out)):
        assert {f"mist-{split}-{name}" for name in names} <= set(simulate.HELD_OUT)


@pytest.mark.parametrize(("split", "name"), [
    ("train", "normal-latent-wiggly"), ("out_of_meta", "student-dense-half_cube"),
    ("out_of_meta", "additive-uniform-base"),
])  # fmt: skip
def test_batches_of_laws(split, name):
    laws = batch(split, name)
    assert laws.dimensions == (4, 4)
    values = jax.vmap(lambda law: law.mutual_information)(laws)
    assert values.shape == (200,)
    assert (np.asarray(values) > 0).all()
    x, y = jax.vmap(lambda law, key: law.sample(key, 20))(laws, KEYS)
    assert x.shape == y.shape == (200, 20, 4)
    assert bool(jnp.isfinite(x).all() & jnp.isfinite(y).all())


def test_parameters():
    # Kolmogorov-Smirnov, each at 1e-3.
    def uniform(values, low, high):
        law = scipy.stats.uniform(low, high - low)
        assert scipy.stats.kstest(np.asarray(values, float), law.cdf).pvalue > 1e-3

    dense = batch("train", "student-dense-base")
    uniform(dense.dispersion[:, 0, 1], 0, 0.5)
    uniform(dense.degrees, 1, 10)
    additive = batch("out_of_meta", "additive-uniform-base")
    uniform(additive.epsilon.ravel(), 0.1, 2)
    pair = batch("train", "normal-two_pair-base").covariance
    correlation = np.asarray(pair[:, 0, 4], float)
    uniform(np.sqrt(correlation / (1 - correlation)), 0.1, 5)
    np.testing.assert_array_equal(pair[:, 0, 4], pair[:, 1, 5])
    assert not np.asarray(pair[:, 2, 6]).any()
    sparse = np.asarray(batch("train", "normal-sparse-base").covariance)
    pairs = (np.diagonal(sparse[:, :4, 4:], axis1=1, axis2=2) > 0).sum(1)
    counts = np.bincount(pairs, minlength=5)
    assert counts[0] == 0
    assert scipy.stats.chisquare(counts[1:]).pvalue > 1e-3


def test_refuses():
    with refuses("split must be one of 'train', 'in_meta', 'out_of_meta'; got 'test'"):
        simulate.mist_families("test")
    with refuses("dimension must be a whole number >= 2; got 1"):
        simulate.mist_families("train")["normal-dense-base"](jax.random.key(0), 1)
