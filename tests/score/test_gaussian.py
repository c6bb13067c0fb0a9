"""The Gaussian score against scipy, autodiff and an adaptive ODE solver."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from estimators import score


def draw(n=400, d=5, dtype=np.float64):
    generator = np.random.default_rng(0)
    return (generator.normal(size=(n, d)) @ generator.normal(size=(d, d)) + 7).astype(dtype)


def full_covariance(fitted):
    within = fitted.basis @ fitted.basis.T
    of_modes = (fitted.basis * fitted.eigenvalues[None]) @ fitted.basis.T
    return np.asarray(of_modes + fitted.floor * (jnp.eye(within.shape[0]) - within))


@pytest.mark.parametrize("rank", [None, 5, 2])
@pytest.mark.parametrize("sigma", [0.0, 0.3, 20.0])
def test_log_density_equals_scipy(x64, rank, sigma):
    points = draw()
    fitted = score.Gaussian(rank).fit(points)
    covariance = full_covariance(fitted) + sigma**2 * np.eye(5)
    expected = stats.multivariate_normal(fitted.mean, covariance).logpdf(points[:9])
    np.testing.assert_allclose(fitted.log_density(points[:9], sigma), expected, atol=1e-9)


def test_moments_are_those_of_the_data(x64):
    points = draw()
    fitted = score.Gaussian().fit(points)
    np.testing.assert_allclose(fitted.mean, points.mean(0), rtol=1e-13)
    np.testing.assert_allclose(full_covariance(fitted), np.cov(points.T), atol=1e-11)
    low = score.Gaussian(2).fit(points)
    spectrum = np.linalg.eigvalsh(np.cov(points.T))[::-1]
    np.testing.assert_allclose(low.eigenvalues, spectrum[:2])
    np.testing.assert_allclose(low.floor, spectrum[2:].mean())
    np.testing.assert_allclose(low.info.explained_variance, spectrum[:2].sum() / spectrum.sum())


@pytest.mark.parametrize("rank", [None, 2, 0])
def test_score_is_the_gradient_and_tweedie_holds(x64, rank):
    points = draw()
    fitted = score.Gaussian(rank).fit(points)
    x, sigma = jnp.asarray(points[:6]), jnp.linspace(0.1, 3.0, 6)
    gradient = jax.grad(lambda x: jnp.sum(fitted.log_density(x, sigma)))(x)
    np.testing.assert_allclose(fitted.score(x, sigma), gradient, atol=1e-11)
    tweedie = (fitted.denoise(x, sigma) - x) / sigma[:, None] ** 2
    np.testing.assert_allclose(fitted.score(x, sigma), tweedie, atol=1e-9)


@pytest.mark.parametrize("rank", [None, 2])
def test_transport_solves_the_probability_flow(x64, rank):
    fitted = score.Gaussian(rank).fit(draw())
    start = np.random.default_rng(1).normal(size=5) * 40.0

    def velocity(sigma, x):
        return -sigma * np.asarray(fitted.score(x, sigma))

    solved = integrate.solve_ivp(velocity, (40.0, 0.05), start, "DOP853", rtol=1e-12, atol=1e-12)
    got = fitted.transport(start, from_sigma=40.0, to_sigma=0.05)
    np.testing.assert_allclose(got, solved.y[:, -1], atol=1e-6)
    back = fitted.transport(got, from_sigma=0.05, to_sigma=40.0)
    np.testing.assert_allclose(back, start, rtol=1e-10)


def test_transport_carries_the_noised_law_exactly(x64):
    """The change of variables: log p_to(T x) = log p_from(x) - log |det dT|."""
    fitted = score.Gaussian(2).fit(draw())
    x = jnp.asarray(draw(3))
    jacobian = jax.vmap(jax.jacfwd(lambda x: fitted.transport(x, 5.0, 0.2)))(x)
    moved = fitted.log_density(fitted.transport(x, 5.0, 0.2), 0.2)
    expected = fitted.log_density(x, 5.0) - jnp.linalg.slogdet(jacobian)[1]
    np.testing.assert_allclose(moved, expected, atol=1e-10)


def test_float32_at_tiny_noise_with_full_rank():
    """With r = d the part outside the basis is rounding error over sigma^2: it must not enter."""
    points = draw(dtype=np.float32)
    value = score.Gaussian().fit(points).log_density(points[:4], 1e-6)
    with jax.enable_x64(True):
        expected = (
            score.Gaussian().fit(points.astype(float)).log_density(points[:4].astype(float), 1e-6)
        )
    np.testing.assert_allclose(value, expected, rtol=1e-3)


@pytest.mark.parametrize("scale", [1e3, 1e4])
@pytest.mark.parametrize("kind", ["gaussian", "mixture"])
def test_float32_beside_a_mode_of_large_variance(kind, scale):
    """Of the fitted arrays in float64: what the mode holds must not cancel over the floor."""
    spread = np.array([scale] + [1.0] * 19)
    points = (np.random.default_rng(0).normal(size=(300, 20)) * spread).astype(np.float32)
    if kind == "gaussian":
        fitted = score.Gaussian(rank=1).fit(points)
    else:
        fitted = score.Mixture(1, rank=1).fit(points, key=jax.random.key(0))
    mean, basis, eigenvalues, floor = (np.asarray(a[0], float) for a in fitted.components[1:])
    basis /= np.linalg.norm(basis, axis=0)
    covariance = (basis * (eigenvalues - floor)) @ basis.T + floor * np.eye(20)
    expected = stats.multivariate_normal(mean, covariance).logpdf(points.astype(float))
    bound = 100 * np.finfo(np.float32).eps * scale  # of the coordinates
    np.testing.assert_allclose(fitted.log_density(points, 0.0), expected, atol=bound)


def test_fewer_rows_than_columns(x64):
    points = draw(n=4, d=5)
    fitted = score.Gaussian().fit(points)
    assert jnp.isfinite(fitted.score(points, 0.1)).all()
    assert (fitted.eigenvalues[3:] < 1e-12).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: f.score(jnp.ones((2, 3)), 1.0), "must have shape .*5"),
        (lambda f: f.score(jnp.ones((2, 5)), -1.0), "sigma must be finite and not negative"),
        (lambda f: f.score(jnp.ones((2, 5)), jnp.ones(3)), r"broadcast to the batch shape \(2,\)"),
        (lambda f: f.transport(jnp.ones((2, 5)), 1.0, jnp.nan), "to_sigma must be finite"),
        (lambda f: score.Gaussian(6).fit(jnp.ones((9, 5))), "at most the 5 columns"),
        (lambda f: score.Gaussian(-1).fit(jnp.ones((9, 5))), "rank must be a whole number >= 0"),
        (lambda f: score.Gaussian().fit(jnp.ones((1, 5))), "at least 2 rows"),
    ],
)
def test_bad_input_is_refused(call, message):
    fitted = score.Gaussian().fit(draw(dtype=np.float32))
    with pytest.raises(ValueError, match=message):
        call(fitted)


def test_what_is_refused_outside_jit_is_nan_inside():
    points = draw(dtype=np.float32)

    @jax.jit
    def fit(weight, shrinkage):
        fitted = score.Gaussian(shrinkage=shrinkage).fit(points, jnp.ones(400).at[3].set(weight))
        return fitted.info.status, fitted.log_density(points[:3], 1.0)

    for options in ((-1.0, 0.0), (1.0, 1.2), (1.0, -0.1), (1.0, jnp.nan)):
        status, density = fit(*options)
        assert status == 1
        assert jnp.isnan(density).all()
    assert fit(1.0, 1.0)[0] == 0

    fitted = score.Gaussian().fit(points)
    assert jnp.isnan(jax.jit(fitted.log_determinant.__func__)(fitted, -1.0, 1.0))
    draws = jax.jit(lambda sigma: fitted.sample(2, sigma, key=jax.random.key(0)))
    assert jnp.isnan(draws(-1.0)).all()
