"""The improved Sheather-Jones bandwidth against KDEpy, and against the same sums without bins."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from estimators import density
from estimators.density import improved_sheather_jones
from estimators.testing import refuses


def laws(generator):
    normal = generator.normal(size=500)
    left, right = generator.normal(-5, 0.3, size=300), generator.normal(5, 1, size=200)
    return {
        "normal": normal,
        "bimodal": np.concatenate([left, right]),
        "student": generator.standard_t(4, size=500) * 10,
        "skewed": generator.exponential(size=500),
    }


# KDEpy 1.1.12 on these laws, with 1024 bins:
#
#     mesh = autogrid(x, boundary_abs=6, num_points=1024, boundary_rel=0.5)
#     improved_sheather_jones(x) * np.ptp(mesh) / np.ptp(x)
#
# It scales by the range of the data where its own transform runs over that of the mesh (its
# issue 199), which makes its bandwidth too small by the last factor: at least two.
KDEPY = {
    "normal": 0.33688510770678104,
    "bimodal": 0.13473567827255542,
    "student": 3.6554278242578984,
    "skewed": 0.0846933093174794,
}


def unbinned(x, weights):
    """Algorithm 1 on the cosine transform of the points themselves, by scipy's root finder."""
    weights = weights / weights.sum()
    size, length = 1 / (weights @ weights), 1.5 * np.ptp(x)
    s = (np.pi * np.arange(1, 4096)) ** 2
    power = (np.cos(np.sqrt(s)[:, None] * ((x - x.min()) / length + 1 / 6)) @ weights) ** 2

    def excess(log_time):
        value = 2 * np.sum(s**7 * power * np.exp(-s * np.exp(log_time)))
        for j in range(6, 1, -1):
            odd = np.prod(np.arange(1, 2 * j, 2.0)) / np.sqrt(2 * np.pi)
            factor = 2 * (1 + 0.5 ** (j + 0.5)) / 3 * odd
            value = 2 * np.sum(
                s**j * power * np.exp(-s * (factor / size / value) ** (2 / (3 + 2 * j)))
            )
        return log_time + 0.4 * np.log(2 * size * np.sqrt(np.pi) * value)

    grid = np.linspace(-12, -2.5, 100)
    values = [excess(t) for t in grid]
    i = next(i for i in range(99) if values[i] < 0 <= values[i + 1])
    return length * np.exp(0.5 * optimize.brentq(excess, grid[i], grid[i + 1], xtol=1e-14))


@pytest.mark.parametrize("law", KDEPY)
def test_it_equals_its_peer_and_the_unbinned_transform(x64, law):
    x = laws(np.random.default_rng(0))[law]
    bandwidth, found = improved_sheather_jones(x[:, None])
    assert found
    np.testing.assert_allclose(bandwidth, unbinned(x, np.ones(500)), rtol=2e-5)
    # The skewed law has a jump, where 1024 bins are coarse and the walls differ.
    np.testing.assert_allclose(bandwidth, KDEPY[law], rtol=1.5e-2 if law == "skewed" else 2e-3)
    weights = np.random.default_rng(1).uniform(size=500)
    weighted, _ = improved_sheather_jones(x[:, None], weights)
    np.testing.assert_allclose(weighted, unbinned(x, weights), rtol=2e-5)


def test_units_offset_and_precision(x64):
    x = laws(np.random.default_rng(0))["bimodal"][:, None]
    plain, _ = improved_sheather_jones(x)
    moved, _ = improved_sheather_jones(1e-4 * x + 1000)
    np.testing.assert_allclose(moved, 1e-4 * plain, rtol=1e-6)
    single, found = improved_sheather_jones(x.astype(np.float32))
    assert found
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, plain, rtol=1e-5)


