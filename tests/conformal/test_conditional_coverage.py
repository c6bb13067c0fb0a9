"""Conditional guarantees: against linear programs, quadratic programs, the peer and groups."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from estimators import conformal, io
from estimators.conformal import ConditionalConformal
from estimators.testing import refuses

N, D, COVERAGE = 60, 4, 0.8
KERNEL = {"kernel_bandwidth": 0.5, "penalty": 2e-3}


@functools.cache
def data(seed=0, n=N, new=12):
    """Skewed scores that grow, features that overlap, and new rows further out."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, n + new)
    x[n::3] *= 8
    scores = rng.exponential(size=n + new) * np.abs(1.5 + x)
    features = np.stack([np.ones(n + new), x, x > 0.2, x < 0.5], 1)
    return scores[:n], features[:n], features[n:], x[:n, None], x[n:, None]


def own_dual(scores, features, row, score, kernel=None):
    """The dual variable of the new row where its score is given: one program with all rows."""
    rows, values = np.vstack([features, row]), np.append(scores, score)
    ends = [(COVERAGE - 1, COVERAGE)] * len(values)
    if kernel is None:
        found = optimize.linprog(-values, A_eq=rows.T, b_eq=np.zeros(D), bounds=ends)
        return found.x[-1]
    found = optimize.minimize(
        lambda eta: 0.5 * eta @ kernel @ eta - values @ eta,
        np.zeros(len(values)),
        jac=lambda eta: kernel @ eta - values,
        bounds=ends,
        constraints={"type": "eq", "fun": lambda eta: rows.T @ eta, "jac": lambda eta: rows.T},
        method="SLSQP",
        options={"maxiter": 1000, "ftol": 1e-14},
    )
    return found.x[-1]


def kernel_matrix(points, rows):
    return np.exp(-0.5 * ((points - points.T) / KERNEL["kernel_bandwidth"]) ** 2) / (
        2 * KERNEL["penalty"] * rows
    )


