"""Widths, kernels, debiased centres and mixtures of scales of a fitted density."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, stats
from scipy.special import logsumexp
from sklearn.neighbors import KernelDensity, NearestNeighbors

from estimators import density
from estimators.density._forms import _widths
from estimators.density._labels import row_labels
from estimators.testing import refuses

POINTS = np.random.default_rng(0).standard_t(3, size=(400, 2))
FLOAT32 = POINTS.astype(np.float32)


def test_nearest_widths_are_the_neighbour_distances(x64):
    points = jnp.asarray(POINTS)
    equal = jnp.full(400, -np.log(400))
    got = _widths.nearest(points, equal, row_labels(points), jnp.asarray(15))
    distance = NearestNeighbors(n_neighbors=16).fit(POINTS).kneighbors(POINTS)[0][:, 15]
    expected = distance / np.exp(np.log(distance).mean())
    np.testing.assert_allclose(got, expected, rtol=0.02)  # found by halving


def test_nearest_widths_of_many_rows_are_estimated(x64, monkeypatch):
    """From every fourth row, and so at a quarter of the neighbour's number."""
    monkeypatch.setattr(_widths, "REFERENCES", 100)
    points = jnp.asarray(POINTS)
    equal = jnp.full(400, -np.log(400))
    got = _widths.nearest(points, equal, row_labels(points), jnp.asarray(20))
    peer = NearestNeighbors(n_neighbors=6).fit(POINTS[::4])
    # A row that is asked among itself has itself at distance zero.
    place = np.where(np.arange(400) % 4 == 0, 5, 4)
    distance = peer.kneighbors(POINTS)[0][np.arange(400), place]
    expected = distance / np.exp(np.log(distance).mean())
    np.testing.assert_allclose(got, expected, rtol=0.02)


def test_abramson_widths_go_as_the_root_of_the_density(x64):
    fitted = density.KDE("scott", widths="abramson").fit(POINTS)
    pilot = density.KDE("scott").fit(POINTS).log_density(POINTS)
    expected = np.exp(-0.5 * (pilot - pilot.mean()))
    np.testing.assert_allclose(fitted.widths, expected, rtol=1e-10)


@pytest.mark.thorough
@pytest.mark.parametrize("widths", ["nearest", "abramson"])
def test_unequal_widths_are_a_sum_of_unequal_kernels(x64, widths):
    fitted = density.KDE("loo", widths=widths).fit(POINTS)
    queries = POINTS[:5] + 0.1
    expected = [
        logsumexp(
            [
                stats.multivariate_normal(y, s**2 * np.asarray(fitted.bandwidth)).logpdf(q)
                for y, s in zip(POINTS, fitted.widths, strict=True)
            ]
        )
        - np.log(400)
        for q in queries
    ]
    np.testing.assert_allclose(fitted.log_density(queries), expected, atol=1e-10)
    step = 1e-5 * np.array([1.0, 0.0])
    slope = (fitted.log_density(queries + step) - fitted.log_density(queries - step)) / 2e-5
    np.testing.assert_allclose(fitted.score(queries)[:, 0], slope, atol=1e-7)


@pytest.mark.thorough
def test_nearest_widths_help_where_scales_differ():
    """Held-out gain on a narrow and a wide cluster above 4 standard errors."""
    generator = np.random.default_rng(1)
    rows = generator.normal(size=(3400, 2)) * generator.choice([0.2, 2.0], size=(3400, 1))
    points, fresh = rows[:400].astype(np.float32), rows[400:].astype(np.float32)
    gap = np.asarray(
        density.KDE("loo", widths="nearest").fit(points).log_density(fresh)
        - density.KDE("loo").fit(points).log_density(fresh)
    )
    assert gap.mean() > 4 * gap.std() / 3000**0.5


