"""Sets around predictors of every kind."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from estimators import conformal, io, quantile
from estimators.testing import refuses

KEY = jax.random.key(0)
X = jax.random.normal(KEY, (60, 2))
Y = X[:, 0] - X[:, 1] + jax.random.normal(jax.random.key(1), (60,))
SPLIT = conformal.SplitRegression(0.8)


def plane(x):
    return x @ jnp.array([1.0, -1.0])


def test_a_function_is_its_predictions():
    calibrated = conformal.ConformalPredictor(plane, SPLIT).calibrate(X, Y)
    expected = SPLIT.calibrate(plane(X), Y).interval(plane(X[:5]))
    np.testing.assert_array_equal(calibrated.predict_set(X[:5]), expected)
    jitted = jax.jit(conformal.CalibratedPredictor.predict_set)(calibrated, X[:5])
    np.testing.assert_allclose(jitted, expected, rtol=1e-6)
    assert calibrated.guarantee.at_least == 49 / 61
    assert calibrated.reason is None


def test_scikit_learn_predicts():
    model = LinearRegression().fit(X, Y)
    calibrated = conformal.ConformalPredictor(model, SPLIT).calibrate(np.asarray(X), Y)
    predictions = jnp.asarray(model.predict(X).astype(np.float32))
    expected = SPLIT.calibrate(predictions, Y).interval(predictions[:3])
    np.testing.assert_allclose(calibrated.predict_set(np.asarray(X[:3])), expected, rtol=1e-5)


def test_a_module_of_one_row_is_mapped_saved_and_jitted(tmp_path):
    model = eqx.nn.Linear(2, "scalar", key=KEY)
    calibrated = conformal.ConformalPredictor(model, SPLIT, each_row=True).calibrate(X, Y)
    expected = eqx.filter_jit(calibrated.predict_set)(X[:3])
    np.testing.assert_allclose(expected, calibrated.predict_set(X[:3]), rtol=1e-6)
    io.save(tmp_path / "model.safetensors", calibrated)
    again = io.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(again.predict_set(X[:3]), calibrated.predict_set(X[:3]))


def test_predicted_quantiles():
    model = quantile.LinearQuantiles().fit(X, Y, [0.1, 0.5, 0.9])
    spec = conformal.ConformalizedQuantileRegression(0.8, scaling="sides")
    calibrated = conformal.ConformalPredictor(model, spec).calibrate(X, Y)
    low, middle, high = model.predict(X).T
    expected = spec.calibrate(low, high, Y, middle).interval(low, high, middle)
    np.testing.assert_array_equal(calibrated.predict_set(X), expected)


def test_a_pair_is_a_prediction_and_its_scale():
    def pair(x):
        return plane(x), 1 + jnp.abs(x[:, 0])

    calibrated = conformal.ConformalPredictor(pair, SPLIT).calibrate(X, Y, groups=(X[:, 0] > 0) + 0)
    lower, upper = calibrated.predict_set(X, groups=(X[:, 0] > 0) + 0)
    inside = (lower <= Y) & (Y <= upper)
    assert inside.mean() >= 0.8
    assert "in every group" in str(calibrated.guarantee)


@pytest.mark.parametrize("kind", ["columns", "object", "spec"])
def test_bad_input(kind):
    if kind == "columns":
        with refuses("predictor must give 2 or 3 numbers a row for Conformalized.*; got 1"):
            spec = conformal.ConformalizedQuantileRegression()
            conformal.ConformalPredictor(plane, spec).calibrate(X, Y)
    elif kind == "object":
        with refuses("predictor must have a method predict, or be callable; got 3.0"):
            conformal.ConformalPredictor(3.0, SPLIT)
    else:
        with refuses("spec must be SplitRegression or Conformalized.*; got 0.9"):
            conformal.ConformalPredictor(plane, 0.9)


def test_three_quantiles_are_read_alike_from_tuples_and_arrays():
    def array(x):
        return plane(x)[:, None] + jnp.array([-1.0, 0.2, 2.0])[None]

    spec = conformal.ConformalizedQuantileRegression(0.8, scaling="sides")
    sets = [
        conformal.ConformalPredictor(model, spec).calibrate(X, Y).predict_set(X)
        for model in (array, lambda x: tuple(array(x).T))
    ]
    np.testing.assert_array_equal(*sets)
    with refuses("predictor must give 2 numbers a row unless the scaling is 'sides'; got 3"):
        conformal.ConformalPredictor(array, conformal.ConformalizedQuantileRegression()).calibrate(
            X, Y
        )
