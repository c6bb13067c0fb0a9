"""KDE("auto"): it must not lose to leave-one-out, and must say what it did.

It has no row in the contract: two data sets may get forms that are two programs.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from estimators import density, io


def clusters(generator, n, d):
    centres = np.random.default_rng(77).normal(size=(4, d)) * 2
    return centres[generator.integers(4, size=n)] + 0.5 * generator.normal(size=(n, d))


LAWS = {
    "normal": lambda g, n: g.normal(size=(n, 6)) @ np.linalg.cholesky(np.eye(6) + 0.8).T,
    "clusters": lambda g, n: clusters(g, n, 6),
    "heavy": lambda g, n: g.standard_t(3, size=(n, 6)),
}


SLOW = [pytest.param(law, marks=pytest.mark.validation) for law in ("normal", "heavy")]


CLUSTERS = pytest.param("clusters", marks=pytest.mark.thorough)


@pytest.mark.parametrize("law", [CLUSTERS, *SLOW])
def test_it_beats_every_rule_on_fresh_rows(law):
    """By the margin given, or at least not by more than four standard errors."""
    generator = np.random.default_rng(10)
    points = LAWS[law](generator, 600).astype(np.float32)
    fresh = LAWS[law](generator, 3000).astype(np.float32)
    fitted = density.KDE("auto").fit(points)
    chosen = np.asarray(fitted.log_density(fresh))
    margin = {"normal": 0.1, "clusters": 0.3, "heavy": 0.2}[law]
    for rule in ("loo", "scott", "silverman"):
        gap = chosen - np.asarray(density.KDE(rule).fit(points).log_density(fresh))
        assert gap.mean() > margin - 4 * gap.std() / 3000**0.5
    selection = fitted.info.selection
    index = int(selection.chosen)
    assert selection.held_out[index] == selection.held_out.max()
    # The record's own figure is held out too: it foresees the gain within its error.
    gap = chosen - np.asarray(density.KDE("loo").fit(points).log_density(fresh))
    error = np.hypot(selection.standard_error[index], gap.std() / 3000**0.5)
    assert abs(float(selection.gain[index]) - gap.mean()) < 5 * error
    assert str(selection).splitlines()[1].startswith("*")
    assert np.isfinite(fitted.sample(10, key=jax.random.key(0))).all()


@pytest.mark.thorough
def test_one_column_copies_weights_and_units(x64):
    generator = np.random.default_rng(11)
    points = np.concatenate([generator.normal(size=(150, 1)), generator.normal(size=(100, 1)) + 6])
    points[:40] = points[40:80]
    weights = generator.uniform(size=250)
    fitted = density.KDE("auto").fit(points, weights)
    grid = np.linspace(-12, 18, 6001)
    assert abs(np.trapezoid(np.exp(fitted.log_density(grid[:, None])), grid) - 1) < 1e-6
    scaled = density.KDE("auto").fit(points * 1e4 + 1e6, weights)
    # The hashes of the rows differ, and with them the folds: near ties may fall otherwise.
    gap = scaled.log_density(points * 1e4 + 1e6) + np.log(1e4) - fitted.log_density(points)
    assert abs(gap.mean()) < 0.05


@pytest.mark.thorough
def test_fewer_rows_than_columns_and_collinear_columns_are_no_obstacle():
    generator = np.random.default_rng(12)
    points = generator.normal(size=(30, 5)).astype(np.float32)
    points = np.concatenate([points, points @ generator.normal(size=(5, 30))], 1)
    points = points.astype(np.float32)
    fitted = density.KDE("auto").fit(points)
    assert np.isfinite(fitted.log_density(points[:3])).all()
    assert np.isneginf(fitted.info.selection.held_out[0])  # the full covariance is singular


@pytest.mark.thorough
def test_both_precisions_choose_the_same_and_files_keep_it(x64, tmp_path):
    points = LAWS["clusters"](np.random.default_rng(13), 200)[:, :1]
    double = density.KDE("auto").fit(points)
    single = density.KDE("auto").fit(points.astype(np.float32))
    assert int(single.info.selection.chosen) == int(double.info.selection.chosen)
    assert single.log_density(points[:3].astype(np.float32)).dtype == np.float32
    np.testing.assert_allclose(
        single.log_density(points.astype(np.float32)), double.log_density(points), atol=0.02
    )
    io.save(tmp_path / "fitted", double)
    loaded = io.load(tmp_path / "fitted")
    np.testing.assert_array_equal(loaded.log_density(points), double.log_density(points))
    assert str(loaded.info.selection) == str(double.info.selection)


@pytest.mark.thorough
def test_it_is_refused_inside_jit_and_the_fitted_density_is_not():
    points = jax.random.normal(jax.random.key(0), (40, 1))
    with pytest.raises(ValueError, match="outside jit"):
        jax.jit(lambda p: density.KDE("auto").fit(p).points)(points)
    fitted = density.KDE("auto").fit(points)
    inside = jax.jit(density.FittedKDE.log_density)(fitted, points)
    np.testing.assert_array_equal(inside, fitted.log_density(points))
    assert jax.vmap(jax.grad(lambda x: fitted.log_density(x)))(points).shape == (40, 1)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.ones((20, 2), np.float32), "column 0 is 1.0 in all rows"),
        (np.eye(5, dtype=np.float32), "at least 8 rows"),
        (np.full((20, 2), np.nan, np.float32), "points must be finite"),
    ],
)
def test_bad_input_is_refused(points, message):
    with pytest.raises(ValueError, match=message):
        density.KDE("auto").fit(jnp.asarray(points))
