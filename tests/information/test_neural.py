"""Variational bounds: tight for the best critic, below the truth for any; and trained ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from estimators.information import NeuralBound
from estimators.information._neural._bounds import BOUNDS, bound_value, contributions, objective
from estimators.information._neural._neural_bound import critic_scores
from estimators.testing import refuses

CORRELATION = 0.8
TRUTH = -0.5 * np.log1p(-(CORRELATION**2))


def best_scores(key, m):
    """The log density ratio of a bivariate normal law at all pairs of m draws."""
    x, noise = jax.random.normal(key, (2, m))
    y = CORRELATION * x + (1 - CORRELATION**2) ** 0.5 * noise
    square = CORRELATION**2
    cross = 2 * CORRELATION * x[:, None] * y[None]
    quadratic = square * (x[:, None] ** 2 + y[None] ** 2) - cross
    return TRUTH - quadratic / (2 * (1 - square))


@pytest.mark.thorough
@pytest.mark.parametrize("bound", BOUNDS)
def test_tight_for_the_best_critic(x64, bound):
    """Within 4.5 standard errors of the truth (false alarm 7e-6), and the errors are right."""
    shift = 1.0 if bound == "nwj" else 0.0

    def one(key):
        scores = best_scores(key, 400) + shift
        clip = jnp.asarray(50.0)
        return bound_value(scores, bound, clip), jnp.std(contributions(scores, bound, clip), ddof=1)

    values, spreads = jax.lax.map(one, jax.random.split(jax.random.key(0), 200))
    error = jnp.std(values, ddof=1)
    assert abs(jnp.mean(values) - TRUTH) < 4.5 * error / 200**0.5 + 2 / 400
    # The spread of 200 values is known within 5 %; four times that.
    assert abs(jnp.mean(spreads) / 400**0.5 / error - 1) < 0.2


@pytest.mark.thorough
@pytest.mark.parametrize("bound", BOUNDS)
def test_below_the_truth_for_other_critics(x64, bound):
    """A critic that is half of the best one: lower by far more than 5 standard errors."""
    scores = 0.5 * best_scores(jax.random.key(1), 2000)
    clip = jnp.asarray(50.0)
    best = bound_value(2 * scores + (bound == "nwj"), bound, clip)
    assert bound_value(scores, bound, clip) < best - 0.03
    assert objective(scores, bound, clip) < objective(2 * scores + (bound == "nwj"), bound, clip)


def test_smile_is_donsker_varadhan_with_clipped_ratios(x64):
    scores = best_scores(jax.random.key(2), 50)
    wide, plain = (
        bound_value(scores, "smile", 1e3),
        bound_value(scores, "donsker_varadhan", 0.0),
    )
    np.testing.assert_allclose(wide, plain, rtol=1e-12)
    apart = ~np.eye(50, dtype=bool)
    clipped = np.clip(np.asarray(scores), -1, 1)[apart]
    expected = np.mean(np.diag(scores)) - np.log(np.mean(np.exp(clipped)))
    np.testing.assert_allclose(bound_value(scores, "smile", 1.0), expected, rtol=1e-12)


def test_infonce_is_at_most_the_log_of_the_batch(x64):
    scores = 100 * jnp.eye(16)
    np.testing.assert_allclose(bound_value(scores, "infonce", 0.0), np.log(16), rtol=1e-12)


def test_scores_of_all_pairs_are_those_of_the_network():
    import equinox as eqx

    keys = jax.random.split(jax.random.key(0), 5)
    critic = (eqx.nn.Linear(3, 7, key=keys[0]), eqx.nn.Linear(7, 1, key=keys[1]))
    x, y = jax.random.normal(keys[2], (4, 2)), jax.random.normal(keys[3], (5, 1))
    scores = critic_scores(critic, x, y)
    for i in range(4):
        for j in range(5):
            hidden = jax.nn.relu(critic[0](jnp.concatenate([x[i], y[j]])))
            np.testing.assert_allclose(scores[i, j], critic[1](hidden)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.thorough
@pytest.mark.parametrize("bound", ["infonce", "smile"])
def test_a_trained_bound(bound):
    """Known truths: the estimate lies between .7 of it and 3 standard errors above."""
    x, noise = jax.random.normal(jax.random.key(0), (2, 2400, 1))
    y = CORRELATION * x + (1 - CORRELATION**2) ** 0.5 * noise
    spec = NeuralBound(bound, steps=800, hidden=(32,))
    estimate = spec.estimate(x, y, key=jax.random.key(1))
    assert 0.7 * TRUTH < estimate.value < TRUTH + 3 * estimate.standard_error
    alone = spec.estimate(x, noise, key=jax.random.key(1))
    assert abs(alone.value) < 0.03


@pytest.mark.thorough
def test_the_same_key_gives_the_same_bound():
    x, noise = jax.random.normal(jax.random.key(0), (2, 200, 1))
    spec = NeuralBound(steps=100)
    first, second, other = (
        spec.estimate(x, x + noise, key=jax.random.key(k)).value for k in (1, 1, 2)
    )
    assert first == second != other


def test_bad_input():
    x = jax.random.normal(jax.random.key(0), (40, 1))
    key = jax.random.key(0)
    for message, options in (
        ("bound must be one of", {"bound": "mine"}),
        ("steps must be", {"steps": 0}),
        ("batch_size must be", {"batch_size": 1}),
        ("hidden must be", {"hidden": ()}),
        ("learning_rate must be", {"learning_rate": -1.0}),
    ):
        with refuses(message):
            NeuralBound(**options)
    with refuses("at least 16 rows"):
        NeuralBound().estimate(x[:10], x[:10], key=key)
    with refuses("constant column"):
        NeuralBound().estimate(x, jnp.ones((40, 1)), key=key)
