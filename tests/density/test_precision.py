"""Narrow kernels, far queries, extreme weights: exact, or refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from estimators import density
from estimators.testing import refuses

POINTS = np.random.default_rng(0).normal(size=(300, 3))


def direct(points, queries, h):
    squares = ((queries[:, None] - points[None]) ** 2).sum(-1)
    logits = -0.5 * squares / h**2
    top = logits.max(1, keepdims=True)
    d = points.shape[1]
    return top[:, 0] + np.log(np.exp(logits - top).mean(1)) - d * np.log(h * np.sqrt(2 * np.pi))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("h", [0.5, 1e-2, 1e-3, 1e-4])
def test_narrow_kernels_keep_their_bound(x64, h, dtype):
    """At rows, one and a half bandwidths from rows, and between them."""
    points = POINTS.astype(dtype).astype(float)
    near = points[:20] + 1.5 * h * np.random.default_rng(1).normal(size=(20, 3))
    queries = np.concatenate([points[:20], near, POINTS[20:30] * 1.1]).astype(dtype)
    fitted = density.KDE(h).fit(points.astype(dtype))
    expected = direct(points, queries.astype(float), h)
    error = np.abs(np.asarray(fitted.log_density(queries), float) - expected)
    # The coordinates themselves round: relative to the exponent, that is unavoidable.
    unavoidable = 64 * np.finfo(dtype).eps * np.abs(expected)
    assert (error <= 4 * float(fitted.rounding_error) + unavoidable).all()
    if dtype == np.float64:
        assert float(fitted.rounding_error) < 1e-10


@pytest.mark.parametrize(
    "make",
    [
        lambda x: density.KDE("loo").fit(x),
        lambda x: density.KDE("loo", widths="nearest").fit(x),
        lambda x: density.KDE("loo", covariance="learned", centres="shrunken").fit(x),
        lambda x: density.mix_scales(density.KDE("scott").fit(x)),
        lambda x: density.marginal(density.KDE("scott").fit(x), [0, 2]),
    ],
)
def test_a_thousand_bandwidths_away_is_finite(make):
    fitted = make(POINTS.astype(np.float32))
    d = fitted.points.shape[1]
    far = np.full((1, d), 2000.0, np.float32)
    value = fitted.log_density(far)
    centres = np.asarray(fitted.points, float)
    offset = far - np.asarray(fitted.location, float)
    query = np.linalg.solve(np.asarray(fitted.factor, float), offset.T).T
    widths = np.ones(len(centres)) if fitted.widths is None else np.asarray(fitted.widths, float)
    logits = (
        np.asarray(fitted.log_weights, float)
        - d * np.log(widths)
        - 0.5 * ((query - centres) ** 2).sum(1) / widths**2
    )
    volume = np.log(np.diag(fitted.factor)).sum() + 0.5 * d * np.log(2 * np.pi)
    np.testing.assert_allclose(value[0], np.logaddexp.reduce(logits) - volume, rtol=1e-5)
    assert np.isfinite(fitted.score(far)).all()


def test_a_bandwidth_below_the_rounding_of_coordinates_is_refused():
    with pytest.raises(ValueError, match="above the rounding of float32 coordinates"):
        density.KDE(1e-9).fit(POINTS.astype(np.float32))
    status = jax.jit(lambda x: density.KDE(1e-9).fit(x).info.status)(POINTS.astype(np.float32))
    assert status == 5


def test_student_of_many_degrees_is_the_gaussian(x64):
    points = jnp.asarray(POINTS)
    expected = density.KDE(0.5).fit(points).log_density(points[:5])
    for dtype, tolerance in ((jnp.float32, 2e-5), (jnp.float64, 2e-7)):
        fitted = density.KDE(0.5, kernel=density.Student(1e8)).fit(points.astype(dtype))
        got = fitted.log_density(points[:5].astype(dtype))
        np.testing.assert_allclose(got, expected, atol=tolerance)


def test_weights_count_relative_to_each_other():
    points = POINTS.astype(np.float32)
    for scale in (1e-30, 1e38):
        fitted = density.KDE(0.5).fit(points, np.full(300, scale, np.float32))
        expected = density.KDE(0.5).fit(points).log_density(points[:5])
        np.testing.assert_allclose(fitted.log_density(points[:5]), expected, rtol=1e-5)
    bad = jnp.ones(300).at[7].set(-1.0)
    status = jax.jit(lambda w: density.KDE(0.5).fit(points, w).info.status)(bad)
    assert status == 1


def fit(n=60):
    return density.KDE(0.5).fit(POINTS[:n].astype(np.float32))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: density.KDE([[1.0, 0.9], [0.0, 1.0]]), "bandwidth must be symmetric"),
        (lambda: density.Student(jnp.inf), "degrees_of_freedom must be finite and above 2"),
        (lambda: density.KDE(0.5, covariance="diagonal"), "covariance and centres need a rule"),
        (lambda: density.mix_scales(fit(n=1)), "fitted must have distinct rows"),
        (lambda: density.debias(fit(), widening=[1.0, 2.0]), "widening must be a single number"),
        (lambda: density.marginal(fit(), [True, False]), "columns must be a sequence of whole"),
    ],
)
def test_bad_input_is_refused(make, message):
    with refuses(message):
        make()
