"""Resampled intervals: by hand, their coverage, and dependent rows."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import LAWS

from estimators import information
from estimators.information._inference import _resampling
from estimators.testing import refuses

pytestmark = pytest.mark.thorough

GAUSSIAN = information.CanonicalCorrelation()
NORMAL = "normal 1x1, rho = 0.75"


def data(n=60, seed=0):
    return LAWS[NORMAL][1](jax.random.key(seed), n)


@pytest.mark.parametrize(("size", "block"), [(None, 1), (20, 1), (24, 6)])
def test_subsampling_by_hand(size, block):
    x, y = data()
    found = information.subsampling_interval(
        x, y, key=jax.random.key(1), estimator=GAUSSIAN, coverage=0.8, subsamples=99,
        size=size, block=block,
    )  # fmt: skip
    b = size or 30
    assert float(found.value) == float(GAUSSIAN.estimate(x, y).value)
    away = np.sqrt(b / (60 - b)) * (np.sort(found.replicates) - float(found.value))
    # 100 intervals between 99 replicates: the 10th and the 90th leave 0.1 on either side.
    assert float(found.upper) == pytest.approx(float(found.value) - away[9], abs=1e-6)
    assert float(found.lower) == pytest.approx(max(float(found.value) - away[89], 0), abs=1e-6)
    assert float(found.standard_error) == pytest.approx(away.std(), rel=1e-4)


def test_which_rows_are_drawn():
    keys = jax.random.split(jax.random.key(0), 300)
    part = jax.vmap(lambda key: _resampling._part(key, 23, 4, 3))(keys)
    part = np.asarray(part)
    assert part.shape == (300, 12)
    assert (np.diff(part.reshape(300, 3, 4), axis=2) == 1).all()
    assert all(len(set(rows)) == 12 for rows in part.tolist())
    assert set(part.reshape(-1)) == set(range(23))  # the rest of 23 / 4 too, in turn
    copies = jax.vmap(lambda key: _resampling._with_replacement(key, 23, 4))(keys)
    copies = np.asarray(copies)
    assert copies.shape == (300, 23)
    assert (np.diff(copies[:, :20].reshape(300, 5, 4), axis=2) == 1).all()
    assert set(copies.reshape(-1)) == set(range(23))


def coverage_of(interval, name, n, replicates=300, **options):
    truth, sample = LAWS[name]

    @jax.jit
    def run(keys):
        def one(key):
            of_data, of_rows = jax.random.split(key)
            found = interval(*sample(of_data, n), key=of_rows, **options)
            return (found.lower <= truth) & (truth <= found.upper)

        return jax.lax.map(one, keys)

    return float(run(jax.random.split(jax.random.key(3), replicates)).mean())


@pytest.mark.parametrize("interval", [
    functools.partial(information.subsampling_interval, subsamples=99),
    functools.partial(information.subsampling_interval, subsamples=99, size=25),
    functools.partial(information.bootstrap_interval, resamples=99),
])  # fmt: skip
def test_coverage(interval):
    # Nominal 0.9, asymptotic. At n = 100 basic intervals of a skewed statistic cover a little
    # less: 0.86 leaves [.78, .93] in 300 data sets with probability 1e-4. Without the factor c
    # the intervals from 25 rows would be 1.7 times as wide, and cover 0.99.
    covered = coverage_of(interval, NORMAL, 100, estimator=GAUSSIAN)
    assert 0.78 <= covered <= 0.955


def autocorrelated(key, n, memory=0.9):
    """Two independent autoregressions."""

    def step(state, noise):
        state = memory * state + noise
        return state, state

    noise = jax.random.normal(key, (n, 2))
    _, path = jax.lax.scan(step, noise[0], noise)
    return path[:, :1], path[:, 1:]


def test_blocks_see_the_memory_of_a_time_series():
    # The estimate strays (1 + .81) / (1 - .81) times as much in variance as with independent
    # rows; blocks of 25 catch most of it. Mean over 40 series; x and y are dependent.
    def errors(block):
        def one(key):
            of_data, of_rows = jax.random.split(key)
            x, noise = autocorrelated(of_data, 400)
            found = information.subsampling_interval(
                x, x + noise, key=of_rows, estimator=GAUSSIAN, subsamples=49, block=block
            )
            return found.standard_error, found.value

        keys = jax.random.split(jax.random.key(0), 40)
        return map(np.asarray, jax.jit(lambda keys: jax.lax.map(one, keys))(keys))

    (single, values), (blocks, _) = errors(1), errors(25)
    truth = values.std()
    assert single.mean() < 0.6 * truth
    assert 0.6 * truth < blocks.mean() < 1.4 * truth


def test_blocks_keep_the_level_of_a_permutation_test():
    # 200 tests at .1: single rows find the memory of the series in most; blocks reject 10 % and
    # a little more. Below 45 with probability 1 - 1e-4 if the level is .14.
    def rejected(block):
        def one(key):
            of_data, of_test = jax.random.split(key)
            x, y = autocorrelated(of_data, 400)
            return information.permutation_test(
                x, y, key=of_test, statistic=GAUSSIAN, permutations=19, block=block
            ).p_value

        keys = jax.random.split(jax.random.key(4), 200)
        return int((jax.jit(lambda k: jax.lax.map(one, k))(keys) <= 0.1001).sum())

    assert rejected(1) > 80
    assert 5 < rejected(40) < 45


def test_too_few_replicates_give_the_whole_half_line():
    found = information.bootstrap_interval(
        *data(), key=jax.random.key(0), estimator=GAUSSIAN, coverage=0.95, resamples=19
    )
    assert float(found.lower) == 0
    assert np.isinf(found.upper)
    enough = information.bootstrap_interval(
        *data(), key=jax.random.key(0), estimator=GAUSSIAN, coverage=0.9, resamples=19
    )
    assert np.isfinite(enough.upper)


def test_one_program_for_an_estimator_object_and_its_kernel_agree():
    x, y = data()
    options = {"key": jax.random.key(0), "subsamples": 9, "coverage": 0.5}

    @chex.assert_max_traces(2)  # once for all rows and once for a subsample
    def counted(x, y):
        return information.ksg(x, y)

    one = information.subsampling_interval(x, y, estimator=counted, **options)
    information.subsampling_interval(*data(seed=1), estimator=counted, **options)
    for same in (information.KSG(), information.KSG().estimate, information.ksg):
        other = information.subsampling_interval(x, y, estimator=same, **options)
        chex.assert_trees_all_close(one, other, atol=1e-5)
    nan = jax.jit(
        lambda x: information.subsampling_interval(x, y, estimator=information.KSG(), **options)
    )(x.at[0].set(jnp.nan))
    assert np.isnan(nan.lower)
    assert np.isnan(nan.value)


def test_refusals():
    x, y = data()
    key = jax.random.key(0)
    unsuited = (
        information.KSG(), information.ksg, functools.partial(information.ksg, neighbours=3),
        information.KernelDensityPlugIn(), information.Compressed(information.MixtureKSG(), 1, 1),
        information.KSG().estimate, jax.jit(information.ksg), information.MIST(),
        functools.partial(information.KSG().estimate), information.AdaptiveBinned(),
    )  # fmt: skip
    for estimator in unsuited:
        with refuses("estimator must not take a copy of a row for a neighbour"):
            information.bootstrap_interval(x, y, key=key, estimator=estimator)
    with refuses("size must be smaller than the 60 rows"):
        information.subsampling_interval(x, y, key=key, estimator=GAUSSIAN, size=60)
    with refuses("block must leave at least 2 blocks"):
        information.subsampling_interval(x, y, key=key, estimator=GAUSSIAN, block=31)
    with refuses("block must leave at least 2 blocks"):
        information.permutation_test(x, y, key=key, block=31)
    with refuses("size must be a whole number >= 5"):
        information.subsampling_interval(x, y, key=key, estimator=GAUSSIAN, block=5, size=4)
    with refuses(r"not its class; write KSG\("):
        information.subsampling_interval(x, y, key=key, estimator=information.KSG)
    with refuses("estimator must be an estimator with estimate"):
        information.bootstrap_interval(x, y, key=key, estimator="ksg")
    with refuses("coverage must lie strictly between"):
        information.bootstrap_interval(x, y, key=key, estimator=GAUSSIAN, coverage=90)
