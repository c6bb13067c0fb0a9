"""Estimators on blocks of rows: the numbers of those in memory, in few passes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import slow

from estimators import conformal, density, score
from estimators.conformal import _blocks as order_statistics
from estimators.density._blocks import _fitted_blocks
from estimators.sharding._blocks import Blocks

RELATIVE = {"float32": 1e-5, "float64": 1e-12}
ABSOLUTE = {"float32": 2e-5, "float64": 1e-11}  # nats
N, D = 5000, 3


def rows(dtype):
    """Correlated columns of a few standard deviations' offset, and 20 queries."""
    generator = np.random.default_rng(0)
    mix = np.array([[1.0, 0, 0], [0.5, 2, 0], [0.2, 0.3, 0.5]])
    points = generator.normal(size=(N, D)) @ mix.T + [1.0, -2, 3]
    weights = np.where(np.arange(N) % 11 == 0, 0, generator.exponential(size=N))
    queries = points[:20] + 0.3 * generator.normal(size=(20, D))
    queries[0] += 50  # far in the tail
    return (a.astype(dtype) for a in (points, weights, queries))


def in_pieces(array):
    """A generator function of uneven pieces."""
    return lambda: (array[start : start + 700] for start in range(0, len(array), 700))


def of_dtype(name):
    return jax.enable_x64(name == "float64")


def assert_close(one, other, dtype, *, scale=None):
    scale = np.abs(np.asarray(other)).max() if scale is None else scale
    assert one.dtype == other.dtype == dtype
    np.testing.assert_allclose(one, other, rtol=0, atol=RELATIVE[dtype] * scale)


SPECS = {
    "number": lambda: density.KDE(0.4),
    "vector": lambda: density.KDE(jnp.asarray([0.3, 0.4, 0.2])),
    "matrix": lambda: density.KDE(0.1 * jnp.eye(D) + 0.03),
    "scott": lambda: density.KDE("scott"),
    "silverman": lambda: density.KDE("silverman", covariance="diagonal"),
    "typical distance": lambda: density.KDE("biroli-mezard", covariance="isotropic"),
    "shrunken": lambda: density.KDE("scott", centres="shrunken"),
    "heavy": lambda: density.KDE(0.4, kernel=density.Student(4.0)),
}


@pytest.mark.parametrize("dtype", RELATIVE)
@pytest.mark.parametrize(
    "spec", slow.parameters(SPECS, {"vector", "scott", "shrunken", "heavy", "matrix"})
)
def test_kernel_density_has_the_numbers_of_that_in_memory(spec, dtype):
    with of_dtype(dtype):
        points, weights, queries = rows(dtype)
        given = weights if spec in ("number", "scott") else None
        whole = SPECS[spec]().fit(points, given)
        value, slope = whole.log_density(queries), whole.score(queries)
        blocks = Blocks(in_pieces(points), rows=1900)  # the last is filled up with 700 rows
        fitted = SPECS[spec]().fit(blocks, given)
        assert fitted.count == N
        for name in ("factor", "location", "bandwidth"):
            assert_close(getattr(fitted, name), getattr(whole, name), dtype)
        for name in ("factor", "shrinkage", "effective_sample_size"):
            one, other = getattr(fitted.info, name), getattr(whole.info, name)
            np.testing.assert_allclose(one, other, rtol=RELATIVE[dtype])
        found, own_slope = fitted.log_density(queries), fitted.score(queries)
        assert found.dtype == own_slope.dtype == dtype
        # A log density of -10^4 has its own rounding; and the kernel's factor has.
        error = ABSOLUTE[dtype] * (1 + np.abs(value))
        assert (np.abs(found - value) <= error).all()
        # Weights of kernels, relative to the sum, have the rounding of its logarithm.
        error = RELATIVE[dtype] * np.abs(slope[1:]).max() * np.ones(20)
        error += 4 * np.finfo(dtype).eps * np.abs(value) * np.abs(slope).max(1)
        assert (np.abs(own_slope - slope).max(1) <= error).all()


