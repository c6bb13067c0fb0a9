"""The conformal step: coverage at every level, from rows of its own or from all of them."""

import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from estimators import conformal, quantile
from estimators.testing import refuses

LEVELS = np.array([0.05, 0.25, 0.5, 0.75, 0.95], np.float32)


def rows(n, seed=0):
    generator = np.random.default_rng(seed)
    y = generator.normal(size=n).astype(np.float32)
    predictions = 0.3 * generator.normal(size=(n, 5)) + np.array([-1.0, -0.5, 0.2, 0.4, 0.8])
    return np.sort(predictions, -1).astype(np.float32), y


def test_every_pair_is_conformalised_quantile_regression():
    predictions, y = rows(200)
    one_sided = quantile.ConformalQuantiles().calibrate(predictions, y, LEVELS)
    paired = quantile.ConformalQuantiles(symmetric=True).calibrate(predictions, y, LEVELS)
    for low, high, coverage in ((0, 4, 0.9), (1, 3, 0.5)):
        for symmetric, shifts in ((False, one_sided.shifts), (True, paired.shifts)):
            spec = conformal.ConformalizedQuantileRegression(coverage, symmetric=symmetric)
            expected = spec.calibrate(predictions[:, low], predictions[:, high], y)
            assert float(-shifts[low]) == float(expected.thresholds.values[0])
            assert float(shifts[high]) == float(expected.thresholds.values[-1])
    assert paired.shifts[2] == 0


@pytest.mark.parametrize("n", [19, 40, 99])
def test_ranks_are_exact(n):
    predictions, y = rows(n)
    shifts = quantile.ConformalQuantiles().calibrate(predictions, y, LEVELS).shifts
    residuals = np.sort(y[:, None] - predictions, 0)
    for k, level in enumerate(["0.05", "0.25", "0.5", "0.75", "0.95"]):
        exact = (n + 1) * Fraction(level)
        rank = math.ceil(exact) if exact * 2 >= n + 1 else math.floor(exact)
        assert float(shifts[k]) == residuals[rank - 1, k]


def test_too_few_rows_give_infinite_quantiles_and_say_why():
    predictions, y = rows(10)
    calibrated = quantile.ConformalQuantiles().calibrate(predictions, y, LEVELS)
    assert calibrated.reason == "level 0.05 needs at least 19 calibration rows; there were 10"
    new = np.asarray(calibrated.quantiles(predictions[:3]))
    assert (new[:, 0] == -np.inf).all()
    assert (new[:, -1] == np.inf).all()
    assert np.isfinite(new[:, 1:-1]).all()
    assert quantile.ConformalQuantiles().calibrate(*rows(19), LEVELS).reason is None


def test_quantiles_never_cross_and_only_move_outwards():
    predictions, y = rows(60)
    calibrated = quantile.ConformalQuantiles().calibrate(predictions, y, LEVELS)
    crossing = rows(500, seed=1)[0][:, ::-1]
    new = np.asarray(calibrated.quantiles(crossing))
    assert (np.diff(new) >= 0).all()
    shifted = np.sort(crossing) + np.asarray(calibrated.shifts)
    assert (np.diff(shifted) < 0).any()  # else the sweep is not tested
    assert (new[:, 3:] >= shifted[:, 3:]).all()
    assert (new[:, :2] <= shifted[:, :2]).all()


def test_cross_conformal_equals_its_definition():
    predictions, y = rows(57)
    fold = np.arange(57) % 3
    fitted = quantile.CrossConformalQuantiles().calibrate(predictions, y, LEVELS, fold)
    new = rows(3 * 20, seed=2)[0].reshape(20, 3, 5)
    expected = np.empty((20, 5), np.float32)
    for i in range(20):
        moved = np.sort(new[i][fold] + (y[:, None] - predictions), 0)
        # (57 + 1) level, rounded outwards: 2.9, 14.5, 29, 43.5, 55.1
        expected[i] = [moved[rank - 1, k] for k, rank in enumerate((2, 14, 29, 44, 56))]
    for side, run in ((slice(3, 5), np.maximum), (slice(1, None, -1), np.minimum)):
        expected[:, side] = run.accumulate(expected[:, side], 1)
        expected[:, side] = run(expected[:, side], expected[:, 2:3])
    np.testing.assert_allclose(fitted.quantiles(new), expected, rtol=1e-6)
    # One model for all folds is split conformal prediction on rows that it has not seen.
    same = np.repeat(new[:, :1], 3, 1)
    split = quantile.ConformalQuantiles().calibrate(predictions, y, LEVELS)
    np.testing.assert_allclose(fitted.quantiles(same), split.quantiles(new[:, 0]), rtol=1e-5)


def test_coverage_at_every_level():
    # 400 repetitions of 59 calibration rows and 40 new ones. The share below a level's quantile
    # has mean rank / (n + 1); 4 standard errors of the mean of repetitions, for each of five
    # levels: a false alarm in 3000 keys.
    shares = []
    calibrate = jax.jit(
        jax.vmap(lambda z, y: quantile.ConformalQuantiles().calibrate(z, y, LEVELS))
    )
    predictions, y = zip(*(rows(99, seed=s) for s in range(400)), strict=True)
    predictions, y = np.stack(predictions), np.stack(y)
    calibrated = calibrate(predictions[:, :59], y[:, :59])
    below = y[:, 59:, None] <= predictions[:, 59:] + np.asarray(calibrated.shifts)[:, None]
    shares = below.mean(1)
    error = shares.std(0, ddof=1) / 400**0.5
    assert (np.abs(shares.mean(0) - np.array([3, 15, 30, 45, 57]) / 60) < 4 * error).all()


def test_bad_input_is_refused():
    predictions, y = rows(30)
    spec = quantile.ConformalQuantiles()
    with refuses(r"predictions must have shape \(n, levels\); got shape \(5,\)"):
        spec.calibrate(predictions[0], y, LEVELS)
    with refuses("y must have length 30"):
        spec.calibrate(predictions, y[1:], LEVELS)
    with refuses("levels must have length 5"):
        spec.calibrate(predictions, y, LEVELS[:4])
    with refuses("levels must be symmetric about 1/2 for symmetric=True"):
        quantile.ConformalQuantiles(symmetric=True).calibrate(
            predictions, y, [0.05, 0.25, 0.5, 0.75, 0.9]
        )
    with refuses(r"predictions must have shape \(\*batch, 5 levels\); got shape \(2, 4\)"):
        spec.calibrate(predictions, y, LEVELS).quantiles(predictions[:2, :4])
    cross = quantile.CrossConformalQuantiles()
    with refuses("fold must be 30 whole numbers, one a row; got .* float64"):
        cross.calibrate(predictions, y, LEVELS, np.zeros(30))
    with refuses(r"fold must hold 0 to K - 1, K at least 2; got \[0, 2\]"):
        cross.calibrate(predictions, y, LEVELS, np.arange(30) % 2 * 2)
    fitted = cross.calibrate(predictions, y, LEVELS, np.arange(30) % 2)
    with refuses(r"predictions must have shape \(\*batch, 2 models, 5 levels\)"):
        fitted.quantiles(jnp.zeros((4, 3, 5)))
