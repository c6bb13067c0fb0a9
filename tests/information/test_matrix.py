"""The matrix of all pairs with other estimators, and its intervals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from estimators import information
from estimators.testing import refuses

KEY = jax.random.key(4)


def table(n=80):
    data = jax.random.normal(jax.random.key(0), (n, 4))
    return data.at[:, 3].add(data[:, 0]).at[:, 1].set(jnp.round(data[:, 1]))


def test_intervals_are_those_of_the_estimate():
    found = information.mutual_information_matrix(table(), key=KEY, permutations=19, coverage=0.8)
    z = scipy.stats.norm.ppf(0.9)
    off = ~np.eye(4, dtype=bool)
    value, error = np.asarray(found.value)[off], np.asarray(found.standard_error)[off]
    np.testing.assert_allclose(
        np.asarray(found.lower)[off], np.maximum(value - z * error, 0), atol=1e-5
    )
    np.testing.assert_allclose(
        np.asarray(found.upper)[off], np.maximum(value + z * error, 0), atol=1e-5
    )
    assert np.isinf(np.diag(found.lower)).all()
    assert np.isinf(np.diag(found.upper)).all()


@pytest.mark.thorough
def test_another_estimator():
    data, spec = table(), information.GaussianCopula()
    options = {"key": KEY, "permutations": 199}
    found = information.mutual_information_matrix(data, estimator=spec, **options)
    pair = spec.estimate(data[:, :1], data[:, 3:])  # no ties in these two
    assert float(found.value[0, 3]) == pytest.approx(float(pair.value), abs=1e-5)
    assert float(found.standard_error[0, 3]) == pytest.approx(float(pair.standard_error), rel=1e-3)
    ends = [float(end) for end in pair.interval(0.9)]
    assert [float(found.lower[0, 3]), float(found.upper[0, 3])] == pytest.approx(ends, abs=1e-4)
    p = (1 + int((found.null >= found.value[0, 2]).sum())) / 200
    assert float(found.p_value[0, 2]) == pytest.approx(p)
    assert np.argwhere(found.discovered).tolist() == [[0, 3], [3, 0]]
    by_function = information.mutual_information_matrix(
        data, estimator=information.gaussian_copula, **options
    )
    np.testing.assert_allclose(by_function.value, found.value, atol=1e-6)
    np.testing.assert_allclose(by_function.p_value, found.p_value, atol=1e-6)
    assert np.isnan(np.asarray(by_function.lower)[0, 3])
    assert np.isnan(np.asarray(by_function.standard_error)).all()


def test_p_values_are_exact_for_another_estimator():
    # 200 independent pairs, one column discrete: p <= .1 in 20 on average, in fewer than 5 or
    # more than 38 with probability 1e-4.
    def one(key):
        first, second = jax.random.split(key)
        data = jax.random.normal(first, (40, 2))
        data = data.at[:, 0].set(jnp.round(data[:, 0]))
        found = information.mutual_information_matrix(
            data, key=second, permutations=19, estimator=information.Binned(4)
        )
        return found.p_value[0, 1]

    keys = jax.random.split(jax.random.key(5), 200)
    p_values = np.asarray(jax.jit(lambda keys: jax.lax.map(one, keys))(keys))
    assert 5 <= (p_values <= 0.1001).sum() <= 38


def test_refusals():
    with refuses("estimator must be an estimator"):
        information.mutual_information_matrix(table(), key=KEY, estimator="ksg")
    with refuses("coverage must lie strictly between"):
        information.mutual_information_matrix(table(), key=KEY, coverage=90)