def test_the_peer_is_met_to_the_last_digits(x64, shared_data):
    """Three groups: equal. A line: its solver's tolerance."""
    for name, tolerance in (("conditional", 0.0), ("conditional_linear", 1e-12)):
        case = np.load(shared_data / "conformal_oracle" / f"{name}.npz")

        def features(rows, name=name):
            if name == "conditional":
                return np.eye(3)[rows[:, 1].astype(int)]
            return np.stack([np.ones(len(rows)), rows[:, 0], np.zeros(len(rows))], 1)

        scores = np.abs(case["y_cal"] - case["X_cal"][:, 0])
        calibrated = ConditionalConformal(0.9).calibrate(scores, features(case["X_cal"]))
        lower, upper = case["interval"][:, :, 0].T
        got = calibrated.thresholds(features(case["X_test"]))
        np.testing.assert_allclose(got, (upper - lower) / 2, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_groups_are_order_statistics_to_the_last_bit(dtype, x64):
    """Ties, an empty group, groups that are too small, sizes where (n + 1) coverage is whole."""
    rng = np.random.default_rng(1)
    for trial in range(6):
        scores = np.round(rng.normal(size=N), 1).astype(dtype)
        groups = rng.integers(0, 3, N) if trial % 2 else np.minimum(np.arange(N) % 7, 3)
        for coverage in (0.19, 0.5, 0.75, 0.8, 0.9, 0.95):
            one = np.eye(D, dtype=dtype)
            new = one[np.arange(12) % D]
            found = ConditionalConformal(coverage).calibrate(scores, one[groups]).solve(new)
            expected = conformal.grouped_conformal_quantiles(scores, groups, coverage, count=D)
            np.testing.assert_array_equal(found.thresholds, np.tile(expected, 3))
            np.testing.assert_array_equal(found.status_code, np.isinf(found.thresholds))
            assert found.thresholds.dtype == dtype


def test_dual_of_the_new_row_reaches_the_coverage_at_the_threshold(x64):
    """The definition: below the coverage just before, the coverage itself just after."""
    scores, features, new, _, _ = data()
    got = ConditionalConformal(COVERAGE).calibrate(scores, features).solve(new)
    assert (got.errors <= 1e-9).all()
    finite = np.isfinite(got.thresholds)
    assert 3 < finite.sum() < len(new)
    for row, threshold in zip(new, np.asarray(got.thresholds), strict=True):
        if np.isfinite(threshold):
            assert own_dual(scores, features, row, threshold - 1e-5) < COVERAGE - 1e-6
            after = own_dual(scores, features, row, threshold + 1e-5)
            np.testing.assert_allclose(after, COVERAGE, atol=1e-9)
        else:
            assert own_dual(scores, features, row, 1e6) < COVERAGE - 1e-6


def test_rows_that_walk_together_arrive_where_each_does_alone(x64):
    """More rows than walk at once; ways of none to a dozen pivots, and some that are blocked."""
    scores, features, new, _, _ = data(seed=5, new=1100)
    calibrated = ConditionalConformal(COVERAGE).calibrate(scores, features)
    together = calibrated.solve(new)
    some = np.random.default_rng(6).permutation(len(new))[:40]
    alone = [calibrated.solve(new[i : i + 1]) for i in some]
    thresholds = np.concatenate([one.thresholds for one in alone])
    assert 0 < np.isinf(thresholds).sum() < 30
    np.testing.assert_allclose(together.thresholds[some], thresholds, rtol=1e-11)
    codes = np.concatenate([one.status_code for one in alone])
    np.testing.assert_array_equal(together.status_code[some], codes)


def test_one_constant_is_a_conformal_quantile(x64):
    """Randomised: the sum of shares is coverage n + U, so that its ceiling is the rank."""
    scores = np.random.default_rng(2).normal(size=N)
    # Columns of zeros change nothing, and one program serves the file.
    ones, new = np.eye(D)[np.zeros(N, int)], np.eye(D)[np.zeros(12, int)]
    padded = np.concatenate([[-np.inf], np.sort(scores), [np.inf]])
    for seed, coverage in enumerate((0.01, 0.5, 0.8, 0.9, 0.98, 0.99)):
        calibrated = ConditionalConformal(coverage).calibrate(scores, ones)
        got = calibrated.thresholds(new)
        assert (got == conformal.conformal_quantile(scores, coverage)).all()
        key = jax.random.key(seed)
        drawn = coverage - np.asarray(jax.random.uniform(key, (12,), jnp.float32), float)
        rank = np.ceil(coverage * N + drawn).astype(int)
        spec = ConditionalConformal(coverage, randomised=True)
        got = spec.calibrate(scores, ones).thresholds(new, key=key)
        np.testing.assert_array_equal(got, padded[np.clip(rank, 0, N + 1)])


def test_columns_that_depend_on_others_change_nothing(x64):
    """Nor does another basis of the same functions; a new direction gets the infinite set."""
    scores, features, new, _, _ = data()
    spec = ConditionalConformal(COVERAGE)
    expected = spec.calibrate(scores, features).thresholds(new)
    twisted = np.random.default_rng(4).normal(size=(D, D)) * [1, 1e3, 1e-3, 1]
    got = spec.calibrate(scores, features @ twisted).thresholds(new @ twisted)
    np.testing.assert_allclose(got, expected, rtol=1e-8)
    doubled = features[:, [0, 1, 2, 2]]
    pair = spec.calibrate(scores, doubled)
    off = new[:, [0, 1, 2, 2]] + [0, 0, 0, 0.5]
    assert (pair.thresholds(off) == jnp.inf).all()
    single = spec.calibrate(scores, np.append(features[:, :3], np.zeros((N, 1)), 1))
    alone = single.thresholds(np.append(new[:, :3], np.zeros((len(new), 1)), 1))
    np.testing.assert_allclose(pair.thresholds(new[:, [0, 1, 2, 2]]), alone, rtol=1e-9)


def test_jit_vmap_and_derivatives(x64):
    """A threshold is a combination of basic scores: its derivative is by finite differences."""
    sets = [data(seed) for seed in range(3)]
    scores, features = (jnp.stack([jnp.asarray(one[i]) for one in sets]) for i in (0, 1))
    new = jnp.asarray(sets[0][2])
    spec = ConditionalConformal(COVERAGE)

    def thresholds(scores, features):
        return spec.calibrate(scores, features).thresholds(new)

    together = jax.jit(jax.vmap(thresholds))(scores, features)
    for one in range(3):
        alone = thresholds(scores[one], features[one])
        np.testing.assert_allclose(together[one], alone, rtol=1e-12)
    broken = jax.jit(jax.vmap(thresholds))(scores.at[0, 3].set(jnp.nan), features)
    assert jnp.isnan(broken[0]).all()
    np.testing.assert_array_equal(broken[1:], together[1:])

    def total(step):
        found = thresholds(scores[0] + step * jnp.sin(jnp.arange(N)), features[0])
        return jnp.sum(jnp.where(jnp.isfinite(found), found, 0))

    slope = (total(1e-6) - total(-1e-6)) / 2e-6
    np.testing.assert_allclose(jax.grad(total)(0.0), slope, rtol=1e-5)


def test_single_precision(x64):
    """Away from a corner where two thresholds meet, the same to rounding."""
    scores, features, new, _, _ = data()
    spec = ConditionalConformal(COVERAGE)
    double = spec.calibrate(scores, features).thresholds(new)
    narrow = [a.astype(np.float32) for a in (scores, features, new)]
    single = spec.calibrate(*narrow[:2]).solve(narrow[2])
    assert single.thresholds.dtype == jnp.float32
    np.testing.assert_allclose(single.thresholds, double, rtol=2e-5)


def test_kernel_meets_a_quadratic_program_a_row(x64):
    """The definition again; the dual variable now moves slowly, and 1e-4 of a score shows."""
    scores, features, new, points, new_points = data()
    calibrated = ConditionalConformal(COVERAGE, **KERNEL).calibrate(scores, features, points)
    got = calibrated.solve(new, new_points)
    assert (got.errors <= 1e-9).all()
    finite = np.flatnonzero(np.isfinite(got.thresholds))
    assert 3 < len(finite) < len(new)
    for i in finite[:4]:
        kernel = kernel_matrix(np.vstack([points, new_points[i : i + 1]]), N + 1)
        at = float(got.thresholds[i])
        dual = functools.partial(own_dual, scores, features, new[i], kernel=kernel)
        assert dual(at - 1e-4) < COVERAGE - 1e-6
        np.testing.assert_allclose(dual(at + 1e-4), COVERAGE, atol=1e-6)
    inside = calibrated.contains(got.thresholds - 1e-6, new, new_points)
    assert inside.all()
    outside = calibrated.contains(got.thresholds + 1e-6, new, new_points)
    np.testing.assert_array_equal(outside, np.isinf(got.thresholds))

    # Where the penalty is large the smooth part is nothing.
    stiff = ConditionalConformal(COVERAGE, kernel_bandwidth=0.5, penalty=10.0)
    plain = ConditionalConformal(COVERAGE).calibrate(scores, features)
    found = stiff.calibrate(scores, features, points).thresholds(new, new_points)
    np.testing.assert_allclose(found, plain.thresholds(new), rtol=1e-2)


def test_shift_is_that_of_the_calibration_rows(x64):
    """The weighted share below the regression, less the coverage; rows on it count in part."""
    scores, features, _, points, _ = data()
    calibrated = ConditionalConformal(COVERAGE, **KERNEL).calibrate(scores, features, points)
    eta = np.asarray(calibrated.functions.conditions.weights)
    kernel = kernel_matrix(points, N + 1)
    own = np.asarray(calibrated.units(jnp.asarray(features)))
    smooth, linear = kernel @ eta[:N], own @ eta[N + D :]
    below, above = scores < smooth + linear - 1e-6, scores > smooth + linear + 1e-6
    assert below.sum() > 30
    assert above.sum() > 5
    weights = kernel / kernel.sum(1, keepdims=True)
    got = calibrated.coverage_shift(points)
    assert (got >= weights @ below - COVERAGE - 1e-9).all()
    assert (got <= weights @ (1.0 - above) - COVERAGE + 1e-9).all()
    unit = 1 / (2 * KERNEL["penalty"] * (N + 1))
    expected = -2 * KERNEL["penalty"] * smooth / (kernel.sum(1) / unit / (N + 1))
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)


