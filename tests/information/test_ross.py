"""Ross against scikit-learn, numpy, deletion, and the truth."""

import counts_by_hand
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.feature_selection._mutual_info import _compute_mi_cd

from estimators import information
from estimators.information._neighbours._ksg import standardise
from estimators.testing import refuses


def labelled(n, weights, seed=0, columns=1):
    rng = np.random.default_rng(seed)
    label = rng.choice(len(weights), (n, 1), p=weights).astype(float)
    return 2 * label + rng.normal(size=(n, columns)), label


@pytest.mark.parametrize("k", [1, 3, 5])
def test_rare_labels_by_hand(k, x64):
    # Labels of one row, and of fewer than k + 1. Not against scikit-learn: for so few rows it
    # takes squared distances by expansion, and a count is then off by one now and then.
    x, y = labelled(120, (0.9, *[0.02] * 5))
    x = np.asarray(standardise(jnp.asarray(x)))
    expected = counts_by_hand.ross(x, y, k)
    assert np.unique(y, return_counts=True)[1].min() == 1
    assert abs(float(information.ross(x, y, neighbours=k)) - expected) < 1e-10


@pytest.mark.parametrize("weights", [(0.5, 0.5), (0.6, 0.3, 0.1)])
@pytest.mark.parametrize("k", [1, 3, 5])
def test_agrees_with_scikit_learn(weights, k, x64):
    x, y = labelled(120, weights)
    x = np.asarray(standardise(jnp.asarray(x)))
    theirs = _compute_mi_cd(x, y[:, 0], k)
    assert theirs > 0  # else it is clipped
    assert abs(float(information.ross(x, y, neighbours=k)) - theirs) < 1e-10
    estimate = information.Ross(neighbours=k).estimate(x, y)
    assert abs(float(estimate.value) - theirs) < 1e-10


def test_several_columns_on_both_sides(x64):
    x, y = labelled(80, (0.5, 0.5), columns=3)
    x = np.asarray(standardise(jnp.asarray(x)))
    y = np.hstack([y, np.random.default_rng(1).integers(0, 2, (80, 1))])
    expected = counts_by_hand.ross(x, y, 3)
    assert abs(float(information.ross(x, y)) - expected) < 1e-10


@pytest.mark.parametrize("alone", [False, True])
def test_standard_error_is_the_delete_one_jackknife(alone, x64):
    x, y = labelled(50, (0.6, 0.4))
    x = np.asarray(standardise(jnp.asarray(x)))
    if alone:  # a row that is left out changes nothing
        x, y = np.vstack([x, [[0.3]]]), np.vstack([y, [[7.0]]])
    kept = slice(0, 50)
    by_deletion = counts_by_hand.jackknife(
        lambda x, y: counts_by_hand.ross(x, y, 3), x[kept], y[kept]
    )
    error = information.Ross().estimate(x, y).standard_error
    np.testing.assert_allclose(error, by_deletion, rtol=1e-9)


def test_finds_the_truth():
    # Two normals one apart: I = log 2 - E log(1 + exp(-s)), s ~ normal(1/2, 1), by quadrature.
    # Mean of 20 data sets of 500 within .01 and 5 standard errors: false alarm < 1e-5.
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    truth = np.log(2) - (weights / weights.sum()) @ np.log1p(np.exp(-(nodes + 0.5)))

    def one(key):
        of_label, of_x = jax.random.split(key)
        y = jax.random.bernoulli(of_label, 0.5, (500, 1)).astype(float)
        return information.ross(y + jax.random.normal(of_x, (500, 1)), y)

    values = jax.lax.map(one, jax.random.split(jax.random.key(0), 20))
    assert abs(values.mean() - truth) < 0.01 + 5 * jnp.std(values) / np.sqrt(20)


def test_labels_that_never_repeat():
    x, y = np.float32(np.random.default_rng(0).normal(size=(2, 30, 1)))
    with refuses("y must have a value that occurs twice.*use KSG"):
        information.Ross().estimate(x, y)
    assert np.isnan(jax.jit(information.ross)(x, y))
    inside = jax.jit(lambda x, y: information.Ross().estimate(x, y))(x, y)
    assert np.isnan(inside.value)
    assert int(inside.info.status) == 4


def test_labels_that_a_float_would_merge():
    """Neighbouring whole numbers beyond 2^24, on the host."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, (150, 1))
    x = (label + 0.3 * rng.normal(size=(150, 1))).astype(np.float32)
    expected = information.ross(x, label)
    np.testing.assert_allclose(information.ross(x, label + 202311011), expected)
