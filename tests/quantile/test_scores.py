"""Scores against scikit-learn, scoringrules and the definition of quantiles."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scoringrules
from jax.test_util import check_grads
from sklearn.metrics import mean_pinball_loss

from estimators import quantile
from estimators.testing import refuses

LEVELS = np.array([0.05, 0.25, 0.5, 0.75, 0.95])


def draws(seed=0, shape=(30,)):
    generator = np.random.default_rng(seed)
    return generator.normal(size=shape), generator.normal(size=(*shape, len(LEVELS)))


@pytest.mark.usefixtures("x64")
def test_pinball_loss_equals_scikit_learn():
    y, predictions = draws()
    losses = quantile.pinball_loss(y, predictions, LEVELS)
    assert losses.shape == (30, 5)
    for k, level in enumerate(LEVELS):
        expected = mean_pinball_loss(y, predictions[:, k], alpha=level)
        np.testing.assert_allclose(losses[:, k].mean(), expected, rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_weighted_interval_score_equals_scoringrules():
    y, predictions = draws()
    predictions = np.sort(predictions, -1)
    ours = quantile.weighted_interval_score(y, predictions, LEVELS)
    np.testing.assert_allclose(ours, scoringrules.crps_quantile(y, predictions, LEVELS), rtol=1e-12)
    # The interval form: median, and two intervals weighted by half their miscoverage. Its sum
    # is ours to take: scoringrules 0.10 adds the median itself, not its distance from y.
    expected = 0.5 * np.abs(y - predictions[:, 2])
    for k, miscoverage in enumerate(2 * LEVELS[:2]):
        lower, upper = predictions[:, k], predictions[:, -1 - k]
        interval = scoringrules.interval_score(y, lower, upper, miscoverage)
        expected = expected + np.ravel(interval) * miscoverage / 2
    expected = expected / 2.5
    np.testing.assert_allclose(ours, expected, rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_least_mean_loss_is_at_the_empirical_quantile():
    y, _ = draws(1, (101,))
    grid = np.sort(y)
    levels = np.array([0.3])
    losses = quantile.pinball_loss(
        np.broadcast_to(y, (101, 101)), np.broadcast_to(grid[:, None, None], (101, 101, 1)), levels
    )
    best = grid[np.argmin(np.asarray(losses).mean((1, 2)))]
    assert best == np.quantile(y, 0.3, method="inverted_cdf")


def test_batches_dtypes_and_transformations():
    y, predictions = (a.astype(np.float32) for a in draws(2, (4, 3)))
    levels = jnp.asarray(LEVELS, jnp.float32)
    losses = quantile.pinball_loss(y, predictions, levels)
    assert losses.shape == (4, 3, 5)
    assert losses.dtype == jnp.float32
    # Levels that a jitted function closes over are constants there, and must pass the checks.
    closed = jax.jit(lambda p: quantile.pinball_loss(jnp.asarray(y), p, levels))
    np.testing.assert_allclose(closed(predictions), losses, rtol=1e-6)
    mapped = jax.vmap(quantile.pinball_loss, (0, 0, None))(y, predictions, levels)
    np.testing.assert_allclose(mapped, losses, rtol=1e-6)
    single = quantile.pinball_loss(y[0, 0], predictions[0, 0], levels)
    np.testing.assert_allclose(single, losses[0, 0], rtol=1e-6)


@pytest.mark.usefixtures("x64")
def test_gradient():
    y, predictions = draws(3, (6,))
    check_grads(
        lambda p: quantile.weighted_interval_score(y, p, LEVELS).sum(), (predictions,), order=1
    )


def test_nan_stays_nan():
    losses = quantile.pinball_loss(
        jnp.array([jnp.nan, 0.0]), jnp.array([[0.0], [jnp.nan]]), jnp.array([0.5])
    )
    assert np.isnan(losses).all()


def test_bad_input_is_refused():
    y, predictions = jnp.zeros(3), jnp.zeros((3, 2))
    with refuses(r"y must have shape \(3,\)"):
        quantile.pinball_loss(jnp.zeros(4), predictions, jnp.array([0.1, 0.9]))
    with refuses("levels must have length 2"):
        quantile.pinball_loss(y, predictions, jnp.array([0.1, 0.5, 0.9]))
    with refuses("levels must lie strictly between 0 and 1; got 1.0"):
        quantile.pinball_loss(y, predictions, jnp.array([0.1, 1.0]))
    with refuses("levels must increase strictly"):
        quantile.weighted_interval_score(y, predictions, jnp.array([0.9, 0.1]))