@pytest.mark.parametrize("dtype", RELATIVE)
def test_kernel_density_is_the_sum_of_its_kernels(tmp_path, dtype):
    """Against the definition, summed in float64 by numpy."""
    with of_dtype(dtype):
        points, weights, queries = rows(dtype)
        np.save(tmp_path / "points.npy", points)
        mapped = np.load(tmp_path / "points.npy", mmap_mode="r")
        fitted = density.KDE(0.4).fit(Blocks(mapped, rows=512), Blocks(weights))
        squares = ((queries[:, None].astype(float) - points.astype(float)) ** 2).sum(-1)
        with np.errstate(divide="ignore"):
            logits = np.log(weights / weights.sum(dtype=float)) - squares / (2 * 0.4**2)
        top = logits.max(1)
        truth = top + np.log(np.exp(logits - top[:, None]).sum(1))
        truth -= 0.5 * D * np.log(2 * np.pi * 0.4**2)
        shares = np.exp(logits - top[:, None])
        shares /= shares.sum(1, keepdims=True)
        slope = (shares @ points.astype(float) - queries) / 0.4**2
        error = {"float32": 2e-6, "float64": 1e-14}[dtype] * (1 + np.abs(truth))
        assert (np.abs(fitted.log_density(queries) - truth) <= error).all()
        np.testing.assert_allclose(fitted.score(queries), slope, atol=10 * error.max(), rtol=0)


def test_compact_kernels_are_nothing_out_of_reach():
    points, _, queries = rows("float32")
    spec = density.KDE(0.4, kernel=density.Epanechnikov())
    whole, fitted = spec.fit(points), spec.fit(Blocks(points, rows=700))
    value = fitted.log_density(queries)
    assert value[0] == -np.inf
    assert np.isfinite(value).sum() > 10
    np.testing.assert_allclose(value, whole.log_density(queries), rtol=1e-5)
    np.testing.assert_allclose(fitted.score(queries), whole.score(queries), atol=1e-3, rtol=1e-4)
    assert (fitted.score(queries)[0] == 0).all()


def test_narrow_kernels_are_summed_by_differences():
    """Where a matrix product would round the distances, as in memory."""
    points, *_ = rows("float32")
    points[-1] = 1e4  # one point far out: only its block needs the slower sums
    whole, fitted = density.KDE(0.05).fit(points), density.KDE(0.05).fit(Blocks(points, rows=500))
    queries = points[[0, 7, -1]] + np.float32(0.01)
    np.testing.assert_allclose(fitted.log_density(queries), whole.log_density(queries), rtol=1e-4)


def test_any_batch_shape():
    points, *_ = rows("float32")
    fitted = density.KDE("scott").fit(Blocks(points, rows=1500))
    queries = points[:6].reshape(2, 3, D)
    flat = fitted.log_density(points[:6])
    np.testing.assert_array_equal(fitted.log_density(queries), flat.reshape(2, 3))
    assert fitted.score(queries).shape == (2, 3, D)
    assert fitted.log_density(points[0]).shape == ()
    assert fitted.log_density(points[:0]).shape == (0,)


def test_one_program_serves_all_blocks(monkeypatch):
    traces = []
    inner = _fitted_blocks.sum_of_part
    monkeypatch.setattr(
        _fitted_blocks, "sum_of_part", lambda *given: traces.append(1) or inner(*given)
    )
    points = np.random.default_rng(0).normal(size=(1111, 5)).astype(np.float32)
    fitted = density.KDE("scott").fit(Blocks(points, rows=200))
    for shift in (0.0, 1.0):
        fitted.log_density(points[:7] + np.float32(shift))
    density.KDE(0.3).fit(Blocks(points + 1, rows=200)).log_density(points[:7])
    assert len(traces) == 1


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (lambda: density.KDE(), r"got 'loo', .*KDE\(sample.bandwidth \* \(m / n\)"),
        (lambda: density.KDE("auto"), "got 'auto'"),
        (lambda: density.KDE("sheather-jones"), "got 'sheather-jones'"),
        (lambda: density.KDE(0.3, widths="abramson"), "widths must be 'equal'.*got widths='abr"),
        (lambda: density.KDE(jnp.ones(2)), r"\(3, 3\) for points of 3 columns; got shape \(2,\)"),
        (lambda: density.KDE(-jnp.eye(3)), "bandwidth must be positive definite"),
        (lambda: density.KDE(1e-7), "above the rounding of float32 coordinates"),
    ],
)
def test_specifications_that_are_refused(spec, message):
    points, *_ = rows("float32")
    with pytest.raises(ValueError, match=message):
        spec().fit(Blocks(points, rows=1500))