def test_both_kinds_are_saved(x64, tmp_path):
    scores, features, new, points, new_points = data()
    for options, where in (({}, ()), (KERNEL, (points,))):
        calibrated = ConditionalConformal(COVERAGE, **options).calibrate(scores, features, *where)
        io.save(tmp_path / "file", calibrated)
        loaded = io.load(tmp_path / "file")
        rest = (new_points,) * len(where)
        got, expected = loaded.thresholds(new, *rest), calibrated.thresholds(new, *rest)
        np.testing.assert_array_equal(got, expected)


def test_promise_and_reason(x64):
    scores, features, _, _, _ = data()
    plain = ConditionalConformal(COVERAGE).calibrate(scores, features)
    assert plain.guarantee.kind == "at least"
    assert "the constant is in" in str(plain.guarantee)
    assert "balance" in plain.reason
    drawn = ConditionalConformal(COVERAGE, randomised=True).calibrate(scores, features[:, 1:2])
    assert drawn.guarantee.kind == "exact"
    assert "is not in the span" in str(drawn.guarantee)
    few = ConditionalConformal(0.99).calibrate(scores, features)
    assert "at least 99 calibration rows" in few.reason


def test_what_is_refused(x64):
    scores, features, new, points, new_points = data()
    spec, smooth = ConditionalConformal(COVERAGE), ConditionalConformal(COVERAGE, **KERNEL)
    with refuses("coverage must lie"):
        ConditionalConformal(1.0)
    with refuses("must be given together"):
        ConditionalConformal(penalty=1.0)
    with refuses("penalty must be"):
        ConditionalConformal(penalty=-1.0, kernel_bandwidth=1.0)
    with refuses("kernel_bandwidth must be"):
        ConditionalConformal(penalty=1.0, kernel_bandwidth=0.0)
    with refuses("features must have 60 rows"):
        spec.calibrate(scores, features[1:])
    with refuses("features must have shape"):
        spec.calibrate(scores, features[:, 0])
    with refuses("scores must be finite"):
        spec.calibrate(np.full(N, np.nan), features)
    with refuses("points must be given"):
        spec.calibrate(scores, features, points)
    with refuses("points must be given"):
        smooth.calibrate(scores, features)
    with refuses("points must have 60 rows"):
        smooth.calibrate(scores, features, points[1:])
    wide = ConditionalConformal(COVERAGE, kernel_bandwidth=jnp.ones(2), penalty=1.0)
    with refuses("kernel_bandwidth must have shape"):
        wide.calibrate(scores, features, points)
    calibrated = spec.calibrate(scores, features)
    with refuses("features must have shape"):
        calibrated.thresholds(new[:, 1:])
    with refuses("features must be finite"):
        calibrated.thresholds(new * np.nan)
    with refuses("points must be given"):
        calibrated.thresholds(new, new_points)
    with refuses("key must be given"):
        calibrated.thresholds(new, key=jax.random.key(0))
    with refuses("scores must have shape"):
        calibrated.contains(scores, new)
    with refuses("coverage_shift is for"):
        calibrated.coverage_shift(new_points)


