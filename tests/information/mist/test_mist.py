"""The estimator that ships: what it answers, refuses and promises."""

import time
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from estimators import information, io
from estimators.information import MIST
from estimators.information._mist import _mist
from estimators.information._mist._network import BINS, UNSHIFTED, compress
from estimators.testing import refuses


@pytest.fixture(scope="module")
def mist():
    return MIST()


def normal_pair(rows, correlation, seed=0, columns=1, dtype=jnp.float32):
    x, noise = jax.random.normal(jax.random.key(seed), (2, rows, columns), dtype)
    return x, correlation * x + (1 - correlation**2) ** 0.5 * noise


@pytest.mark.parametrize("correlation", [0.3, 0.6, 0.9])
def test_normal_pairs(mist, correlation):
    """The mean of 20 estimates at n = 300 is within .03 nats + 5 % of the truth."""
    truth = -0.5 * np.log1p(-(correlation**2))
    values = [mist.estimate(*normal_pair(300, correlation, s)).value for s in range(20)]
    assert abs(np.mean(values) - truth) < 0.03 + 0.05 * truth


@pytest.mark.thorough
def test_independent_variables(mist):
    """The median of 40 estimates at n = 500 is below .01 nats, in one and in three columns."""
    for columns in (1, 3):
        values = []
        for seed in range(40):
            x, y = jax.random.normal(jax.random.key(seed), (2, 500, columns))
            values.append(float(mist.estimate(x, y).value))
        assert np.median(values) < 0.01


@pytest.mark.thorough
def test_permutation_p_values_are_uniform(mist):
    """Of 300 independent pairs of 60 rows, a Cauchy column against two normal ones.

    Spread over the gap below it an exact p-value is uniform: the Kolmogorov-Smirnov test rejects
    that with probability 1 %.
    """

    @jax.jit
    def p_values(mist, keys):
        def one(key):
            of_x, of_y, of_order, of_gap = jax.random.split(key, 4)
            x, y = jax.random.cauchy(of_x, (60, 1)), jax.random.normal(of_y, (60, 2))
            test = information.permutation_test(x, y, key=of_order, statistic=mist, permutations=39)
            return test.p_value - jax.random.uniform(of_gap) / 40

        return jax.lax.map(one, keys)

    found = p_values(mist, jax.random.split(jax.random.key(6), 300))
    assert scipy.stats.kstest(found, "uniform").pvalue > 0.01


def test_symmetries(mist):
    x, y = normal_pair(200, 0.7, columns=2)
    value = mist.estimate(x, y).quantiles
    np.testing.assert_allclose(mist.estimate(y, x).quantiles, value, rtol=2e-3, atol=1e-3)
    moved = mist.estimate(jnp.exp(x), -(y**3)).quantiles
    np.testing.assert_allclose(moved, value, rtol=5e-3, atol=2e-3)
    turned = mist.estimate(x[::-1, ::-1], y[::-1]).quantiles
    np.testing.assert_allclose(turned, value, rtol=5e-3, atol=2e-3)


def test_quantiles_and_intervals(mist):
    estimate = mist.estimate(*normal_pair(200, 0.7))
    assert (np.diff(estimate.quantiles) >= 0).all()
    assert float(estimate.quantiles[0]) >= 0
    np.testing.assert_array_equal(estimate.value, estimate.quantiles[8])
    lower, upper = estimate.interval(0.9)
    np.testing.assert_allclose([lower, upper], estimate.quantiles[jnp.array([2, 14])], rtol=1e-4)
    wide, narrow = estimate.interval(0.98), estimate.interval(0.1)
    assert wide[0] < lower < narrow[0] < estimate.value < narrow[1] < upper < wide[1]
    with refuses("coverage must be at most 0.98"):
        estimate.interval(0.99)
    assert np.isnan(jax.jit(lambda e, c: e.interval(c))(estimate, 0.995)).all()
    inside = jax.jit(lambda e: e.interval(0.9))(estimate)
    np.testing.assert_allclose(inside, [lower, upper], rtol=1e-5)


def test_another_number_of_rows_compiles_nothing(mist):
    mist.estimate(*normal_pair(300, 0.5))
    size = _mist._estimate._cache_size()
    for rows in (257, 301, 444, 512):
        mist.estimate(*normal_pair(rows, 0.5))
    assert _mist._estimate._cache_size() == size


def test_many_rows_are_dealt_out_into_parts(mist):
    """Averaged on the compressed scale, and the same for rows in another order."""
    x, y = (np.asarray(side) for side in normal_pair(1200, 0.6))
    whole = mist.estimate(x, y)
    assert int(whole.samples) == 1200
    np.testing.assert_allclose(whole.value, -np.log(1 - 0.36) / 2, atol=0.05)
    order = _mist._order(x, y, np)
    plain = eqx.tree_at(
        lambda m: m.network.shift, mist, jnp.broadcast_to(jnp.asarray(UNSHIFTED), (*BINS, 17))
    )
    plain = eqx.tree_at(lambda m: m.network.widening, plain, jnp.zeros(BINS[0]))
    dealt = [order[i::3] for i in range(3)]
    parts = [compress(plain.estimate(x[rows], y[rows]).quantiles) for rows in dealt]
    mean = np.mean(parts, 0)
    shared = float(mist.network.shared)
    kept = (shared + (1 - shared) / 3) ** 0.5
    expected = mean[8] + kept * (mean - mean[8])
    np.testing.assert_allclose(compress(plain.estimate(x, y).quantiles), expected, atol=1e-3)

    alternating = np.where(np.arange(1200) % 2 == 0, 1, -1).astype(x.dtype)[:, None] * x
    shuffle = np.random.default_rng(0).permutation(1200)
    there, here = mist.estimate(x, alternating), mist.estimate(x[shuffle], alternating[shuffle])
    np.testing.assert_allclose(here.quantiles, there.quantiles, rtol=1e-3)
    inside = jax.jit(MIST.estimate)(mist, x, y)
    np.testing.assert_allclose(inside.quantiles, whole.quantiles, rtol=1e-3, atol=1e-5)


