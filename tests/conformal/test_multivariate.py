"""Regions for outcomes of several columns: closed forms, enumeration, brute force."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis
from scipy.stats import norm

from estimators import conformal, io
from estimators.conformal._multivariate._balls import balls_within, union_volume
from estimators.conformal._multivariate._box_thresholds import copula_thresholds
from estimators.conformal._multivariate._decoded import base_points
from estimators.conformal._multivariate._directions import HalfSpaces
from estimators.conformal._multivariate._network import random_network
from estimators.testing import refuses

KEY = jax.random.key(0)
BOXES = ("scaled", "bonferroni", "copula")
MIX = jnp.array([[2.0, 0.0, 0.0], [1.0, 1.0, 0.0], [-3.0, 0.5, 4.0]])


def rows(key, n, k=3, dtype=jnp.float32):
    """Predictions and outcomes whose errors are correlated."""
    predictions, errors = jax.random.normal(key, (2, n, k), dtype)
    return predictions, predictions + errors @ MIX[:k, :k].astype(dtype)


def ranked(values, coverage):
    return np.sort(values)[conformal.conformal_rank(len(values), coverage) - 1]


def test_ellipsoid_is_the_conformal_quantile_of_the_mahalanobis_norm(x64):
    predictions, y = map(np.asarray, rows(KEY, 40, dtype=jnp.float64))
    covariance = np.cov(np.random.default_rng(0).normal(size=(30, 3)).T)
    inverse = np.linalg.inv(covariance)
    norms = [mahalanobis(a, b, inverse) for a, b in zip(y, predictions, strict=True)]
    calibrated = conformal.ConformalEllipsoid(0.8).calibrate(predictions, y, covariance)
    np.testing.assert_allclose(calibrated.threshold, ranked(norms, 0.8), rtol=1e-12)
    # The threshold is one of the norms, which rounding may put on either side of itself.
    inside = np.asarray(calibrated.contains(predictions, y))
    assert abs(inside.sum() - conformal.conformal_rank(40, 0.8)) <= 1
    radius = float(calibrated.threshold)
    volume = 4 / 3 * math.pi * radius**3 * math.sqrt(np.linalg.det(covariance))
    np.testing.assert_allclose(calibrated.volume(predictions), np.full(40, volume), rtol=1e-12)


def test_ellipsoid_in_two_columns_is_a_disc(x64):
    y = jnp.zeros((19, 2)).at[:, 0].set(6.0)
    found = conformal.ConformalEllipsoid(0.9).calibrate(0 * y, y, 4.0 * jnp.eye(2))
    np.testing.assert_allclose(found.volume(y[0]), math.pi * 6.0**2, rtol=1e-12)


def test_ellipsoids_follow_a_linear_map_of_the_outcomes(x64):
    predictions, y = rows(KEY, 60, dtype=jnp.float64)
    spec, matrix = conformal.ConformalEllipsoid(0.7), MIX.astype(jnp.float64)
    plain = spec.calibrate(predictions, y)
    moved = spec.calibrate(predictions @ matrix, y @ matrix)
    new = rows(jax.random.key(1), 200, dtype=jnp.float64)
    inside = plain.contains(*new)
    np.testing.assert_array_equal(inside, moved.contains(*(a @ matrix for a in new)))
    assert 0.3 < inside.mean() < 0.99
    ratio = moved.volume(new[0]) / plain.volume(new[0])
    np.testing.assert_allclose(ratio, abs(np.linalg.det(matrix)), rtol=1e-9)


def test_a_covariance_of_the_first_half_is_that_of_numpy(x64):
    predictions, y = map(np.asarray, rows(KEY, 41, dtype=jnp.float64))
    spec = conformal.ConformalEllipsoid(0.8)
    found = spec.calibrate(predictions, y)
    expected = spec.calibrate(predictions[20:], y[20:], np.cov((y - predictions)[:20].T))
    np.testing.assert_allclose(found.threshold, expected.threshold, rtol=1e-10)
    assert found.calibration == 21
    assert found.volume(predictions).dtype == jnp.float64


def test_covariances_of_rows(x64):
    predictions, y = rows(KEY, 30, 2, jnp.float64)
    spec, one = conformal.ConformalEllipsoid(0.8), jnp.array([[2.0, 0.5], [0.5, 1.0]])
    shared = spec.calibrate(predictions, y, one)
    sizes = jnp.linspace(0.5, 2.0, 30)
    local = spec.calibrate(predictions, y, one[None] * sizes[:, None, None] ** 2)
    errors = np.linalg.solve(np.linalg.cholesky(one), (y - predictions).T)
    expected = ranked(np.linalg.norm(errors, axis=0) / sizes, 0.8)
    np.testing.assert_allclose(local.threshold, expected, rtol=1e-12)
    same = spec.calibrate(predictions, y, jnp.broadcast_to(one, (30, 2, 2)))
    np.testing.assert_allclose(same.threshold, shared.threshold, rtol=1e-12)
    # A batch of any shape, each row with a size of its own.
    batch = [
        a.reshape(5, 6, *a.shape[1:]) for a in (predictions, y, one[None] * jnp.ones((30, 1, 1)))
    ]
    np.testing.assert_array_equal(
        same.contains(*batch).reshape(-1), shared.contains(predictions, y)
    )
    np.testing.assert_allclose(
        same.volume(batch[0], 9 * batch[2]), 9 * shared.volume(batch[0]), rtol=1e-12
    )


def test_boxes_equal_numpy(x64):
    predictions, y = map(np.asarray, rows(KEY, 59, dtype=jnp.float64))
    scale = np.array([1.0, 3.0, 0.5])
    errors = np.abs(y - predictions) / scale
    scaled, bonferroni, copula = (
        conformal.ConformalBox(0.8, method=method).calibrate(predictions, y, scale)
        for method in BOXES
    )
    np.testing.assert_array_equal(scaled.thresholds, np.full(3, ranked(errors.max(1), 0.8)))
    # 1 - .2 / 3 = 14/15 of 60 ranks: the 56th.
    np.testing.assert_array_equal(bonferroni.thresholds, np.sort(errors, 0)[55])
    ranks = errors.argsort(0).argsort(0).max(1) + 1
    level = int(np.sort(ranks)[47])  # the 48th of 60
    np.testing.assert_array_equal(copula.thresholds, np.sort(errors, 0)[level])
    lower, upper = copula.bounds(predictions)
    np.testing.assert_allclose(upper - predictions, predictions - lower, rtol=1e-12)
    np.testing.assert_allclose(upper - predictions, np.tile(copula.thresholds * scale, (59, 1)))
    np.testing.assert_allclose(copula.volume(predictions), np.prod(upper - lower, 1))


def test_the_copula_box_covers_in_every_order_of_the_rows():
    """Of n + 1 rows, each left out once, at least ceil((n + 1) coverage) are covered: for all
    720 orders of the second column beside the first, with ties, and at every rank. One rank
    lower, as without the correction, fails."""
    n = 5
    orders = np.array(list(itertools.permutations(range(n + 1))), np.float32)
    column = np.broadcast_to(np.arange(n + 1, dtype=np.float32), orders.shape)
    everything = np.stack([column, orders], -1)
    others = np.array([[j for j in range(n + 1) if j != i] for i in range(n + 1)])
    for table in (everything, everything // 2):  # without ties, and in pairs
        left_out, kept = table, table[:, others]
        for rank in range(1, n + 1):
            coverage = rank / (n + 1)
            box = jax.vmap(jax.vmap(lambda e, c=coverage: copula_thresholds(e, c)))(kept)
            covered = (left_out <= np.asarray(box)).all(-1).sum(1)
            assert covered.min() >= rank
    # Uncorrected, from the same ranks: the order statistic of the level itself.
    level = np.sort(everything[:, others].argsort(2).argsort(2).max(-1), -1)[..., 3]
    ordered = np.sort(everything[:, others], 2)
    plain = np.take_along_axis(ordered, level[..., None, None], 2)[:, :, 0]
    assert (everything <= plain).all(-1).sum(1).min() < 4


def test_one_column_is_split_conformal(x64):
    predictions, y = rows(KEY, 30, 1, jnp.float64)
    interval = conformal.SplitRegression(0.8).calibrate(predictions[:, 0], y[:, 0])
    expected = np.stack(interval.interval(predictions[:, 0]), 0)
    for method in ("scaled", "bonferroni"):
        spec = conformal.ConformalBox(0.8, method=method)
        found = spec.calibrate(predictions, y, jnp.ones(1)).bounds(predictions)
        np.testing.assert_array_equal(np.stack(found, 0)[..., 0], expected)
    found = conformal.ConformalEllipsoid(0.8).calibrate(predictions, y, jnp.eye(1))
    np.testing.assert_allclose(found.volume(predictions), expected[1] - expected[0], rtol=1e-12)


def test_scales_of_rows_and_of_the_first_half(x64):
    predictions, y = rows(KEY, 40, 2, jnp.float64)
    half = jnp.std((y - predictions)[:20], 0)
    spec = conformal.ConformalBox(0.8)
    found = spec.calibrate(predictions, y)
    np.testing.assert_allclose(found.scale, half)
    given = spec.calibrate(predictions[20:], y[20:], half)
    np.testing.assert_array_equal(found.thresholds, given.thresholds)
    for method in BOXES:
        spec = conformal.ConformalBox(0.8, method=method)
        scale = jnp.exp(predictions)
        local = spec.calibrate(predictions, y, scale)
        unit = spec.calibrate(0 * y, (y - predictions) / scale, jnp.ones(2))
        np.testing.assert_allclose(local.thresholds, unit.thresholds, rtol=1e-12)
        np.testing.assert_allclose(
            local.volume(predictions, scale), unit.volume(0 * y) * jnp.prod(scale, 1), rtol=1e-9
        )


def test_too_few_rows_give_the_whole_space_and_say_why():
    predictions, y = rows(KEY, 8, 2)
    found = conformal.ConformalEllipsoid(0.9).calibrate(predictions, y, jnp.eye(2))
    assert found.reason is not None
    assert "at least 9" in found.reason
    assert found.contains(predictions, y + 1e30).all()
    assert np.isinf(found.volume(predictions)).all()
    for method, message in zip(
        BOXES, ("at least 9", "at least 19", "largest error of a column"), strict=True
    ):
        rows_of = rows(KEY, 8 if method == "scaled" else 12, 2)
        found = conformal.ConformalBox(0.9, method=method).calibrate(*rows_of, jnp.ones(2))
        assert message in str(found.reason)
        assert np.isinf(found.volume(predictions)).all()
        assert found.contains(predictions, y + 1e30).all()
    assert conformal.ConformalBox(0.5).calibrate(predictions, y, jnp.ones(2)).reason is None


def test_guarantees_of_boxes():
    predictions, y = rows(KEY, 99, 2)
    least = {
        method: conformal.ConformalBox(0.85, method=method).calibrate(predictions, y, jnp.ones(2))
        for method in BOXES
    }
    found = {method: box.guarantee for method, box in least.items()}
    assert (found["scaled"].kind, found["scaled"].at_least) == ("exact", 0.85)
    # 92.5 % of 100 ranks is the 93rd: each column misses 7 %.
    assert found["bonferroni"].at_least == pytest.approx(0.86)
    assert (found["copula"].kind, found["copula"].at_least) == ("at least", pytest.approx(0.85))


def test_ellipsoids_and_boxes_compile_and_keep_the_dtype(x64):
    """In float32 here; elsewhere in float64."""
    predictions, y = rows(KEY, 30, 2, jnp.float32)

    def run(predictions, y):
        ellipsoid = conformal.ConformalEllipsoid(0.8).calibrate(predictions, y)
        boxes = [
            conformal.ConformalBox(0.8, method=method).calibrate(predictions, y) for method in BOXES
        ]
        found = [region.volume(predictions) for region in (ellipsoid, *boxes)]
        inside = [region.contains(predictions, y) for region in (ellipsoid, *boxes)]
        return jnp.stack(found), jnp.stack(inside)

    compiled = jax.jit(run)
    volumes, inside = compiled(predictions, y)
    assert volumes.dtype == jnp.float32
    many = jax.jit(jax.vmap(run))(predictions[None], y[None])
    np.testing.assert_allclose(many[0][0], volumes, rtol=1e-4)
    assert (np.asarray(many[1][0]) != np.asarray(inside)).mean() < 0.02
    volumes, inside = compiled(predictions.at[25, 0].set(jnp.nan), y)
    assert np.isnan(volumes).all()
    assert not inside.any()


def test_refusals():
    predictions, y = rows(KEY, 30, 2)
    ellipsoid, box = conformal.ConformalEllipsoid(0.8), conformal.ConformalBox(0.8)
    with refuses("coverage must lie"):
        conformal.ConformalEllipsoid(1.0)
    with refuses("method must be one of"):
        conformal.ConformalBox(method="hull")
    for spec in (ellipsoid, box):
        with refuses(r"predictions must have shape \(n, d\)"):
            spec.calibrate(predictions[:, 0], y[:, 0])
        with refuses(r"y must have the shape \(30, 2\) of predictions"):
            spec.calibrate(predictions, y[:20])
        with refuses("y must be finite"):
            spec.calibrate(predictions, y.at[3, 1].set(jnp.nan))
        with refuses("must be given with so few rows"):
            spec.calibrate(predictions[:3], y[:3])
        with refuses(r"predictions must have shape \(\*batch, 2\)"):
            spec.calibrate(predictions, y).contains(jnp.zeros(3), jnp.zeros(3))
    with refuses("symmetric and positive definite"):
        ellipsoid.calibrate(predictions, y, jnp.ones((2, 2)))
    with refuses("symmetric and positive definite"):
        ellipsoid.calibrate(predictions, y, jnp.array([[1.0, 0.5], [0.2, 1.0]]))
    with refuses("row 4 is not"):
        ellipsoid.calibrate(predictions, y, jnp.tile(jnp.eye(2), (30, 1, 1)).at[4].set(0.0))
    with refuses(r"covariance must have shape \(2, 2\), or \(30, 2, 2\)"):
        ellipsoid.calibrate(predictions, y, jnp.eye(3))
    with refuses("covariance is not used"):
        ellipsoid.calibrate(predictions, y).volume(predictions, jnp.eye(2))
    with refuses("covariance is missing"):
        ellipsoid.calibrate(predictions, y, jnp.tile(jnp.eye(2), (30, 1, 1))).volume(predictions)
    with refuses("scale must be finite and positive"):
        box.calibrate(predictions, y, jnp.array([1.0, 0.0]))
    with refuses(r"scale must have shape \(30, 2\)"):
        box.calibrate(predictions, y, jnp.ones((30, 1)))
    with refuses("scale is missing"):
        box.calibrate(predictions, y, jnp.ones((30, 2))).bounds(predictions)
    with refuses("scale is not used"):
        box.calibrate(predictions, y).bounds(predictions, jnp.ones((30, 2)))


def test_ellipsoids_and_boxes_are_saved(tmp_path):
    predictions, y = rows(KEY, 30, 2)
    for spec in (conformal.ConformalEllipsoid(0.8), conformal.ConformalBox(0.8, method="copula")):
        found = spec.calibrate(predictions, y)
        io.save(tmp_path / "one.safetensors", found)
        loaded = io.load(tmp_path / "one.safetensors")
        np.testing.assert_array_equal(loaded.volume(y), found.volume(y))


def test_volumes_of_unions_of_discs():
    """One disc, two that are apart, two that overlap, the same twice, one that is empty; four
    standard errors, so one of the five fails by chance with probability .0003."""
    apart = jnp.array([[0.0, 0.0], [3.0, 0.0], [1.0, 0.0], [0.0, 0.0], [9.0, 0.0]])
    radii = jnp.array([-1.0, 1.0, 1.0, 1.0, -1.0])
    centres = jnp.stack([jnp.zeros((5, 2)), apart], 1)
    unit = jnp.array([2.0, 0.5])
    both = conformal.BallUnion(centres * unit[None, None], jnp.stack([jnp.ones(5), radii], 1), unit)
    volume, error = union_volume(both, KEY, draws=20_000)
    lens = 2 * math.acos(0.5) - 0.5 * math.sqrt(3)
    disc = math.pi
    expected = np.array([disc, 2 * disc, 2 * disc - lens, disc, disc])
    assert (np.abs(volume - expected) < 4 * error).all()
    assert (error < 0.02 * expected).all()


def test_volumes_of_no_balls_and_of_all_space():
    centres, energies = jnp.zeros((3, 2, 2)), jnp.array([1.0, 4.0])
    for threshold, expected in ((0.5, 0.0), (jnp.inf, jnp.inf), (jnp.nan, jnp.nan)):
        region = balls_within(centres, energies, jnp.asarray(threshold), jnp.ones(2))
        volume, error = union_volume(region, KEY, draws=16)
        np.testing.assert_array_equal(volume, np.full(3, expected))
        np.testing.assert_array_equal(np.isnan(error), np.isnan(volume))
    region = balls_within(centres, energies, jnp.asarray(1.5), jnp.ones(2))
    np.testing.assert_allclose(region.radii[0], [math.sqrt(1.25), -1])


def test_rays_end_on_the_edge_of_the_half_spaces():
    """At the end of each ray one half-space is tight, and none is left."""
    directions, fractions = base_points(24, 40, 3, jnp.float32, KEY)
    np.testing.assert_allclose(jnp.linalg.norm(directions, axis=1), 1, rtol=1e-5)
    network = random_network(2, 3, 1, width=8, depth=2, dtype=jnp.float32, key=KEY)
    bent = jax.tree.map(lambda w: w + 0.3, network)
    x = jax.random.normal(KEY, (5, 2))
    for half_spaces in (HalfSpaces(network, 1.5), HalfSpaces(bent, 1.5)):
        reach = half_spaces.reach(x, directions)
        each = jnp.broadcast_to(directions[None], (5, 24, 3))
        quantiles = half_spaces.quantiles(x, each)
        ends = reach[..., None] * directions[None]
        slack = jnp.einsum("mqr,ur->mqu", ends, directions) - quantiles[:, None]
        np.testing.assert_allclose(jnp.min(slack, 2), 0, atol=1e-4)
    # Untrained, the quantiles are those of a normal law.
    np.testing.assert_allclose(HalfSpaces(network, 1.5).quantiles(x, each), -1.5, rtol=1e-6)
    # They are uniform in the volume, up to 1.5 times the region.
    np.testing.assert_allclose(
        jnp.sort(fractions) ** 3 / 1.5**3, (np.arange(40) + 0.5) / 40, rtol=1e-4
    )


def curve(key, n, dtype=jnp.float32):
    """Outcomes along a parabola that x moves."""
    x, free = jax.random.normal(key, (2, n, 2), jnp.float32).astype(dtype)
    return x, jnp.stack([free[:, 0], free[:, 0] ** 2 + x[:, 0] + 0.1 * free[:, 1]], 1)


SMALL = conformal.DirectionalQuantiles(
    0.8, width=8, depth=1, steps=60, batch_size=32, directions=8, points=24
)


@pytest.fixture(scope="module")
def fitted():
    return SMALL.fit(*curve(KEY, 200), key=jax.random.key(1))


def test_scores_are_least_distances_to_decoded_points(fitted):
    """70 rows are two blocks."""
    x, y = curve(jax.random.key(2), 70)
    calibrated = fitted.calibrate(x, y)
    region = jax.tree.map(np.asarray, calibrated.region(x))
    energies = np.asarray(fitted.decoded.energies)
    gap = (np.asarray(y)[:, None] - region.centres) / region.unit
    expected = np.sqrt(((gap**2).sum(-1) + energies).min(1))
    np.testing.assert_allclose(fitted.scores(x, y), expected, rtol=2e-5)
    np.testing.assert_allclose(calibrated.threshold, ranked(expected, 0.8), rtol=2e-5)
    # What is in a ball is what the score lets in.
    new_x, new_y = curve(jax.random.key(3), 70)
    region = jax.tree.map(np.asarray, calibrated.region(new_x))
    gap = (np.asarray(new_y)[:, None] - region.centres) / region.unit
    held = (((gap**2).sum(-1) <= region.radii**2) & (region.radii >= 0)).any(1)
    np.testing.assert_array_equal(held, calibrated.contains(new_x, new_y))
    assert 0.5 < held.mean() < 1


def test_directional_regions_compile_map_and_are_saved(fitted, tmp_path):
    x, y = curve(jax.random.key(2), 70)
    calibrated = fitted.calibrate(x, y)
    inside = calibrated.contains(x, y)
    io.save(tmp_path / "one.safetensors", calibrated)
    loaded = io.load(tmp_path / "one.safetensors")
    np.testing.assert_array_equal(loaded.contains(x, y), inside)
    compiled = jax.jit(type(calibrated).contains)(calibrated, x, y)
    assert (compiled != inside).mean() < 0.03
    assert (jax.vmap(calibrated.contains)(x, y) != inside).mean() < 0.03
    grid = calibrated.contains(x.reshape(7, 10, 2), y.reshape(7, 10, 2))
    np.testing.assert_array_equal(grid.reshape(-1), inside)
    volume, error = calibrated.volume(x[:4].reshape(2, 2, 2), key=KEY, draws=256)
    assert volume.shape == error.shape == (2, 2)
    again, _ = calibrated.volume(x[:4], key=KEY, draws=256)
    np.testing.assert_array_equal(volume.reshape(-1), again)
    many = jax.vmap(fitted.calibrate)(x.reshape(2, 35, 2), y.reshape(2, 35, 2))
    np.testing.assert_allclose(
        many.threshold[0], fitted.calibrate(x[:35], y[:35]).threshold, rtol=1e-5
    )


def test_directional_regions_refuse_and_give_all_space(fitted):
    x, y = curve(KEY, 30)
    calibrated = fitted.calibrate(x, y)
    few = fitted.calibrate(x[:3], y[:3])
    assert "at least 4" in str(few.reason)
    assert few.contains(x, y + 1e6).all()
    assert np.isinf(few.volume(x[:2], key=KEY, draws=16)[0]).all()
    broken = jax.jit(type(fitted).calibrate)(fitted, x.at[0, 0].set(jnp.nan), y)
    assert np.isnan(broken.threshold)
    assert not jax.jit(type(broken).contains)(broken, x, y).any()
    with refuses("y must have 30 rows"):
        fitted.calibrate(x, y[:20])
    with refuses("must be finite"):
        fitted.calibrate(x, y.at[0, 0].set(jnp.nan))
    with refuses("x must have 2 columns"):
        fitted.calibrate(x[:, :1], y)
    with refuses(r"y must have the batch \(30,\) of x"):
        calibrated.contains(x, y[:20])
    with refuses("key must be a new-style key"):
        calibrated.volume(x, key=0)
    with refuses("draws must be a whole number"):
        calibrated.volume(x, key=KEY, draws=0)
    with refuses("directions must be an even number"):
        conformal.DirectionalQuantiles(directions=7)
    with refuses("points must be a whole number"):
        conformal.DirectionalQuantiles(points=0)
    with refuses("representation must be a whole number"):
        conformal.DirectionalQuantiles(representation=0)
    with refuses("column 1 is constant"):
        SMALL.fit(x, y.at[:, 1].set(2.0), key=KEY)
    with refuses("validation x must have 2 columns"):
        SMALL.fit(x, y, key=KEY, validation=(x[:, :1], y))
    with refuses("y must have 30 rows"):
        SMALL.fit(x, y[:20], key=KEY)


def test_divergence_of_the_representation(fitted):
    """Against the integral of the two normal densities."""
    representation = fitted.decoded.representation
    features, y = jax.random.normal(KEY, (2, 3, 2))
    _, divergence = representation.encode(features, y, KEY)
    outputs = np.asarray(representation.encoder(features, y[:, None])[:, 0], float)
    grid = np.linspace(-12, 12, 4001)[:, None]
    mean, spread = outputs[:, :2], np.exp(outputs[:, 2:])
    expected = np.zeros(3)
    for column in range(2):
        log_q = norm.logpdf(grid, mean[:, column], spread[:, column])
        expected += np.trapezoid(np.exp(log_q) * (log_q - norm.logpdf(grid)), grid[:, 0], axis=0)
    np.testing.assert_allclose(divergence, expected, atol=1e-4)


@pytest.mark.thorough
def test_outcomes_are_standardised_inside():
    """In units 1024 times smaller the networks are the same to the last bit."""
    (x, y), validation = curve(KEY, 200), curve(jax.random.key(5), 50)
    one = SMALL.fit(x, y, key=jax.random.key(1), validation=validation)
    other = SMALL.fit(
        x, 1024 * y, key=jax.random.key(1), validation=(validation[0], 1024 * validation[1])
    )
    np.testing.assert_array_equal(one.scores(x, y), other.scores(x, 1024 * y))
    first = one.calibrate(x, y).volume(x[:3], key=KEY)[0]
    second = other.calibrate(x, 1024 * y).volume(x[:3], key=KEY)[0]
    np.testing.assert_allclose(1024.0**2 * first, second, rtol=1e-6)


@pytest.mark.thorough
def test_both_precisions_learn_the_same(x64):
    found = [
        SMALL.fit(*curve(KEY, 200, dtype), key=jax.random.key(1)).scores(*curve(KEY, 20, dtype))
        for dtype in (jnp.float32, jnp.float64)
    ]
    assert [a.dtype for a in found] == [jnp.float32, jnp.float64]
    np.testing.assert_allclose(*found, rtol=1e-2)


@pytest.mark.thorough
def test_curved_outcomes_have_smaller_regions_than_ellipsoids():
    """Outcomes lie along a parabola: the ellipsoid about the true mean is mostly empty."""
    spec = conformal.DirectionalQuantiles(0.9, width=32, depth=2, steps=2000)
    fitted = spec.fit(*curve(KEY, 2000), key=jax.random.key(1))
    x, y = curve(jax.random.key(2), 500)
    calibrated = fitted.calibrate(x, y)
    volume, _ = calibrated.volume(x[:50], key=KEY)
    mean = jnp.stack([0 * x[:, 0], 1 + x[:, 0]], 1)
    covariance = jnp.diag(jnp.array([1.0, 2.01]))  # Var z^2 = 2
    ellipsoid = conformal.ConformalEllipsoid(0.9).calibrate(mean, y, covariance)
    assert jnp.mean(volume) < 0.5 * ellipsoid.volume(mean[0])