@pytest.mark.parametrize(("unit", "origin"), [(1e-6, 0), (1e5, 0), (24, 2000), (1, -1e4)])
def test_units_of_features_do_not_matter(unit, origin):
    """The span is the same, so are the thresholds: in float32, up to what its origin leaves."""
    scores, features, new, _, _ = (a.astype(np.float32) for a in data())
    rows, new_rows = (f[:, :2].astype(np.float64) for f in (features, new))
    expected = ConditionalConformal(COVERAGE).calibrate(scores, features[:, :2]).solve(new[:, :2])
    assert (expected.status_code == 0).any()
    for columns in (rows, new_rows):
        columns[:, 1] = columns[:, 1] * unit + origin
    calibrated = ConditionalConformal(COVERAGE).calibrate(scores, rows.astype(np.float32))
    found = calibrated.solve(new_rows.astype(np.float32))
    np.testing.assert_array_equal(found.status_code, expected.status_code)
    np.testing.assert_allclose(found.thresholds, expected.thresholds, rtol=3e-3)


def test_the_set_of_a_row_without_proof_is_everything():
    scores, features, new, _, _ = (a.astype(np.float32) for a in data())
    calibrated = ConditionalConformal(COVERAGE).calibrate(scores, features)
    inside = jax.jit(lambda f: (calibrated.thresholds(f), calibrated.contains(jnp.zeros(12), f)))
    thresholds, contains = inside(jnp.asarray(new).at[0, 0].set(jnp.nan))
    assert np.isnan(thresholds[0])
    assert contains[0]
