"""Normal scores against scipy, and the distributional transform."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from estimators import information


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("digits", [8, 1, 0])
def test_average_ranks(digits):
    x = np.round(np.random.default_rng(0).normal(size=(200, 3)), digits)
    expected = scipy.stats.norm.ppf(scipy.stats.rankdata(x, axis=0) / 201)
    np.testing.assert_allclose(information.normal_scores(x), expected, atol=1e-12)


def test_ties_broken_at_random_give_every_rank_once():
    x = jax.random.randint(jax.random.key(0), (500, 3), 0, 4)
    scores = information.normal_scores(x, key=jax.random.key(1))
    every = jnp.sort(information.normal_scores(jnp.arange(500.0)[:, None]), axis=0)
    chex.assert_trees_all_close(jnp.sort(scores, 0), jnp.tile(every, (1, 3)), atol=1e-6)
    for column in range(3):  # the order of different values is kept
        assert (np.diff(np.asarray(x[:, column])[np.argsort(scores[:, column])]) >= 0).all()
    # Equal columns are broken independently: within one value the two orders are unrelated.
    # Spearman's rho of 400 pairs is beyond .25 with probability 4e-7.
    twice = jnp.repeat(jnp.arange(400) // 400, 2).reshape(400, 2)
    a, b = information.normal_scores(twice, key=jax.random.key(2)).T
    assert abs(scipy.stats.spearmanr(a, b).statistic) < 0.25


def test_without_ties_a_key_changes_nothing():
    x = jax.random.normal(jax.random.key(0), (100, 2))
    chex.assert_trees_all_close(
        information.normal_scores(x, key=jax.random.key(1)), information.normal_scores(x)
    )


def test_random_ties_keep_the_information_of_discrete_columns():
    # x fair in {0, 1}, y = x flipped with probability .1: I = log 2 - H(.1) = .3681. The mean of
    # 30 data sets of 600 is within .02 (the bias of KSG) and 5 standard errors of it.
    def one(key):
        fair, flip, ties = jax.random.split(key, 3)
        x = jax.random.bernoulli(fair, 0.5, (600, 1)).astype(float)
        y = jnp.where(jax.random.bernoulli(flip, 0.1, (600, 1)), 1 - x, x)
        u = information.normal_scores(jnp.concatenate([x, y], 1), key=ties)
        return information.ksg(u[:, :1], u[:, 1:])

    values = jax.lax.map(one, jax.random.split(jax.random.key(0), 30))
    assert abs(values.mean() - 0.3681) < 0.02 + 5 * values.std() / np.sqrt(30)


def test_nan_inside_jit():
    scores = jax.jit(information.normal_scores)(jnp.array([[1.0, jnp.nan], [2.0, 0.0]]))
    assert jnp.isnan(scores).tolist() == [[False, True], [False, True]]
