"""Rows read block by block: what a block holds, what is refused, and the moments of them all."""

import functools

import jax
import numpy as np
import pytest

from estimators import density
from estimators._core import checks
from estimators.sharding._block_moments import as_weight_blocks, moments, weighted
from estimators.sharding._blocks import FEWEST_ROWS, MOST_ROWS, Blocks, pipelined

POINTS = np.random.default_rng(0).normal(size=(1000, 3)).astype(np.float32)


def in_pieces(array, *ends):
    """A generator function that gives an array in pieces."""
    return lambda: (piece for piece in np.split(array, ends))


class Dataset:
    """What an HDF5 file has: a shape, a dtype and slices."""

    shape, dtype = POINTS.shape, POINTS.dtype

    def __getitem__(self, rows):
        return POINTS[rows]


@pytest.fixture
def mapped(tmp_path):
    np.save(tmp_path / "points.npy", POINTS)
    return np.load(tmp_path / "points.npy", mmap_mode="r")


def sources(mapped):
    return {
        "array": POINTS,
        "jax": jax.numpy.asarray(POINTS),
        "mapped": mapped,
        "columns first": np.asfortranarray(POINTS),
        "dataset": Dataset(),
        "even pieces": in_pieces(POINTS, 300, 600, 900),
        "odd pieces": in_pieces(POINTS, 1, 1, 7, 650, 651),
        "a list": lambda: [POINTS[:10], POINTS[10:]],
    }


@pytest.mark.parametrize("rows", [1, 7, 250, 300, 999, 1000, 5000, None])
def test_the_rows_come_back_whatever_the_source(mapped, rows):
    for name, source in sources(mapped).items():
        for _ in range(2):  # as often as one likes
            blocks = list(Blocks(source, rows=rows))
            assert len({block.values.shape for block in blocks}) == 1, name
            assert rows is None or blocks[0].values.shape[0] <= rows
            real = np.concatenate([block.values[: block.count] for block in blocks])
            np.testing.assert_array_equal(real, POINTS, err_msg=name)
            assert [block.start for block in blocks] == np.cumsum(
                [0, *(block.count for block in blocks[:-1])]
            ).tolist()
            last = blocks[-1]
            filling = last.values[last.count :]
            np.testing.assert_array_equal(filling, np.broadcast_to(last.values[:1], filling.shape))


def test_blocks_are_cut_evenly_and_wide_rows_come_in_fewer():
    assert [block.count for block in Blocks(POINTS, rows=999)] == [500, 500]
    sizes = {d: Blocks(in_pieces(np.zeros((1, d))))._size((d,)) for d in (1, 16, 64, 10**5)}
    assert sizes == {1: MOST_ROWS, 16: MOST_ROWS, 64: MOST_ROWS // 4, 10**5: FEWEST_ROWS}


def test_a_block_is_a_copy():
    source = POINTS.copy()
    next(iter(Blocks(source))).values[:] = 0
    np.testing.assert_array_equal(source, POINTS)


def test_numbers_in_one_dimension():
    blocks = list(Blocks(POINTS[:, 0], rows=300))
    assert [block.values.shape for block in blocks] == [(250,)] * 4


def test_dtypes_are_those_of_computation(monkeypatch):
    whole = np.arange(6).reshape(3, 2)
    for given in (np.int64, np.uint8, bool, ">f4", ">i2"):
        assert next(iter(Blocks(whole.astype(given)))).values.dtype == np.float32
    monkeypatch.setattr(checks.as_float, "warned", False)
    with pytest.warns(checks.PrecisionWarning, match="narrowed"):
        (block,) = Blocks(whole / 3)
    np.testing.assert_array_equal(block.values, (whole / 3).astype(np.float32))
    with jax.enable_x64(True):
        assert next(iter(Blocks(whole / 3))).values.dtype == np.float64
        assert next(iter(Blocks(whole))).values.dtype == np.float64
        assert next(iter(Blocks(whole.astype(np.float32)))).values.dtype == np.float32


def test_pages_that_were_written_to_privately_are_kept(tmp_path):
    np.save(tmp_path / "points.npy", POINTS)
    mapped = np.load(tmp_path / "points.npy", mmap_mode="c")
    mapped[5] = 7.0
    for _ in range(2):
        assert (np.concatenate([block.values for block in Blocks(mapped, rows=100)])[5] == 7).all()


def test_shape_and_dtype_where_known():
    blocks = Blocks(POINTS)
    assert (blocks.shape, blocks.dtype) == (POINTS.shape, POINTS.dtype)
    assert Blocks(in_pieces(POINTS)).shape is None
    assert "1000" in repr(blocks)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (iter([POINTS]), "read only once. Pass the function that makes it"),
        ((piece for piece in [POINTS]), "read only once. Pass the function that makes it"),
        ([[1.0, 2.0]], "source must be an array that can be sliced, or a function"),
        (np.zeros((2, 2, 2), np.float32), r"shape \(n, d\) or \(n,\); got shape \(2, 2, 2\)"),
        (Blocks(POINTS), "source must be an array that can be sliced, or a function"),
    ],
)
def test_sources_that_are_refused(source, message):
    with pytest.raises(ValueError, match=message):
        Blocks(source)