def test_points_that_are_refused():
    points, *_ = rows("float32")
    constant = points.copy()
    constant[:, 1] = 0.1
    with pytest.raises(ValueError, match=r"vary in every column; column 1 is 0\.1"):
        density.KDE("scott").fit(Blocks(constant, rows=700))
    constant[:, 1] = points[:, 0] - 2 * points[:, 2]
    with pytest.raises(ValueError, match="theirs is singular"):
        density.KDE("scott").fit(Blocks(constant, rows=700))
    density.KDE("scott", covariance="diagonal").fit(Blocks(constant, rows=700))
    with pytest.raises(ValueError, match=r"at least 2 rows of positive weight.*there are 1"):
        density.KDE("scott").fit(Blocks(points), np.eye(1, N, 5, dtype=np.float32)[0])


def test_nothing_is_traced():
    points, *_ = rows("float32")
    fitted = density.KDE("scott").fit(Blocks(points))
    for transformed in (jax.jit(fitted.log_density), jax.vmap(fitted.score)):
        with pytest.raises(ValueError, match="x must be known: the points of a FittedBlockKDE"):
            transformed(points[:3])
    with pytest.raises(ValueError, match="bandwidth must be known"):
        jax.vmap(lambda h: density.KDE(h).fit(Blocks(points)).bandwidth)(jnp.ones(2))
    with pytest.raises(ValueError, match="x must have shape"):
        fitted.log_density(points[0, :2])


@pytest.mark.parametrize("dtype", RELATIVE)
@pytest.mark.parametrize("rank", [None, 0, 2])
def test_gaussian_has_the_numbers_of_that_in_memory(rank, dtype):
    with of_dtype(dtype):
        points, weights, queries = rows(dtype)
        spec = score.Gaussian(rank, shrinkage=0.1)
        for given in (None, weights):
            whole, fitted = spec.fit(points, given), spec.fit(Blocks(in_pieces(points)), given)
            assert isinstance(fitted, score.FittedGaussian)
            assert_close(fitted.mean, whole.mean, dtype)
            assert_close(fitted.eigenvalues, whole.eigenvalues, dtype, scale=1.0)
            assert_close(fitted.floor, whole.floor, dtype, scale=4.0)
            # Of the basis only its span is given: the score is what both must agree on.
            one, other = (f.score(queries, sigma=0.5) for f in (fitted, whole))
            assert_close(one, other, dtype)
            np.testing.assert_allclose(
                fitted.info.explained_variance,
                whole.info.explained_variance,
                rtol=RELATIVE[dtype],
            )


@pytest.mark.parametrize(
    ("spec", "columns", "weights", "message"),
    [
        (score.Gaussian(shrinkage="oas"), 3, None, "shrinkage must be a number where points are"),
        (score.Gaussian(), 1025, None, "at most 1024 columns where they are Blocks.*got 1025"),
        (score.Gaussian(4), 3, None, "rank must be at most the 3 columns of points; got 4"),
        (score.Gaussian(12), 15, None, "rank must be at most 9: 10 rows"),
        (score.Gaussian(), 3, np.eye(10)[0].astype(np.float32), "for at least 2 rows"),
    ],
)
def test_gaussians_that_are_refused(spec, columns, weights, message):
    points = np.random.default_rng(0).normal(size=(10, columns)).astype(np.float32)
    with pytest.raises(ValueError, match=message):
        spec.fit(Blocks(points), weights)
    with pytest.raises(ValueError, match="at least 2 rows; got 1"):
        score.Gaussian().fit(Blocks(points[:1, :3]))


