"""The regime at a point against theory and simulation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from estimators import density
from estimators.density._regime import CRITICAL_PARTICIPATION


def test_participation_equals_the_direct_sum(x64):
    points = jax.random.normal(jax.random.key(0), (500, 4))
    weights = jax.random.uniform(jax.random.key(1), (500,))
    queries = jax.random.normal(jax.random.key(2), (2, 5, 4))
    got = density.regime(density.KDE(0.6).fit(points, weights), queries)
    squares = jnp.sum((queries[..., None, :] - points[None, None]) ** 2, -1)
    kernel = weights[None, None] * jnp.exp(-0.5 * squares / 0.36)
    share = kernel / kernel.sum(-1, keepdims=True)
    np.testing.assert_allclose(got.participation_ratio, (share**2).sum(-1), rtol=1e-9)
    np.testing.assert_allclose(got.effective_points * got.participation_ratio, 1.0)
    assert got.label.shape == (2, 5)


# n = 1e5, d = 20: h_G at finite n and d is .666 (spec table). Predicted participation is
# 1 - m in the limit; the simulated column of that table is at finite n and d.
@pytest.mark.parametrize(
    ("ratio", "participation"), [(0.4, 0.834), (0.6, 0.643), (0.8, 0.411), (1.25, 0.052)]
)
def test_participation_and_index_follow_the_theory(ratio, participation):
    keys = jax.random.split(jax.random.key(7), 2)
    points = jax.random.normal(keys[0], (100_000, 20))
    queries = jax.random.normal(keys[1], (300, 20))
    got = density.regime(density.KDE(0.666 * ratio).fit(points), queries)
    # 300 queries, standard deviation of the ratio at most .25: 4 standard errors are .058
    # on the simulated figure, false alarm below 1e-4.
    assert abs(float(got.participation_ratio.mean()) - participation) < 0.058
    index = float(jnp.median(got.stable_index))
    assert abs(index / ratio**2 - 1) < 0.25
    expected = "condensed" if ratio < 1 else "heavy-tailed"
    values, counts = np.unique(got.label, return_counts=True)
    assert values[counts.argmax()] == expected


def test_labels_follow_the_index():
    points = jax.random.normal(jax.random.key(0), (2000, 3))
    queries = jnp.array([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [9.0, 9.0, 9.0]])
    got = density.regime(density.KDE("scott").fit(points), queries)
    assert list(got.label) == ["classical", "classical", "condensed"]
    assert (np.diff(got.stable_index) < 0).all()
    at_critical = density.KDE(0.4).fit(points)
    index = density.regime(at_critical, queries[:1]).stable_index[0]
    moved = density.regime(density.KDE(0.4 / jnp.sqrt(index)).fit(points), queries[:1])
    np.testing.assert_allclose(moved.participation_ratio, CRITICAL_PARTICIPATION, rtol=0.01)


def test_undefined_where_the_density_is(x64):
    def code(points):
        return density.regime(density.KDE("scott").fit(points), jnp.zeros((2, 2)))

    got = jax.jit(code)(jnp.full((10, 2), jnp.nan))
    assert list(got.label) == ["undefined", "undefined"]
    assert jnp.isnan(got.stable_index).all()
