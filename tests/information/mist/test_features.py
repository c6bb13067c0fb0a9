"""What the network reads: invariances, filling, derivatives, and the profiles against a matrix."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from estimators.information import gaussian_copula, normal_scores
from estimators.information._mist import _profiles
from estimators.information._mist._features import exchange, features
from estimators.information._mist._moments import moment_features, pair_moments
from estimators.information._mist._prepare import prepare, ranks, soft_ranks

ROWS = 100


def problem(dx=3, dy=2):
    x = jax.random.normal(jax.random.key(0), (ROWS, dx))
    y = x[:, :1] ** 2 + jax.random.normal(jax.random.key(1), (ROWS, dy))
    return x, y


# One by one their operations compile for half a minute.
jitted = jax.jit(features)
prepared = jax.jit(prepare, static_argnums=4)


def read(x, y):
    return jitted(x, y, jnp.asarray(x.shape[0]), jnp.array([x.shape[1], y.shape[1]]))


def test_the_first_feature_is_the_gaussian_copula(x64):
    x, y = problem()
    np.testing.assert_allclose(read(x, y)[0], gaussian_copula(x, y), atol=2e-4)


@pytest.mark.thorough
@pytest.mark.parametrize("width", [3, 5])
def test_what_fills_changes_nothing(width):
    x, y = problem()
    columns = jnp.array([3, 2])
    wide_x = jnp.pad(x, ((0, 28), (0, width - 3)), constant_values=7.0)
    wide_y = jnp.pad(y, ((0, 28), (0, width - 2)), constant_values=-2.0)
    filled = jitted(wide_x, wide_y, jnp.asarray(ROWS), columns)
    # Ten squarings of a kernel multiply its rounding by 1000.
    np.testing.assert_allclose(filled, read(x, y), atol=2e-2, rtol=2e-2)


@pytest.mark.thorough
def test_invariances():
    x, y = problem()
    plain = read(x, y)
    order = jax.random.permutation(jax.random.key(2), ROWS)
    # Sums in another order; ten squarings of a kernel multiply its rounding by 1000, and third
    # moments over the few pairs that it still sees magnify that.
    near = {"atol": 5e-2, "rtol": 2e-2}
    np.testing.assert_allclose(read(x[order], y[order]), plain, **near)
    np.testing.assert_allclose(read(x[:, ::-1], y[:, ::-1]), plain, **near)
    np.testing.assert_allclose(read(y, x), exchange(plain), **near)
    np.testing.assert_array_equal(read(jnp.exp(x), 3 * y - 100), plain)
    np.testing.assert_allclose(read(-x, y), plain, **near)


def test_kernel_sums_against_the_matrix():
    x, y = problem(2, 1)
    pair = prepared(x, y, jnp.asarray(ROWS), jnp.array([2, 1]), ranks)
    sums = _profiles.kernel_sums(pair.white_x, pair.white_y, pair.columns, pair.real, 5, 2)
    white = [np.asarray(side, float) for side in (pair.white_x, pair.white_y)]
    for s in range(5):
        kernels = []
        for side in white:
            square = _profiles.WIDEST * side.shape[1] / 4**s
            distances = ((side[:, None] - side[None]) ** 2).sum(-1)
            kernels.append(np.exp(-distances / (2 * square)) * (1 - np.eye(ROWS)))
        # Rounding grows with each squaring of the kernel.
        for ours, theirs in zip(sums, (*kernels, kernels[0] * kernels[1]), strict=True):
            np.testing.assert_allclose(ours[s], theirs.sum(1), rtol=1e-5 * 4**s, atol=1e-5)


def test_scores_are_white_and_correlations_canonical(x64):
    x, y = problem()
    pair = prepared(x, y, jnp.asarray(ROWS), jnp.array([3, 2]), ranks)
    for white in (pair.white_x, pair.white_y):
        covariance = np.cov(white.T, ddof=0)
        np.testing.assert_allclose(covariance, np.eye(white.shape[1]), atol=1e-4)
    scores = [np.asarray(normal_scores(side), float) for side in (x, y)]
    scores = [s - s.mean(0) for s in scores]
    q = [np.linalg.qr(s)[0] for s in scores]
    expected = np.linalg.svd(q[0].T @ q[1], compute_uv=False)
    np.testing.assert_allclose(pair.correlations, expected, atol=1e-4)


@pytest.mark.thorough
def test_soft_ranks_are_near_ranks_and_differentiable(x64):
    x = jax.random.normal(jax.random.key(0), (400, 1))
    soft = soft_ranks(x, jnp.asarray(400))[:, 0]
    hard = jnp.argsort(jnp.argsort(x[:, 0])) + 1
    assert float(jnp.max(jnp.abs(soft - hard))) < 400 * 0.05
    assert bool((jnp.diff(soft[jnp.argsort(x[:, 0])]) > 0).all())
    direction = jax.random.normal(jax.random.key(1), x.shape)

    def along(t):
        return jnp.sum(jnp.sin(soft_ranks(x + t * direction, jnp.asarray(400)) / 100))

    step = 1e-5
    finite = (along(step) - along(-step)) / (2 * step)
    np.testing.assert_allclose(jax.grad(along)(0.0), finite, rtol=1e-5)


@pytest.mark.thorough
@pytest.mark.parametrize("level", [0, 2])
def test_moments_have_a_derivative_at_every_level_of_optimisation(level):
    """That of `max` was 0 / 0 where XLA computed the entries twice, rounded in two ways."""
    x, y = problem()

    @jax.grad
    def derivative(x):
        pair = prepare(x, y, jnp.asarray(ROWS), jnp.array([3, 2]), soft_ranks)
        read = moment_features(pair_moments(pair, soft_ranks)[0])
        return sum(jnp.sum(part) for part in read)

    options = {"xla_backend_optimization_level": level, "xla_llvm_disable_expensive_passes": True}
    found = jax.jit(derivative, compiler_options=options)(x)
    assert bool(jnp.isfinite(found).all())
    assert float(jnp.abs(found).max()) > 0
