"""Radial kernels against scikit-learn, scipy, closed forms and direct sums."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec
from jax.test_util import check_grads
from scipy import stats
from sklearn.neighbors import KernelDensity

from estimators import density
from estimators.density._kernels import log_kernel_sum
from estimators.testing import refuses

KERNELS = {
    "gaussian": density.Gaussian(),
    "epanechnikov": density.Epanechnikov(),
    "tophat": density.TopHat(),
    "exponential": density.Exponential(),
}
# scikit-learn's bandwidth at bandwidth one, by the dimension.
CONVERSION = {
    "gaussian": lambda d: 1.0,
    "epanechnikov": lambda d: math.sqrt(d + 4),
    "tophat": lambda d: math.sqrt(d + 2),
    "exponential": lambda d: 1 / math.sqrt(d + 1),
}
ALL = [*KERNELS.values(), density.Student(5.0)]


def log_density(kernel, queries, points, h, weights=None):
    n, d = points.shape
    weights = np.ones(n) if weights is None else weights
    log_weights = jnp.log(jnp.asarray(weights / weights.sum()))
    queries, points = jnp.asarray(queries / h), jnp.asarray(points / h)
    value = log_kernel_sum(queries, points, log_weights, kernel)
    return value - kernel.log_normaliser(d, points.dtype) - d * math.log(h)


@pytest.mark.parametrize("d", [1, 2, 5, 9])
@pytest.mark.parametrize("name", KERNELS)
def test_equals_scikit_learn(x64, name, d):
    """Some queries are fitted points, where the exponential has its cusp (exact to d = 8)."""
    generator = np.random.default_rng(d)
    points = generator.normal(size=(1100, d))
    weights = generator.uniform(size=1100)
    queries = 2 * generator.normal(size=(600, d))
    if d <= 8:
        queries[:100] = points[:100]
    h = 0.5 if d <= 2 else 1.0
    peer = KernelDensity(
        kernel=name, bandwidth=h * CONVERSION[name](d), leaf_size=1100, rtol=0, atol=0
    ).fit(points, sample_weight=weights)
    got = log_density(KERNELS[name], queries, points, h, weights)
    expected = peer.score_samples(queries)
    reached = np.isfinite(got)
    # Where no kernel reaches, scikit-learn leaves the log of a rounding error.
    if name in ("gaussian", "exponential"):
        assert reached.all()
    else:
        assert 50 < reached.sum()
        assert (expected[~reached] < -30).all()
    np.testing.assert_allclose(got[reached], expected[reached], rtol=0, atol=1e-10)


@pytest.mark.parametrize("d", [1, 3])
def test_student_equals_scipy(x64, d):
    generator = np.random.default_rng(2)
    points, queries = generator.normal(size=(30, d)), 5 * generator.normal(size=(20, d))
    shape = 0.8**2 * (5 - 2) / 5 * np.eye(d)
    laws = [stats.multivariate_t(point, shape, df=5.0) for point in points]
    expected = np.log(np.mean([law.pdf(queries) for law in laws], 0))
    got = log_density(density.Student(5.0), queries, points, 0.8)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("kernel", ALL, ids=lambda kernel: type(kernel).__name__)
@pytest.mark.parametrize("d", [1, 2, 7])
def test_integrates_to_one_with_unit_covariance(x64, kernel, d):
    """In polar coordinates: integrals of the profile and of r^2 / d over R^d."""
    end = {"TopHat": math.sqrt(d + 2), "Epanechnikov": math.sqrt(d + 4)}.get(type(kernel).__name__)
    nodes, weights = np.polynomial.legendre.leggauss(400)
    if end is not None:
        radius, weights = (nodes + 1) / 2 * end, weights / 2 * end
        radius, weights = radius * (1 - 1e-15), weights
    else:  # r = t / (1 - t) brings the half line to (0, 1)
        t = (nodes + 1) / 2
        radius, weights = t / (1 - t), weights / 2 / (1 - t) ** 2
    profile = np.exp(kernel.log_profile(jnp.asarray(radius**2), d))
    sphere = 2 * math.pi ** (d / 2) / math.gamma(d / 2) * radius ** (d - 1)
    kernel_values = profile * np.exp(-kernel.log_normaliser(d, jnp.float64))
    np.testing.assert_allclose((weights * sphere * kernel_values).sum(), 1, atol=1e-9)
    np.testing.assert_allclose((weights * sphere * kernel_values * radius**2).sum(), d, rtol=1e-7)


@pytest.mark.parametrize("kernel", ALL, ids=lambda kernel: type(kernel).__name__)
@pytest.mark.parametrize("d", [1, 4])
def test_draws_follow_the_kernel(kernel, d):
    """40 000 draws: covariance I within 6 standard errors, false alarm below 1e-7 a number.

    Kolmogorov-Smirnov on the squared radius against the profile's integral, level 1e-4.
    """
    draws = np.asarray(kernel.sample(jax.random.key(4), 40_000, d, jnp.float32))
    assert draws.dtype == np.float32
    assert draws.shape == (40_000, d)
    products = draws[:, :, None] * draws[:, None, :]
    error = products.std(0) / 200
    assert (np.abs(products.mean(0) - np.eye(d)) < 6 * error).all()
    assert (np.abs(draws.mean(0)) < 6 / 200).all()
    radius = np.linspace(0, 1e3, 2_000_001)[1:]
    log_profile = np.asarray(kernel.log_profile(jnp.asarray(radius**2, jnp.float32), d), float)
    mass = np.cumsum(np.exp(log_profile) * radius ** (d - 1))
    law = functools.partial(np.interp, xp=radius, fp=mass / mass[-1])
    assert stats.kstest(np.linalg.norm(draws, axis=1), law).pvalue > 1e-4


@pytest.mark.thorough
@pytest.mark.parametrize("kernel", ALL, ids=lambda kernel: type(kernel).__name__)
def test_gradients(x64, kernel):
    """Against finite differences; finite at the edge, on a point and out of reach."""
    generator = np.random.default_rng(5)
    points, queries = (jnp.asarray(generator.normal(size=(n, 2))) for n in (40, 7))
    weights = jnp.log(jnp.asarray(generator.uniform(size=40)))
    precision = jnp.asarray(generator.uniform(0.5, 2, size=40))

    def value(q, x, w, p):
        q, x, w, p = (jnp.asarray(a) for a in (q, x, w, p))  # finite differences are numpy
        return log_kernel_sum(q, x, w, kernel, point_precision=p)

    primals = (queries, points, weights, precision)
    check_grads(value, primals, order=1, eps=1e-6, rtol=1e-5)
    radius = {"TopHat": 2.0, "Epanechnikov": math.sqrt(6.0)}.get(type(kernel).__name__, 1.0)
    alone = jnp.zeros((1, 2))
    special = jnp.array([[0.0, 0.0], [radius, 0.0], [1e3, 0.0]])
    for one in special:
        gradient = jax.grad(lambda q: log_kernel_sum(q[None], alone, jnp.zeros(1), kernel)[0])(one)
        assert jnp.isfinite(gradient).all()
    if radius != 1.0:
        assert log_kernel_sum(special, alone, jnp.zeros(1), kernel)[2] == -jnp.inf
    assert jnp.isnan(log_kernel_sum(jnp.nan * special, alone, jnp.zeros(1), kernel)).all()


def test_precisions_and_labels_equal_the_direct_sum(x64):
    generator = np.random.default_rng(6)
    points, queries = generator.normal(size=(1500, 3)), generator.normal(size=(700, 3))
    log_weights, precision = generator.normal(size=1500), generator.uniform(0.5, 2, size=1500)
    of_points, of_queries = generator.integers(5, size=1500), generator.integers(5, size=700)
    squares = precision * ((queries[:, None] - points) ** 2).sum(-1)
    kernel = np.clip(1 - squares / 7, 0, None) * np.exp(log_weights)
    kernel[of_queries[:, None] == of_points] = 0
    got = log_kernel_sum(
        *(jnp.asarray(a) for a in (queries, points, log_weights)),
        density.Epanechnikov(),
        point_precision=jnp.asarray(precision),
        query_labels=jnp.asarray(of_queries),
        point_labels=jnp.asarray(of_points),
    )
    np.testing.assert_allclose(np.exp(got), kernel.sum(1), atol=1e-10)


def test_a_block_without_points_does_not_hide_a_far_tail():
    """The first 1024 points have no weight; the others are 500 bandwidths away."""
    points = jnp.ones((1200, 1))
    log_weights = jnp.where(jnp.arange(1200) < 1024, -jnp.inf, -jnp.log(176.0))
    value = log_kernel_sum(jnp.array([[-499.0]]), points, log_weights, density.Gaussian())
    np.testing.assert_allclose(value, -125_000.0, rtol=1e-6)


def test_split_over_devices():
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:4])
    generator = np.random.default_rng(7)
    points = jnp.asarray(generator.normal(size=(80, 2)), jnp.float32)
    log_weights = jnp.zeros(80).at[:20].set(-jnp.inf)  # one device has nothing to say

    def total(axis_name, points, log_weights):
        return log_kernel_sum(
            points[:1] * 0, points, log_weights, density.Exponential(), axis_name=axis_name
        )

    split = jax.shard_map(
        functools.partial(total, "data"),
        mesh=mesh,
        in_specs=(PartitionSpec("data"), PartitionSpec("data")),
        out_specs=PartitionSpec(),
    )
    together = total(None, points, log_weights)
    np.testing.assert_allclose(jax.jit(split)(points, log_weights), together, rtol=1e-6)


def test_memory_is_that_of_blocks():
    """Value and gradient of 20 000 x 8192 pairs: the whole matrix is 655 MB in float32."""
    shapes = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((20_000, 4), (8192, 4), (8192,))]

    def total(q, x, w):
        return log_kernel_sum(q, x, w, density.Epanechnikov()).sum()

    compiled = jax.jit(jax.grad(total, argnums=(0, 1))).lower(*shapes).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 60e6


@pytest.mark.parametrize("bad", [2.0, -1.0, math.nan])
def test_student_needs_a_variance(bad):
    with refuses("degrees_of_freedom must be finite and above 2"):
        density.Student(bad)