def test_a_traced_source_and_rows_below_one_are_refused():
    with pytest.raises(ValueError, match="source must be known"):
        jax.jit(lambda points: Blocks(points) and points)(POINTS)
    with pytest.raises(ValueError, match="rows must be a whole number >= 1; got 0"):
        Blocks(POINTS, rows=0)


def with_nan(at):
    points = np.zeros((1_300_000, 1), np.float32)
    points[at] = np.nan
    return points


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            POINTS[:, 0],
            r"shape \(n, d\), one row a sample; got shape \(1000,\). Write points\[:, N",
        ),
        (in_pieces(POINTS[:, 0]), r"shape \(n, d\), one row a sample; got shape \(1000,\)"),
        (POINTS[:, :0], r"shape \(n, d\) with d >= 1; got shape \(1000, 0\)"),
        (with_nan(1234567), r"points must be finite; points\[1234567, 0\] is nan"),
        (in_pieces(with_nan(1234567), 3), r"points must be finite; points\[1234567, 0\] is nan"),
        (
            lambda: iter([POINTS, POINTS[:, :2]]),
            r"shape \(k, 3\) throughout, as the first was; got shape \(1000, 2\) at row 1000",
        ),
        (lambda: iter([POINTS, POINTS[:, 0]]), r"throughout.* got shape \(1000,\) at row 1000"),
        (
            lambda: iter([POINTS, POINTS.astype(int)]),
            "one dtype throughout, float32 as in the first block; got int64 at row 1000",
        ),
        (POINTS.astype(np.float16), "points must be float32 or float64"),
        (POINTS.astype(str), "points must be an array of numbers"),
        (lambda: POINTS, "a function that returns an iterator of arrays.*; it returned ndarray"),
        (lambda: None, "a function that returns an iterator of arrays.*; it returned NoneType"),
        (POINTS[:0], "points must have at least 1 row; the source gave none"),
        (lambda: iter([]), "points must have at least 1 row; the source gave none"),
        (in_pieces(POINTS[:0]), "points must have at least 1 row; the source gave none"),
    ],
)
def test_rows_that_are_refused_when_they_are_read(source, message):
    with pytest.raises(ValueError, match=message):
        moments(Blocks(source))


def test_an_iterator_that_is_given_twice_is_refused():
    iterator = iter([POINTS, POINTS])
    blocks = Blocks(lambda: iterator)
    assert blocks.peek() == (3, np.float32)
    with pytest.raises(ValueError, match="returns a fresh iterator at each call"):
        moments(blocks)


def test_rows_that_change_between_passes_are_refused():
    sizes = iter([100, 100, 60])  # a look at the first block, the fit, the density
    fitted = density.KDE(0.5).fit(Blocks(lambda: iter([POINTS[: next(sizes)]])))
    with pytest.raises(ValueError, match="same rows at every pass; they were 100 and are 60 now"):
        fitted.log_density(POINTS[0])


