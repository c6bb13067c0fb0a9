"""Training data: their information is what they say, and none of it is a test's."""

import inspect
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from estimators.information import ksg, normal_scores, simulate
from estimators.information._mist import _generator, _grid, _laws, _unseen

LAWS = (*_laws.LAWS, _laws.normal, *_unseen.UNSEEN)


@pytest.mark.thorough
@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_information_of_the_laws(law):
    """Against KSG, n = 1500, one column a side.

    The mean difference over 24 draws is below .1 + 3 standard errors: KSG is biased by up to .06 on
    boards and uniform noise at this n, as found with other keys.
    """
    one = jnp.asarray(1)

    @jax.jit
    def compare(keys):
        def of(key):
            data = law(key, 1500, 1, one, one)
            return data.information, ksg(normal_scores(data.x), normal_scores(data.y), neighbours=3)

        return jax.lax.map(of, keys)

    with jax.numpy_rank_promotion("allow"):
        truth, estimate = map(np.asarray, compare(jax.random.split(jax.random.key(8), 24)))
    assert np.isfinite(truth).all()
    assert (truth >= 0).all()
    moderate = truth < 1.5  # beyond, KSG itself fails
    difference = (estimate - truth)[moderate]
    assert moderate.sum() >= 8
    slack = 3 * difference.std() / moderate.sum() ** 0.5
    assert abs(difference.mean()) < 0.1 + slack
    assert np.corrcoef(truth[moderate], estimate[moderate])[0, 1] > 0.97


@pytest.mark.thorough
def test_draws():
    """Sizes within their ranges, filled with zeros, information finite, independence included."""
    keys = jax.random.split(jax.random.key(0), 60)
    with jax.numpy_rank_promotion("allow"):
        data = jax.jit(lambda k: jax.lax.map(lambda k: _generator.draw(k, 64, 3), k))(keys)
    assert bool(jnp.isfinite(data.information).all())
    assert bool(((data.count > 32) & (data.count <= 64)).all())
    assert bool(((data.columns >= 1) & (data.columns <= 3)).all())
    assert set(np.unique(data.law)) == set(range(len(_laws.LAWS) + 1))  # the last is plain
    assert int((data.information == 0).sum()) >= 1
    for side, columns in ((data.x, data.columns[:, 0]), (data.y, data.columns[:, 1])):
        beyond = jnp.arange(3)[None, None] >= columns[:, None, None]
        assert bool((jnp.where(beyond, side, 0) == 0).all())
        assert bool(jnp.isfinite(side).all())
        spread = jnp.std(side, axis=1)
        assert bool((jnp.where(beyond[:, 0], 1, spread) > 0).all())


def test_plain_data_sets_are_as_normal_as_they_say():
    """Canonical correlations give the information, with the errors of normal data.

    The squared errors of 60 data sets, in units of their variances (r**2 / n for each correlation,
    dx dy / 2n**2 for what is none), are chi-squared: false alarm 1e-4.
    """
    one = jax.jit(lambda key: _generator._plain(key, 4000, 4, 0))
    squares = []
    with jax.numpy_rank_promotion("allow"):
        sets = [one(key) for key in jax.random.split(jax.random.key(3), 60)]
    for data in sets:
        n, (dx, dy) = int(data.count), np.asarray(data.columns)
        assert n > 2000
        sides = (np.asarray(side, float)[:n, :d] for side, d in ((data.x, dx), (data.y, dy)))
        x, y = (np.linalg.qr(side - side.mean(0))[0] for side in sides)
        square = np.linalg.svd(x.T @ y, compute_uv=False) ** 2
        found = -0.5 * np.log1p(-square).sum() - dx * dy / (2 * n)
        variance = square.sum() / n + dx * dy / (2 * n**2)
        squares.append((found - float(data.information)) ** 2 / variance)
    low, high = scipy.stats.chi2.ppf([0.5e-4, 1 - 0.5e-4], len(squares))
    assert low < sum(squares) < high


def test_no_test_family_is_trained_on():
    """The generator's laws share no code and no name with what the benchmarks are made of."""
    trained = {law.__name__ for law in _laws.LAWS}
    assert trained == {"elliptical", "additive", "mixture", "regression", "copulas", "grid"}
    assert not trained & set(map(str.lower, simulate.HELD_OUT))
    assert not trained & {law.__name__ for law in _unseen.UNSEEN}
    for module in (_laws, _grid, _generator):
        source = inspect.getsource(module)
        for name in simulate.HELD_OUT:
            if len(name) > 2:  # "x" and "ai" are words of every file
                assert not re.search(rf"\b{re.escape(name)}\b", source)
        assert "simulate" not in source.replace("simulated", "")
