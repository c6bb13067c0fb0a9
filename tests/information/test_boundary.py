"""What is refused, what is NaN inside jit, and the interval."""

import contextlib

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
import scipy.stats

from estimators import information, io

X, NOISE = np.asarray(jax.random.normal(jax.random.key(0), (2, 60, 2)))
SPECS = [information.KSG(), information.GaussianCopula()]
KERNELS = [information.ksg, information.gaussian_copula]
CONSTANT = np.stack([X[:, 0], np.full(60, 3.0, np.float32)], 1)
INFINITE = np.where(np.arange(120).reshape(60, 2) == 7, np.inf, X).astype(np.float32)


@contextlib.contextmanager
def refuses(message):
    """Expect the library's own ValueError: annotations are checked in tests only."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with pytest.raises(ValueError, match=message):
            yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize("function", [spec.estimate for spec in SPECS] + KERNELS)
@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (X[:, 0], NOISE, r"x must have shape \(n, d\).*Write x\[:, None\]"),
        (X[:50], NOISE, r"same number of rows; got shapes \(50, 2\) and \(60, 2\)"),
        (X[:5], NOISE[:5], "x and y must have at least [67] rows"),
        (X, INFINITE, r"y must be finite; y\[3, 1\] is inf"),
        (CONSTANT, NOISE, r"x must not have a constant column.*x\[:, 1\] is always 3.0"),
    ],
)
def test_refuses(function, x, y, message):
    with refuses(message):
        function(x, y)


def test_refuses_options():
    with refuses("neighbours must be a whole number >= 1; got 0"):
        information.KSG(neighbours=0)
    with refuses("neighbours must be a whole number >= 1; got 2.0"):
        information.ksg(X, NOISE, neighbours=2.0)
    with refuses("coverage must lie strictly between 0 and 1; got 1.0"):
        information.KSG().estimate(X, NOISE).interval(1.0)
    with refuses("data must have at least 2 columns"):
        information.mutual_information_matrix(X[:, :1], key=jax.random.key(0))
    with refuses("key must be a new-style key"):
        information.permutation_test(X, NOISE, key=0)
    with refuses("n must be a whole number >= 7; got 6"):
        information.ksg_null(6, key=jax.random.key(0))


@pytest.mark.parametrize("y", [X, X[:, :1], X[:, :1] + 0 * NOISE])
def test_collinear_columns(y):
    with refuses("linearly independent columns"):
        information.GaussianCopula().estimate(X, y)
    inside = jax.jit(information.GaussianCopula().estimate.__func__)
    estimate = inside(information.GaussianCopula(), X, y)
    assert int(estimate.info.status) == 3
    assert np.isnan(estimate.value)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize(("x", "status"), [(CONSTANT, 2), (INFINITE, 1), (X, 0)])
def test_inside_jit_a_bad_value_is_nan_and_a_status(spec, x, status):
    estimate = jax.jit(type(spec).estimate)(spec, x, NOISE)
    assert int(estimate.info.status) == status
    numbers = jnp.stack([estimate.value, estimate.standard_error, *estimate.interval(0.9)])
    assert bool(jnp.isnan(numbers).all()) if status else bool(jnp.isfinite(numbers).all())


@pytest.mark.parametrize("kernel", KERNELS)
def test_inside_jit_a_kernel_gives_nan(kernel):
    assert np.isnan(jax.jit(kernel)(CONSTANT, NOISE))
    assert np.isnan(jax.jit(kernel)(INFINITE, NOISE))


def test_interval():
    estimate = information.KSG().estimate(X, X + NOISE)
    lower, upper = estimate.interval(0.8)
    expected = scipy.stats.norm.interval(0.8, float(estimate.value), float(estimate.standard_error))
    np.testing.assert_allclose([lower, upper], expected, rtol=1e-5)
    inside = jax.jit(information.Estimate.interval)(estimate, 0.8)
    np.testing.assert_allclose(inside, expected, rtol=1e-5)
    low = information.Estimate(
        jnp.float32(-1), jnp.float32(0.1), estimate.info, estimate.samples
    ).interval()
    assert list(map(float, low)) == [0, 0]


def test_saved_and_loaded(tmp_path):
    estimate = information.KSG().estimate(X, X + NOISE)
    io.save(tmp_path / "estimate.safetensors", estimate)
    loaded = io.load(tmp_path / "estimate.safetensors")
    assert isinstance(loaded, information.Estimate)
    assert float(loaded.value) == float(estimate.value)
    assert int(loaded.info.status) == 0