@pytest.mark.thorough
def test_inside_transformations(mist):
    x, y = normal_pair(100, 0.6)
    plain = mist.estimate(x, y).value
    np.testing.assert_allclose(eqx.filter_jit(mist.estimate)(x, y).value, plain, rtol=1e-4)
    np.testing.assert_allclose(jax.jit(MIST.estimate)(mist, x, y).value, plain, rtol=1e-4)
    many = jax.vmap(mist.estimate)(jnp.stack([x, x]), jnp.stack([y, y]))
    np.testing.assert_allclose(many.value, [plain, plain], rtol=1e-4)
    bad = jax.jit(MIST.estimate)(mist, x.at[3, 0].set(jnp.nan), y)
    assert np.isnan(bad.value)
    assert int(bad.info.status) == 1
    constant = jax.jit(MIST.estimate)(mist, jnp.ones_like(x), y)
    assert np.isnan(constant.value)
    assert int(constant.info.status) == 2


@pytest.mark.thorough
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_dtypes(mist, x64, dtype):
    x, y = normal_pair(100, 0.6, dtype=jnp.float64)
    estimate = mist.estimate(x.astype(dtype), y.astype(dtype))
    assert estimate.value.dtype == estimate.quantiles.dtype == dtype
    np.testing.assert_allclose(estimate.value, mist.estimate(x, y).value, rtol=1e-3)


@pytest.mark.thorough
def test_the_derivative_of_soft_ranks(x64):
    """Along a random direction, against a central difference."""
    mist = MIST(ranks="soft")
    x, y = normal_pair(120, 0.6, columns=2, dtype=jnp.float64)
    direction = jax.random.normal(jax.random.key(5), x.shape, jnp.float64)

    @jax.jit
    def along(t):
        return MIST.estimate(mist, x + t * direction, y).value

    # Features are single precision: a step at which their rounding does not show.
    step = 1e-2
    finite = (along(step) - along(-step)) / (2 * step)
    np.testing.assert_allclose(jax.grad(along)(0.0), finite, rtol=0.05, atol=2e-3)


def test_soft_ranks_estimate_too():
    truth = -0.5 * np.log1p(-0.36)
    assert abs(MIST(ranks="soft").estimate(*normal_pair(500, 0.6)).value - truth) < 0.1


@pytest.mark.thorough
def test_all_pairs_of_a_table(mist):
    """As any estimator; a strong dependence is found among independent columns."""
    x, y = normal_pair(100, 0.9)
    table = jnp.concatenate([x, y, jax.random.normal(jax.random.key(9), (100, 1))], 1)
    found = information.mutual_information_matrix(
        table, key=jax.random.key(0), estimator=mist, permutations=99
    )
    assert found.discovered[0, 1]
    np.testing.assert_allclose(found.value[0, 1], mist.estimate(x, y).value, rtol=1e-3)
    assert found.lower[0, 1] < found.value[0, 1] < found.upper[0, 1]


def test_bad_input(mist):
    x, y = normal_pair(100, 0.6)
    for message, arguments in (
        ("at least 32 rows", (x[:20], y[:20])),
        ("at most 16 columns", (jax.random.normal(jax.random.key(0), (100, 17)), y)),
        ("1.5 rows a column", (jax.random.normal(jax.random.key(0), (40, 14)),) * 2),
        ("same number of rows", (x, y[:50])),
        ("constant column", (jnp.ones_like(x), y)),
        ("finite", (x.at[0, 0].set(jnp.inf), y)),
        ("MixtureKSG", (jnp.round(x), y)),
        ("MixtureKSG", (jax.random.bernoulli(jax.random.key(1), shape=(100, 1)).astype(float), y)),
    ):
        with refuses(message):
            mist.estimate(*arguments)
    with refuses("ranks must be one of"):
        MIST(ranks="hard")


def test_warns_of_what_training_did_not_see(mist):
    """A spiked copula: half of the rows on a line, the rest far from it in ranks."""
    x = jnp.linspace(0.0, 1.0, 400)[:, None]
    with pytest.warns(UserWarning, match="beyond its training"):
        mist.estimate(x, x + 1e-6 * jnp.sin(1e4 * x))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for seed in range(5):
            mist.estimate(*normal_pair(300, 0.5, seed))


@pytest.mark.thorough
def test_saved_and_read(mist, tmp_path):
    io.save(tmp_path / "mist.safetensors", mist)
    again = io.load(tmp_path / "mist.safetensors")
    x, y = normal_pair(64, 0.6)
    np.testing.assert_array_equal(again.estimate(x, y).quantiles, mist.estimate(x, y).quantiles)


def test_weights_ship_and_load_fast():
    _mist.shipped.cache_clear()
    start = time.process_time()
    MIST()
    assert time.process_time() - start < 1
    path = _mist.resources.files(_mist.__package__) / _mist.WEIGHTS
    assert path.stat().st_size < 12e6
