"""Levels of the tests, and the matrix of all pairs."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from laws import LAWS

from estimators import information
from estimators.information._inference import _matrix
from estimators.information._inference._permutation import p_value
from estimators.testing import refuses


def test_p_value_by_hand():
    x, y = jax.random.normal(jax.random.key(0), (2, 40, 1))
    y = y + 0.4 * x
    test = information.permutation_test(x, y, key=jax.random.key(1), permutations=99)
    assert float(test.observed) == float(information.ksg(x, y))
    expected = (1 + int((test.null >= test.observed).sum())) / 100
    assert float(test.p_value) == pytest.approx(expected)


@pytest.mark.parametrize("statistic", [information.ksg, information.gaussian_copula])
def test_level_under_independence(statistic):
    # 400 tests at level .1, Cauchy against a discrete variable: an exact test rejects more than
    # 65 or fewer than 18 times with probability 1e-4.
    @jax.jit
    def p_values(keys):
        def one(key):
            first, second, third = jax.random.split(key, 3)
            x = jax.random.cauchy(first, (30, 1))
            y = jnp.round(2 * jax.random.normal(second, (30, 1)))
            test = information.permutation_test(
                x, y, key=third, statistic=statistic, permutations=19
            )
            return test.p_value

        return jax.lax.map(one, keys)

    rejected = int((p_values(jax.random.split(jax.random.key(2), 400)) <= 0.1001).sum())
    assert 18 <= rejected <= 65


def test_statistic_may_be_an_estimate():
    x, y = jax.random.normal(jax.random.key(0), (2, 40, 1))
    spec = information.GaussianCopula()
    first = information.permutation_test(x, y, key=jax.random.key(1), permutations=19,
                                         statistic=information.gaussian_copula)  # fmt: skip
    second = information.permutation_test(
        x, y, key=jax.random.key(1), permutations=19, statistic=lambda x, y: spec.estimate(x, y)
    )
    chex.assert_trees_all_close(first, second, atol=1e-6)


def test_null_serves_every_marginal():
    # Values for independent Cauchy and discrete columns against the simulated null: the
    # Kolmogorov-Smirnov test at level 1e-4.
    null = information.ksg_null(80, key=jax.random.key(0), permutations=600)

    def one(key):
        first, second, third = jax.random.split(key, 3)
        x = jax.random.cauchy(first, (80, 1))
        y = jax.random.bernoulli(second, 0.3, (80, 1)).astype(x.dtype)
        u = information.normal_scores(jnp.concatenate([x, y], 1), key=third)
        return information.ksg(u[:, :1], u[:, 1:])

    values = jax.jit(lambda keys: jax.lax.map(one, keys))(jax.random.split(jax.random.key(1), 600))
    result = scipy.stats.ks_2samp(np.asarray(null), np.asarray(values))
    assert result.pvalue > 1e-4


def test_benjamini_hochberg():
    p = np.random.default_rng(0).uniform(size=40).astype(np.float32) ** 3
    expected = scipy.stats.false_discovery_control(p)
    np.testing.assert_allclose(_matrix.benjamini_hochberg(jnp.asarray(p)), expected, rtol=1e-5)
    equal = jnp.full(7, 0.5)
    np.testing.assert_allclose(_matrix.benjamini_hochberg(equal), 0.5, rtol=1e-6)


def dependent_table(key, n=300):
    first, second = jax.random.split(key)
    x, y = LAWS["mixture of rho = +-0.9"][1](first, n)
    return jnp.concatenate([x, jax.random.normal(second, (n, 3)), y], 1)


@pytest.mark.thorough
def test_matrix_discovers_a_dependence_without_correlation():
    # The value of this pair is 10 null standard deviations out: it is always found. That one of
    # the 9 other pairs is reported too has probability below .05 (the rate); the key is fixed.
    data = dependent_table(jax.random.key(3))
    found = information.mutual_information_matrix(data, key=jax.random.key(4), permutations=399)
    assert np.argwhere(found.discovered).tolist() == [[0, 4], [4, 0]]
    value = np.asarray(found.value)
    np.testing.assert_array_equal(value, value.T)
    assert np.isinf(np.diag(value)).all()
    scores = information.normal_scores(data)
    pair = information.KSG().estimate(scores[:, :1], scores[:, 4:])
    # Distances between scores are often equal; KSG standardises, and rounding breaks those ties.
    np.testing.assert_allclose(value[0, 4], pair.value, atol=1e-3)
    np.testing.assert_allclose(found.standard_error[0, 4], pair.standard_error, rtol=1e-2)
    p = (1 + int((found.null >= value[0, 1]).sum())) / 400
    assert float(found.p_value[0, 1]) == pytest.approx(p)


@pytest.mark.thorough
def test_matrix_keeps_its_level():
    # 60 tables of 4 independent columns, one of them discrete, reported at rate .2: some pair is
    # reported in at most 12 on average, in more than 25 with probability 1e-4.
    def one(key):
        first, second = jax.random.split(key)
        data = jax.random.normal(first, (60, 4))
        data = data.at[:, 0].set(jnp.round(data[:, 0]))
        found = information.mutual_information_matrix(
            data, key=second, permutations=99, false_discovery_rate=0.2
        )
        return found.discovered.any()

    keys = jax.random.split(jax.random.key(5), 60)
    assert int(jax.jit(lambda keys: jax.lax.map(one, keys))(keys).sum()) <= 25


def test_matrix_traces_once_and_marks_bad_columns_inside_jit():
    @jax.jit
    @chex.assert_max_traces(1)
    def matrix(data, rate):
        return information.mutual_information_matrix(
            data, key=jax.random.key(0), permutations=19, false_discovery_rate=rate
        )

    data = dependent_table(jax.random.key(0), 60)
    matrix(data, 0.1)
    bad = matrix(data.at[:, 2].set(1.0), 0.2)
    assert np.isnan(bad.value[2, [0, 1, 3, 4]]).all()
    assert not bad.discovered[2].any()
    assert np.isfinite(bad.value[0, 4])


@pytest.mark.parametrize("unit", [1.0, 1e-6, 1e6])
def test_the_unit_of_a_statistic_does_not_matter(unit):
    null = unit * jnp.linspace(0.1, 1.0, 19)
    for observed, reached in ((1.1, 0), (0.98, 1), (1.0, 1), (0.0, 19)):
        found = 20 * p_value(null, unit * jnp.asarray(observed))
        assert float(found) == pytest.approx(1 + reached)
    # What differs by rounding is equal, and a null of one value has no spread.
    assert float(20 * p_value(null, null[-1] * (1 + 1e-6))) == pytest.approx(2)
    assert float(p_value(jnp.full(19, unit), jnp.asarray(unit))) == 1


def test_a_statistic_is_one_number_of_x_and_y():
    x, y = jax.random.normal(jax.random.key(0), (2, 30, 1))
    for statistic, message in (
        (lambda a, b: a[:, 0] * b[:, 0], "must give one number; this one gives shape"),
        (information.ConditionalKSG(), "statistic must be called with x and y alone"),
        (lambda a: a.sum(), "statistic must be called with x and y alone"),
    ):
        with refuses(message):
            information.permutation_test(x, y, key=jax.random.key(1), statistic=statistic)
