"""KDE against scipy, scikit-learn and direct sums."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from sklearn.neighbors import KernelDensity

from estimators import density

MIXING = np.array([[1.0, 0.5, 0.0], [0.0, 1.0, 0.2], [0.0, 0.0, 3.0]])


def draw(n, m, offset, dtype):
    generator = np.random.default_rng(0)
    points = (generator.normal(size=(n, 3)) @ MIXING + offset).astype(dtype)
    queries = (generator.normal(size=(m, 3)) @ MIXING + offset).astype(dtype)
    return points, queries, generator.uniform(size=n).astype(dtype)


@pytest.mark.parametrize("offset", [0.0, 1000.0])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-4)])
@pytest.mark.parametrize("rule", ["scott", "silverman"])
def test_rules_equal_scipy(x64, rule, dtype, tolerance, offset):
    points, queries, weights = draw(1500, 300, offset, dtype)
    peer = stats.gaussian_kde(points.T.astype(float), bw_method=rule, weights=weights)
    fitted = density.KDE(rule).fit(points, weights)
    assert fitted.log_density(queries).dtype == dtype
    expected = peer.logpdf(queries.T.astype(float))
    np.testing.assert_allclose(fitted.log_density(queries), expected, rtol=0, atol=tolerance)
    np.testing.assert_allclose(fitted.bandwidth, peer.covariance, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(fitted.info.effective_sample_size, peer.neff, rtol=1e-5)


@pytest.mark.parametrize("offset", [0.0, 1000.0])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-4)])
def test_a_number_equals_scikit_learn(x64, dtype, tolerance, offset):
    points, queries, weights = draw(1500, 300, offset, dtype)
    peer = KernelDensity(bandwidth=0.7).fit(points.astype(float), sample_weight=weights)
    fitted = density.KDE(0.7).fit(points, weights)
    expected = peer.score_samples(queries.astype(float))
    np.testing.assert_allclose(fitted.log_density(queries), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("bandwidth", [0.3, "scott", "loo"])
def test_a_row_without_weight_may_lie_anywhere(bandwidth):
    points, queries, weights = draw(300, 20, 0.0, np.float32)
    weights[0], astray = 0.0, points.copy()
    astray[0] = 1e7
    got = density.KDE(bandwidth).fit(astray, weights)
    expected = density.KDE(bandwidth).fit(points[1:], weights[1:])
    np.testing.assert_allclose(
        got.log_density(queries), expected.log_density(queries), rtol=0, atol=1e-4
    )
    np.testing.assert_allclose(got.rounding_error, expected.rounding_error, rtol=1e-4)


def test_a_weight_of_zero_has_a_gradient_of_numbers(x64):
    points, queries, weights = draw(12, 1, 0.0, np.float64)
    weights[2] = 0.0

    def of_kde(weights):
        return density.KDE("loo").fit(points, weights).log_density(queries[0])

    def of_product(weights):
        fitted = density.ProductKDE([density.Real()] * 3, bandwidth="scott").fit(points, weights)
        return fitted.log_density(queries[0])

    def of_update(weights):
        return density.update(density.KDE(0.5).fit(points), points + 1, weights).log_density(
            queries[0]
        )

    def of_regime(weights):
        return density.regime(density.KDE(2.0).fit(points, weights), queries).log_density[0]

    for value in (of_kde, of_product, of_update, of_regime):
        slope = jax.grad(value)(jnp.asarray(weights))
        assert jnp.all(jnp.isfinite(slope))
        step = np.where(np.arange(12) == 5, 1e-5, 0.0)
        difference = (value(weights + step) - value(weights - step)) / 2e-5
        np.testing.assert_allclose(slope[5], difference, rtol=1e-5)


@pytest.mark.parametrize("d", [1, 8, 64])
def test_high_dimension_equals_the_direct_sum(x64, d):
    """Not scikit-learn here: its tree is off by whole nats above d = 16 even at rtol 0."""
    generator = np.random.default_rng(1)
    points, queries = generator.normal(size=(400, d)), generator.normal(size=(50, d))
    squares = ((queries[:, None] - points[None]) ** 2).sum(-1)
    logits = -0.5 * squares / 0.8**2
    top = logits.max(1, keepdims=True)
    expected = (top[:, 0] + np.log(np.exp(logits - top).mean(1))) - d * np.log(
        0.8 * np.sqrt(2 * np.pi)
    )
    got = density.KDE(0.8).fit(points).log_density(queries)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-10)


def test_forms_of_the_bandwidth_agree(x64):
    points, queries, _ = draw(200, 20, 0.0, np.float64)
    number = density.KDE(0.5).fit(points).log_density(queries)
    for same in ([0.5] * 3, 0.25 * np.eye(3)):
        got = density.KDE(np.asarray(same)).fit(points).log_density(queries)
        np.testing.assert_allclose(got, number, atol=1e-12)
    matrix = np.array([[0.5, 0.2, 0.0], [0.2, 0.4, 0.1], [0.0, 0.1, 0.9]])
    got = density.KDE(matrix).fit(points).log_density(queries)
    expected = np.log(
        np.mean([stats.multivariate_normal(p, matrix).pdf(queries) for p in points], axis=0)
    )
    np.testing.assert_allclose(got, expected, atol=1e-11)


def test_density_does_not_depend_on_units(x64):
    points, queries, _ = draw(300, 20, 0.0, np.float64)
    scale = np.array([1e-3, 1.0, 1e4])
    for rule in ("scott", "loo"):
        plain = density.KDE(rule).fit(points).log_density(queries)
        scaled = density.KDE(rule).fit(points * scale).log_density(queries * scale)
        np.testing.assert_allclose(scaled + np.log(scale).sum(), plain, atol=1e-8)


def test_it_integrates_to_one(x64):
    points = np.random.default_rng(2).standard_t(3, size=(100, 1))
    fitted = density.KDE("loo").fit(points)
    grid = np.linspace(-60, 60, 20_001)
    mass = np.trapezoid(np.exp(fitted.log_density(grid[:, None])), grid)
    assert abs(mass - 1) < 1e-9


def test_score_is_the_empirical_score_at_noise_h(x64):
    """Tweedie: score = (E[y | x] - x) / h^2 with softmax weights over the points."""
    points, queries, _ = draw(100, 9, 5.0, np.float64)
    logits = -0.5 * ((queries[:, None] - points[None]) ** 2).sum(-1) / 0.6**2
    weights = np.exp(logits - logits.max(1, keepdims=True))
    mean = (weights / weights.sum(1, keepdims=True)) @ points
    got = density.KDE(0.6).fit(points).score(queries)
    np.testing.assert_allclose(got, (mean - queries) / 0.36, atol=1e-9)
    np.testing.assert_allclose(
        density.KDE(0.6).fit(points).score(queries.reshape(3, 3, 3)), got.reshape(3, 3, 3)
    )


def test_samples_have_the_moments_of_the_estimate(x64):
    """Mean and covariance of 40 000 draws within 5 standard errors: false alarm below 1e-5."""
    points, _, weights = draw(50, 1, 100.0, np.float64)
    fitted = density.KDE("scott").fit(points, weights)
    draws = np.asarray(fitted.sample(40_000, key=jax.random.key(3)))
    share = weights / weights.sum()
    mean = share @ points
    covariance = fitted.bandwidth + (points - mean).T @ np.diag(share) @ (points - mean)
    error = np.sqrt(np.diag(covariance) / 40_000)
    assert (np.abs(draws.mean(0) - mean) < 5 * error).all()
    spread = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)) * 2 / 40_000)
    assert (np.abs(np.cov(draws.T) - covariance) < 5 * spread).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: density.KDE("scot"), "bandwidth must be one of 'scott'"),
        (lambda: density.KDE(-1.0), "bandwidth must be finite and positive; got -1.0"),
        (lambda: density.KDE(np.ones((2, 3), np.float32)), r"got shape \(2, 3\)"),
        (lambda: density.KDE("loo", covariance="round"), "covariance must be one of"),
        (lambda: density.KDE(jnp.ones(3)).fit(jnp.ones((5, 2))), r"\(2,\) or \(2, 2\)"),
        (lambda: density.KDE().fit(jnp.ones((5, 2))), "column 0 is 1.0 in all rows"),
        (
            lambda: density.KDE().fit(jnp.array([[9.0], [3.0], [3.0]]), jnp.array([0.0, 1, 1])),
            "column 0 is 3.0 in all rows with weight",
        ),
        (lambda: density.KDE().fit(jnp.ones((1, 2))), "at least 2 rows"),
        (lambda: density.KDE(-jnp.eye(2)).fit(jnp.ones((5, 2))), "positive definite"),
        (
            lambda: density.KDE().fit(jnp.arange(10.0)[:, None] * jnp.array([[1.0, 2.0]])),
            "linearly dependent.*covariance='diagonal'",
        ),
        (lambda: density.KDE(1.0).fit(jnp.ones((5, 2))).log_density(jnp.ones(3)), "had 2 columns"),
        (lambda: density.KDE(1.0).fit(jnp.ones((5, 2))).sample(0, key=jax.random.key(0)), "n must"),
    ],
)
def test_bad_input_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_status_and_nan_inside_jit():
    def value(points):
        fitted = density.KDE("scott").fit(points)
        return fitted.info.status, fitted.log_density(jnp.zeros((2, 2)))

    points = jax.random.normal(jax.random.key(0), (20, 2))
    for bad, code in (
        (points.at[3, 1].set(jnp.inf), 1),
        (points.at[:, 0].set(2.0), 2),
        (points.at[:, 0].set(points[:, 1]), 3),
    ):
        status, result = jax.jit(value)(bad)
        assert status == code
        assert jnp.isnan(result).all()


def test_a_bandwidth_can_be_swept_and_differentiated(x64):
    points, queries, _ = draw(200, 50, 0.0, np.float64)

    def held_out(h):
        return density.KDE(h).fit(points).log_density(queries).mean()

    grid = jnp.array([0.3, 0.6, 1.2])
    swept = jax.vmap(held_out)(grid)
    np.testing.assert_allclose(swept, [held_out(h) for h in grid], rtol=1e-12)
    slope = (held_out(0.6001) - held_out(0.5999)) / 2e-4
    np.testing.assert_allclose(jax.grad(held_out)(0.6), slope, rtol=1e-6)