COVERAGES = (0.001, 0.1, 0.5, 0.9, 0.999)


def laws():
    generator = np.random.default_rng(0)
    n = 5003
    normal = generator.normal(size=n)
    return {
        "normal": normal,
        "sorted": np.sort(normal),
        "heavy": generator.standard_cauchy(size=n) * 1e20,
        "many equal": generator.integers(0, 3, n),
        "two values": np.where(normal > 1, 1e-30, -1e30),
        "all equal": np.full(n, -0.0),
        "infinite": np.where(normal > 1.5, np.inf, np.where(normal < -1.5, -np.inf, normal)),
        "tiny": generator.integers(-2, 3, n) * 1e-40,
        "one far": np.where(np.arange(n) == 77, 1e30, normal),
    }


@pytest.mark.parametrize("dtype", RELATIVE)
@pytest.mark.parametrize("law", laws())
def test_conformal_quantile_is_exactly_that_of_sorted_scores(monkeypatch, law, dtype):
    with of_dtype(dtype):
        scores = laws()[law].astype(dtype)
        ordered = np.append(np.sort(scores), np.inf)
        for room in (20, 400, order_statistics.ROOM):
            monkeypatch.setattr(order_statistics, "ROOM", room)
            for coverage in (*COVERAGES, 1 - 1e-6):
                expected = ordered[conformal.conformal_rank(scores.size, coverage) - 1]
                for source in (scores, in_pieces(scores)):
                    found = conformal.conformal_quantile(Blocks(source, rows=2000), coverage)
                    assert found.dtype == dtype
                    np.testing.assert_array_equal(found, expected)
                    assert not np.signbit(found) or np.asarray(found) < 0  # as in memory, +0 alone


def test_conformal_quantile_is_that_in_memory():
    scores = laws()["normal"].astype(np.float32)
    for coverage in (*COVERAGES, np.float32(0.9), jnp.float32(0.7), 1 - 1e-6):
        one = conformal.conformal_quantile(Blocks(scores, rows=5000), coverage)
        assert one == conformal.conformal_quantile(scores, coverage)


def test_conformal_quantile_reads_few_times(monkeypatch):
    passes, normal = [], np.random.default_rng(0).normal(size=200_000).astype(np.float32)
    by_row = normal * np.tile(np.arange(1, 17, dtype=np.float32), normal.size // 16)
    for scores in (normal, np.sort(normal), by_row):

        def source(scores=scores):
            passes.append(1)
            return iter([scores[:70_000], scores[70_000:]])

        for room, needed in ((1 << 14, 2), (1 << 18, 1)):
            monkeypatch.setattr(order_statistics, "ROOM", room)
            for coverage in COVERAGES:
                passes.clear()
                conformal.conformal_quantile(Blocks(source, rows=5000), coverage)
                assert len(passes) == needed


def test_scores_that_are_refused():
    scores = np.zeros(5000, np.float32)
    scores[4321] = np.nan
    with pytest.raises(ValueError, match=r"scores must not be NaN; scores\[4321\] is nan"):
        conformal.conformal_quantile(Blocks(scores, rows=1000), 0.9)
    with pytest.raises(ValueError, match=r"scores must have shape \(n,\); got shape \(5, 2\)"):
        conformal.conformal_quantile(Blocks(np.zeros((5, 2), np.float32)), 0.9)
    with pytest.raises(ValueError, match="at least 1 row"):
        conformal.conformal_quantile(Blocks(scores[:0]), 0.9)
    with pytest.raises(ValueError, match="coverage must lie strictly between 0 and 1"):
        conformal.conformal_quantile(Blocks(scores[:9]), 1.0)
    with pytest.raises(ValueError, match="coverage must be known"):
        jax.jit(lambda c: conformal.conformal_quantile(Blocks(scores[:9]), c))(0.9)
