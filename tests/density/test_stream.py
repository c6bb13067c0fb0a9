"""Updates against a fit to all rows at once."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from estimators import density
from estimators.testing import refuses


def rows(n, seed=0, dtype=jnp.float32):
    return jax.random.normal(jax.random.key(seed), (n, 2), dtype)


def test_update_equals_a_fit_to_all(x64):
    points, x = rows(300, dtype=jnp.float64), rows(20, 1, jnp.float64)
    matrix = jnp.asarray([[0.3, 0.1], [0.1, 0.2]])
    grown = density.update(density.KDE(matrix).fit(points[:100]), points[100:250])
    grown = density.update(grown, points[250:])
    at_once = density.KDE(matrix).fit(points)
    np.testing.assert_allclose(grown.log_density(x), at_once.log_density(x), rtol=0, atol=1e-12)
    np.testing.assert_allclose(grown.score(x), at_once.score(x), rtol=0, atol=1e-11)
    np.testing.assert_allclose(grown.info.effective_sample_size, 300)


def test_update_with_weights(x64):
    points, x = rows(300, dtype=jnp.float64), rows(20, 1, jnp.float64)
    weights = jax.random.uniform(jax.random.key(2), (300,))
    start = density.KDE(0.3).fit(points[:100], weights[:100])
    grown = density.update(start, points[100:], weights[100:], total_weight=weights[:100].sum())
    at_once = density.KDE(0.3).fit(points, weights)
    np.testing.assert_allclose(grown.log_density(x), at_once.log_density(x), rtol=0, atol=1e-12)


def test_stream_keeps_the_latest(x64):
    points, x = rows(300, dtype=jnp.float64), rows(20, 1, jnp.float64)
    latest = density.stream(density.KDE(0.3).fit(points[:40]), capacity=100)
    for start, stop in ((40, 80), (80, 81), (81, 180), (180, 280), (280, 300)):
        latest = latest.update(points[start:stop])
        at_once = density.KDE(0.3).fit(points[max(0, stop - 100) : stop])
        np.testing.assert_allclose(
            latest.fitted.log_density(x), at_once.log_density(x), rtol=0, atol=1e-11
        )


@pytest.mark.parametrize("how", ["update", "stream"])
def test_copies_that_come_later_are_known(how):
    """Whitened in another program they may differ in the last bit."""
    points = jax.random.normal(jax.random.key(0), (300, 5))
    fitted = density.KDE("scott").fit(points)
    at_once = density.KDE(fitted.bandwidth).fit(jnp.concatenate([points, points[:40]]))
    if how == "update":
        grown = density.update(fitted, points[:40])
    else:
        grown = density.stream(fitted, capacity=340).update(points[:40]).fitted
    np.testing.assert_array_equal(grown.labels, at_once.labels)
    np.testing.assert_allclose(
        grown.leave_one_out_log_density(), at_once.leave_one_out_log_density(), atol=1e-3
    )
    x = jnp.zeros((1, 5))
    np.testing.assert_allclose(
        density.regime(grown, x).participation_ratio,
        density.regime(at_once, x).participation_ratio,
        rtol=1e-3,
    )


def test_half_life(x64):
    points, x = rows(90, dtype=jnp.float64), rows(20, 1, jnp.float64)
    fading = density.stream(density.KDE(0.3).fit(points[:30]), capacity=60, half_life=25.0)
    fading = fading.update(points[30:70]).update(points[70:])
    # The rows of the fit are of one age: they have all come at once.
    age = np.concatenate([np.full(30, 60.0), np.arange(59, -1, -1)])
    expected = density.KDE(0.3).fit(points[30:], 0.5 ** (age[30:] / 25))
    np.testing.assert_allclose(
        fading.fitted.log_density(x), expected.log_density(x), rtol=0, atol=1e-11
    )


def test_a_stream_compiles_once():
    @jax.jit
    @chex.assert_max_traces(n=1)
    def step(latest, new, x):
        latest = latest.update(new)
        return latest, latest.fitted.log_density(x)

    points, x = rows(100), rows(3, 1)
    latest = density.stream(density.KDE("scott").fit(points[:20]), capacity=50)
    for start in range(20, 100, 10):
        latest, value = step(latest, points[start : start + 10], x)
    assert bool(jnp.isfinite(value).all())
    scanned, _ = jax.lax.scan(
        lambda state, new: (state.update(new), None), latest, points.reshape(10, 10, 2)
    )
    np.testing.assert_allclose(scanned.points, latest.points[jnp.arange(50)], atol=3)


def test_streams_can_be_mapped():
    points, x = rows(60).reshape(2, 30, 2), rows(3, 1)

    def run(points):
        start = density.stream(density.KDE(0.5).fit(points[:10]), capacity=20)
        return start.update(points[10:]).fitted.log_density(x)

    both = jax.vmap(run)(points)
    np.testing.assert_allclose(both[1], run(points[1]), rtol=1e-5)


def test_refusals():
    fitted = density.KDE(0.5).fit(rows(50))
    with pytest.raises(ValueError, match="points must have 2 columns"):
        density.update(fitted, jnp.zeros((3, 4)))
    with pytest.raises(ValueError, match="total_weight"):
        density.update(fitted, rows(3), total_weight=0.0)
    with refuses("total_weight must be a single number"):
        density.update(fitted, rows(3), total_weight=jnp.ones(2))
    with refuses("half_life must be a single number"):
        density.stream(fitted, capacity=50, half_life=jnp.ones(2))
    with pytest.raises(ValueError, match="capacity"):
        density.stream(fitted, capacity=49)
    with pytest.raises(ValueError, match="half_life"):
        density.stream(fitted, capacity=50, half_life=0.0)
    with pytest.raises(ValueError, match="at most 50 rows"):
        density.stream(fitted, capacity=50).update(rows(51))
    with pytest.raises(ValueError, match="finite"):
        density.stream(fitted, capacity=50).update(jnp.full((1, 2), jnp.nan))
    adaptive = density.KDE("scott", widths="abramson").fit(rows(50))
    with pytest.raises(ValueError, match="fit them anew"):
        density.update(adaptive, rows(3))


def test_a_bad_row_poisons_the_stream_until_it_is_replaced():
    latest = density.stream(density.KDE(0.5).fit(rows(4)), capacity=4)
    push = jax.jit(lambda latest, new: latest.update(new))
    bad = push(latest, jnp.full((2, 2), jnp.nan))
    assert bool(jnp.isnan(bad.fitted.log_density(jnp.zeros(2))))
    healed = push(push(bad, rows(2, 1)), rows(2, 2))
    assert bool(jnp.isfinite(healed.fitted.log_density(jnp.zeros(2))))