def test_blocks_are_no_array():
    with pytest.raises(ValueError, match="read block by block, and cannot be one array"):
        np.asarray(Blocks(POINTS))
    with pytest.raises(ValueError, match="must be an array of numbers; got Blocks"):
        checks.as_points("points", Blocks(POINTS))


WEIGHTS = np.random.default_rng(1).exponential(size=1000).astype(np.float32)
WEIGHTS[::7] = 0


@pytest.mark.parametrize("rows", [13, 300, 1000])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_moments_are_those_of_numpy(rows, weights):
    points = POINTS @ np.array([[1, 0, 0], [2, 0.1, 0], [0, 3, 40]], np.float32) + np.float32(1e3)
    exact = points.astype(np.float64)
    found = moments(
        Blocks(points, rows=rows), None if weights is None else Blocks(in_pieces(weights, 1, 400))
    )
    own = np.ones(1000) if weights is None else weights.astype(np.float64)
    np.testing.assert_allclose(found.mean, np.average(exact, 0, own), rtol=1e-13)
    np.testing.assert_allclose(found.covariance, np.cov(exact.T, aweights=own), rtol=1e-11)
    np.testing.assert_allclose(found.total, own.sum(), rtol=1e-13)
    np.testing.assert_allclose(found.concentration, (own**2).sum() / own.sum() ** 2, rtol=1e-13)
    np.testing.assert_allclose(found.mean + found.lowest, exact.min(0), rtol=1e-13)
    np.testing.assert_allclose(found.mean + found.highest, exact.max(0), rtol=1e-13)
    assert (found.rows, found.positive) == (1000, np.count_nonzero(own))


def test_extremes_in_coordinates_of_a_factor():
    factor = np.array([[2.0, 0, 0], [1, 0.5, 0], [-3, 1, 0.1]])
    found = moments(Blocks(POINTS, rows=100), factor=factor, scatter=False)
    white = np.linalg.solve(factor, (POINTS.astype(np.float64) - found.mean).T)
    np.testing.assert_allclose(found.lowest, white.min(1), rtol=1e-12)
    np.testing.assert_allclose(found.highest, white.max(1), rtol=1e-12)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (WEIGHTS[:999], "as many as the points; the points have rows up to 1000 here.* to 999"),
        (WEIGHTS[:500], "as many as the points; the points have rows up to 1000 here.* to 500"),
        (np.append(WEIGHTS, 1.0).astype(np.float32), "as many as the points, 1000; there are more"),
        (np.where(np.arange(1000) == 777, -1, WEIGHTS), r"weights\[777\] is -1"),
        (0 * WEIGHTS, "positive sum; all 1000 are zero"),
        (WEIGHTS[:, None], r"weights must have shape \(n,\); got shape \(1000, 1\)"),
        (np.where(np.arange(1000) == 777, np.inf, WEIGHTS), r"weights\[777\] is inf"),
    ],
)
def test_weights_that_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        moments(Blocks(POINTS, rows=500), Blocks(weights))


def test_weights_that_are_no_array_are_refused():
    message = r"weights must be None, an array \(n,\) or sharding.Blocks.*; got function"
    with pytest.raises(ValueError, match=message):
        as_weight_blocks(in_pieces(WEIGHTS))
    assert as_weight_blocks([1, 2, 3]).shape == (3,)


def test_what_fills_up_a_block_has_no_weight():
    (_, first), (_, last) = weighted(Blocks(in_pieces(POINTS), rows=600), None)
    assert (first == 1).all()
    np.testing.assert_array_equal(last, np.arange(600) < 400)


def test_no_more_than_two_steps_are_under_way():
    events = []

    def read(number):
        for i in range(number):
            events.append(("read", i))
            yield (i,)

    def step(i):
        events.append(("start", i))
        return functools.reduce(np.add, [i, 1])

    for result in pipelined(step, read(4)):
        events.append(("done", result - 1))
    under_way = np.cumsum([{"read": 0, "start": 1, "done": -1}[kind] for kind, _ in events])
    assert under_way.max() == 2
    assert [i for kind, i in events if kind == "done"] == [0, 1, 2, 3]
    assert events.index(("read", 1)) < events.index(("done", 0))  # while the first is computed
