"""One column of each kind: its kernel against closed forms, quadrature and sums over images."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from estimators.density import Bounded, Categorical, Ordered, Periodic, ProductKDE, Real

CODES = np.array([[0.0], [1.0], [2.0]])

# Every continuous column on a bounded domain, with its ends and bandwidths from far below to
# far above its size.
BOUNDED = {
    "reflection": (Bounded(-1, 3), -1.0, 3.0, (0.02, 0.3, 1.5, 1.53, 4.0, 100.0)),
    "transform": (Bounded(-1, 3, by="transform"), -1.0, 3.0, (0.1, 0.3, 1.0)),
    "periodic": (Periodic(4), -1.0, 3.0, (0.02, 0.3, 0.75, 0.77, 4.0, 100.0)),
}


@pytest.mark.parametrize("name", BOUNDED)
def test_integrates_to_one_over_the_domain(x64, name):
    """For every bandwidth; in the logit of the place, where each integrand is smooth."""
    kind, lower, upper, bandwidths = BOUNDED[name]
    points = np.array([[-0.999], [-0.5], [1.2], [2.9999]])
    logit = np.linspace(-60, 60, 60_001)
    x = lower + (upper - lower) / (1 + np.exp(-logit))
    slope = (upper - lower) * np.exp(-np.logaddexp(0, logit) - np.logaddexp(0, -logit))
    for h in bandwidths:
        fitted = ProductKDE([kind], bandwidth=[h]).fit(points)
        values = np.exp(fitted.log_density(x[:, None])) * slope
        assert abs(np.trapezoid(values, logit) - 1) < 1e-8


@pytest.mark.parametrize("kind", [Bounded(lower=2), Bounded(upper=2)])
@pytest.mark.parametrize("by", ["reflection", "transform"])
def test_one_bound_integrates_to_one(x64, kind, by):
    kind = Bounded(kind.lower, kind.upper, by=by)
    sign = 1 if kind.lower == 2 else -1
    points = 2 + sign * np.array([[0.05], [1.0], [3.0]])
    t = np.linspace(-40, 12, 40_001)
    x = 2 + sign * np.exp(t)
    values = ProductKDE([kind], bandwidth=[0.7]).fit(points).log_density(x[:, None])
    assert abs(np.trapezoid(np.exp(values + t), t) - 1) < 1e-8
    assert (
        ProductKDE([kind], bandwidth=[0.7]).fit(points).log_density(np.array([2.0 - sign]))
        == -jnp.inf
    )


def test_kernels_equal_sums_over_images(x64):
    """A wrapped normal is the sum over 400 periods, a reflected one over 400 mirrors."""
    turns = np.arange(-200, 201)[:, None]
    x = np.linspace(0, 2, 41)
    for h in (0.05, 0.3, 0.379, 0.381, 0.75, 0.761, 5.0):
        images = stats.norm(0.4, h).pdf(x + 2 * turns).sum(0)
        got = (
            ProductKDE([Periodic(2)], bandwidth=[h]).fit(np.array([[0.4]])).log_density(x[:, None])
        )
        np.testing.assert_allclose(np.exp(got), images, rtol=1e-11)
        images = (
            stats.norm(0.4, h).pdf(x + 4 * turns) + stats.norm(-0.4, h).pdf(x + 4 * turns)
        ).sum(0)
        got = (
            ProductKDE([Bounded(0, 2)], bandwidth=[h])
            .fit(np.array([[0.4]]))
            .log_density(x[:, None])
        )
        np.testing.assert_allclose(np.exp(got), images, rtol=1e-11)
    far = (
        ProductKDE([Periodic(2)], bandwidth=[0.01])
        .fit(np.zeros((1, 1)))
        .log_density(np.array([[0.9]]))
    )
    np.testing.assert_allclose(far, stats.norm(0, 0.01).logpdf(0.9), rtol=1e-12)


def test_categorical_by_hand(x64):
    """Three levels seen 2, 1 and 0 times, lambda = 0.3: own level 0.7, each other 0.15."""
    fitted = ProductKDE([Categorical(3)], bandwidth=[0.3]).fit(CODES[[0, 0, 1]])
    got = np.exp(fitted.log_density(CODES))
    by_hand = [(0.7 + 0.7 + 0.15) / 3, (0.15 + 0.15 + 0.7) / 3, 0.15]
    np.testing.assert_allclose(got, by_hand, rtol=1e-14)
    none = ProductKDE([Categorical(3)], bandwidth=[0.0]).fit(CODES[[0, 0, 1]])
    np.testing.assert_allclose(np.exp(none.log_density(CODES)), [2 / 3, 1 / 3, 0])
    flat = ProductKDE([Categorical(3)], bandwidth=[2 / 3]).fit(CODES[[0, 0, 1]])
    np.testing.assert_allclose(np.exp(flat.log_density(CODES)), 1 / 3)


def test_ordered_by_hand(x64):
    """Ratio 1/2 from level 0 of 3: 1, 1/2, 1/4 over 7/4; and the limits 0 and 1."""
    for ratio, expected in ((0.5, [4 / 7, 2 / 7, 1 / 7]), (0.0, [1, 0, 0]), (1.0, [1 / 3] * 3)):
        fitted = ProductKDE([Ordered(3)], bandwidth=[ratio]).fit(np.zeros((1, 1)))
        np.testing.assert_allclose(np.exp(fitted.log_density(CODES)), expected, rtol=1e-14)


@pytest.mark.thorough
@pytest.mark.parametrize("by", ["reflection", "transform"])
def test_no_mass_is_lost_at_a_bound(by):
    """Half-normal truth (n = 4000): plain kernels lose half of the density at zero."""
    draws = np.abs(np.random.default_rng(6).normal(size=(4000, 1))).astype(np.float32)
    law = stats.halfnorm()
    x = np.linspace(0, 3, 151, dtype=np.float32)[:, None]
    error = {}
    for name, kind in (("plain", Real()), ("bounded", Bounded(lower=0, by=by))):
        values = np.exp(ProductKDE([kind]).fit(draws).log_density(x))
        error[name] = np.abs(values - law.pdf(x[:, 0])).sum() * 0.02
        if name == "plain":
            assert values[0] < 0.6 * law.pdf(0)
        elif by == "reflection":
            assert abs(values[0] / law.pdf(0) - 1) < 0.1
    # Reflection suits a slope of zero; the logarithm must stretch the bound to infinity.
    assert error["bounded"] < (0.5 if by == "reflection" else 1.0) * error["plain"]


def test_a_turn_does_not_matter(x64):
    """Rotating an angle by anything, or single values by whole turns, changes nothing."""
    generator = np.random.default_rng(7)
    angle = generator.vonmises(3.0, 2.0, size=(300, 1))  # piles up across the cut at pi
    x = np.linspace(-4, 4, 30)[:, None]
    spec = ProductKDE([Periodic(2 * math.pi)])
    plain = spec.fit(angle).log_density(x)
    turned = spec.fit(angle + 1.234).log_density(x + 1.234)
    np.testing.assert_allclose(turned, plain, atol=1e-8)
    turns = 2 * math.pi * generator.integers(-3, 4, size=(300, 1))
    np.testing.assert_allclose(spec.fit(angle + turns).log_density(x), plain, atol=1e-8)
    np.testing.assert_allclose(
        spec.fit(angle).log_density(x + 2 * math.pi), plain, rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("spread", [1e-3, 0.1, 2.0, 100.0])
def test_the_rule_measures_an_angle_by_its_mean_vector(x64, dtype, spread):
    """Hours about midnight, from seconds to all round the clock."""
    hours = (spread * np.random.default_rng(8).normal(size=(300, 1))).astype(dtype)
    weights = np.random.default_rng(9).uniform(size=300)
    weights /= weights.sum()
    angle = hours[:, 0].astype(np.longdouble) * np.pi / 12  # one less the length loses digits
    length = np.hypot(weights @ np.cos(angle), weights @ np.sin(angle))
    expected = min(float(np.sqrt(-2 * np.log(length))) * 12 / np.pi, 24 / np.sqrt(12))
    fitted = ProductKDE([Periodic(24)], bandwidth="scott").fit(hours, weights.astype(dtype))
    got = fitted.bandwidth * fitted.info.effective_sample_size**0.2
    np.testing.assert_allclose(got, [expected], rtol=1e-3 if dtype == np.float32 else 1e-9)
    # At noon a float32 clock ticks in microhours.
    at_noon = ProductKDE([Periodic(24)], bandwidth="scott").fit(hours + 12, weights.astype(dtype))
    np.testing.assert_allclose(at_noon.bandwidth, fitted.bandwidth, rtol=2e-3)