def test_rows_of_no_weight_do_not_count(x64):
    x = laws(np.random.default_rng(0))["normal"][:, None]
    plain, _ = improved_sheather_jones(x)
    more = np.concatenate([x, np.full((100, 1), 1e6)])
    weights = np.concatenate([np.full(500, 3.0), np.zeros(100)])
    got, _ = improved_sheather_jones(more, weights)
    np.testing.assert_allclose(got, plain, rtol=1e-10)


def test_normal_data_give_nearly_the_best_bandwidth():
    """30 sets of 1000: the mean is within 10 % of 1.059 n^-1/5; found 1.048, spread .08.

    The mean's own error is 1.5 %: the false alarm rate is below 1e-3.
    """
    points = jax.random.normal(jax.random.key(0), (30, 1000, 1))
    bandwidth, found = jax.vmap(improved_sheather_jones)(points)
    assert found.all()
    assert abs(bandwidth.mean() / (1.0592 * 1000**-0.2) - 1) < 0.1


@pytest.mark.thorough
def test_it_beats_silverman_on_separate_clusters():
    """Integrated squared error over 20 data sets of 400: smaller in every one, by a factor of 5."""
    grid = jnp.linspace(-14.0, 14.0, 1401)
    truth = 0.5 * jax.scipy.stats.norm.pdf(jnp.abs(grid) - 10)
    signs = jnp.where(jnp.arange(400) < 200, -10.0, 10.0)
    sets = jax.random.normal(jax.random.key(0), (20, 400, 1)) + signs[None, :, None]

    def errors(points):
        bandwidth, _ = improved_sheather_jones(points)
        both = density.KDE(bandwidth).fit(points), density.KDE("silverman").fit(points)
        return [jnp.sum((jnp.exp(f.log_density(grid[:, None])) - truth) ** 2) * 0.02 for f in both]

    improved, silverman = jax.vmap(errors)(sets)
    assert (improved < silverman / 5).all()


def test_derivative_in_the_points_and_the_weights(x64):
    x = laws(np.random.default_rng(0))["normal"][:40, None]
    towards = np.random.default_rng(1).normal(size=x.shape)

    def value(step, share):
        weights = jnp.ones(40).at[:10].set(share)
        return improved_sheather_jones(x + step * towards, weights)[0]

    slopes = jax.grad(value, (0, 1))(0.0, 2.0)
    for slope, change in zip(slopes, ((1e-6, 0.0), (0.0, 1e-5)), strict=True):
        high = value(change[0], 2.0 + change[1])
        low = value(-change[0], 2.0 - change[1])
        np.testing.assert_allclose(slope, (high - low) / (2 * sum(change)), rtol=1e-3)


def test_where_there_is_none_it_says_so():
    """Constant data, data rounded more coarsely than the bandwidth, an outlier, two rows."""
    x = np.random.default_rng(2).normal(size=(1000, 1)).astype(np.float32)
    far = x.copy()
    far[0] = 1e5
    for bad in (np.ones((5, 1), np.float32), np.round(x), far, x[:2]):
        bandwidth, found = improved_sheather_jones(bad)
        assert not found
        assert jnp.isnan(bandwidth)
    inside = jax.jit(improved_sheather_jones)
    negative = jnp.ones(1000).at[3].set(-1.0)
    for bad in ((jnp.asarray(x).at[0].set(jnp.nan), None), (x, negative), (x, -jnp.ones(1000))):
        bandwidth, found = inside(*bad)
        assert not found
        assert jnp.isnan(bandwidth)


def test_refusals():
    with refuses(r"points must have one column.*got shape \(5, 2\).*'loo'"):
        improved_sheather_jones(np.ones((5, 2), np.float32))
    with refuses(r"bandwidth 'sheather-jones' must have points of one column; got shape \(2, 2\)"):
        density.KDE("sheather-jones").fit([[1.0, 2.0], [3.0, 4.0]])
    with refuses("points must have at least 2 rows"):
        improved_sheather_jones(np.ones((1, 1), np.float32))
    with refuses("weights must not be negative"):
        improved_sheather_jones(np.ones((2, 1), np.float32), np.float32([1, -1]))