@pytest.mark.parametrize(
    ("kernel", "name", "factor"),
    [
        (density.Epanechnikov(), "epanechnikov", np.sqrt(6)),
        (density.TopHat(), "tophat", 2.0),
        (density.Exponential(), "exponential", 1 / np.sqrt(3)),
    ],
)
def test_other_kernels_equal_scikit_learn(x64, kernel, name, factor):
    peer = KernelDensity(kernel=name, bandwidth=0.8 * factor).fit(POINTS)
    fitted = density.KDE(0.8, kernel=kernel).fit(POINTS)
    np.testing.assert_allclose(
        fitted.log_density(POINTS + 0.05), peer.score_samples(POINTS + 0.05), atol=1e-10
    )
    draws = np.asarray(fitted.sample(20_000, key=jax.random.key(0)))
    expected = np.cov(POINTS.T, ddof=0) + 0.64 * np.eye(2)
    np.testing.assert_allclose(np.cov(draws.T), expected, rtol=0.15, atol=0.1)


@pytest.mark.thorough
def test_leave_one_out_chooses_the_bandwidth_of_a_student_kernel(x64):
    kernel = density.Student(5.0)
    fitted = density.KDE("loo", kernel=kernel).fit(POINTS)

    def likelihood(factor):
        covariance = np.cov(POINTS.T) * factor**2
        one = density.KDE(covariance, kernel=kernel).fit(POINTS)
        return -float(one.leave_one_out_log_density().mean())

    best = optimize.minimize_scalar(likelihood, bounds=(0.05, 1), method="bounded")
    np.testing.assert_allclose(fitted.info.factor, best.x, rtol=1e-3)


@pytest.mark.thorough
def test_mixture_of_scales_has_the_best_shares(x64):
    plain = density.KDE("loo").fit(POINTS)
    mixed = density.mix_scales(plain, (0.5, 1.0, 2.0))
    alone = np.stack(
        [
            density.KDE(plain.bandwidth * m**2).fit(POINTS).leave_one_out_log_density()
            for m in (0.5, 1.0, 2.0)
        ]
    )

    def likelihood(logits):
        return -logsumexp(alone + (logits - logsumexp(logits))[:, None], axis=0).mean()

    best = optimize.minimize(likelihood, np.zeros(3), method="Nelder-Mead")
    got = mixed.leave_one_out_log_density()
    assert got.shape == (400,)
    assert got.mean() > -best.fun - 1e-4
    assert got.mean() > plain.leave_one_out_log_density().mean()
    np.testing.assert_allclose(jax.nn.logsumexp(mixed.log_weights), 0, atol=1e-12)


def test_debiased_centres_move_by_half_h_squared_along_the_score(x64):
    plain = density.KDE(0.6).fit(POINTS)
    moved = density.debias(plain, widening=1.0)
    centres = moved.location[None] + moved.points @ moved.factor.T
    np.testing.assert_allclose(centres, POINTS + 0.18 * plain.score(POINTS), atol=1e-10)
    wide = density.debias(plain, widening=1.5)
    np.testing.assert_allclose(wide.bandwidth, 0.9)
    wider = density.KDE(0.9).fit(POINTS)
    centres = wide.location[None] + wide.points @ wide.factor.T
    np.testing.assert_allclose(centres, POINTS + 0.405 * wider.score(POINTS), atol=1e-10)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: density.KDE("loo", kernel=density.TopHat()), "must reach everywhere"),
        (lambda: density.KDE("scott", covariance="learned"), "must be learned by bandwidth 'loo'"),
        (lambda: density.KDE(1.0, centres="shrunken"), "need a rule"),
        (lambda: density.KDE("auto", widths="nearest"), "chooses covariance, centres and widths"),
        (
            lambda: density.KDE("loo", centres="shrunken", kernel=density.Exponential()),
            "kernel must be Gaussian",
        ),
        (lambda: density.KDE("sheather-jones").fit(jnp.ones((9, 2))), "points of one column"),
        (
            lambda: density.debias(density.KDE(1.0, kernel=density.TopHat()).fit(FLOAT32)),
            "fitted must have a Gaussian kernel",
        ),
        (
            lambda: density.mix_scales(density.KDE(1.0).fit(FLOAT32), (1.0, -2.0)),
            "multipliers must be finite and positive",
        ),
    ],
)
def test_bad_input_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_kernel_is_an_object():
    with refuses("kernel must be a kernel such as"):
        density.KDE("loo", kernel="gaussian")
