"""Over a mesh every estimator gives the numbers of one device, by the collectives it says."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import slow
from computations import COMPUTATIONS, density_by, rows, squared_error, training_data, weights
from jax.sharding import AxisType

from estimators import conformal, density, information, score, sharding, training

# Of the largest number in the array, or of one where that is less.
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


def over(devices):
    mesh = sharding.mesh(jax.devices()[:devices])
    return lambda tree: sharding.split(tree, mesh)


def close(got, expected, dtype):
    tolerance = TOLERANCE[np.dtype(dtype).name]
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert one.dtype == other.dtype
        other = np.asarray(other)
        scale = max(1.0, float(np.max(np.abs(other[np.isfinite(other)]), initial=0)))
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * scale)


# Every computation on 8 devices; two of them on any number, and three in float32, at once.
FEW = ("density, scott", "conformal quantile", "KSG")


def agree(name, numbers):
    compute = COMPUTATIONS[name]
    expected = compute(lambda tree: tree, np.float64)
    for devices in numbers:
        close(compute(over(devices), np.float64), expected, np.float64)


@pytest.mark.parametrize("name", COMPUTATIONS)
def test_eight_devices_give_the_numbers_of_one(x64, name):
    agree(name, [8])


@pytest.mark.parametrize("name", slow.parameters(COMPUTATIONS, set(COMPUTATIONS) - set(FEW[:2])))
def test_any_number_of_devices_gives_the_numbers_of_one(x64, name):
    agree(name, [1, 2, 4, 8])


@pytest.mark.parametrize("name", slow.parameters(COMPUTATIONS, set(COMPUTATIONS) - set(FEW)))
def test_in_float32_too(name):
    compute = COMPUTATIONS[name]
    close(compute(over(8), np.float32), compute(lambda tree: tree, np.float32), np.float32)


def collectives(function, *arguments) -> dict[str, int]:
    """How many of each the compiled program has."""
    text = jax.jit(function).lower(*arguments).compile().as_text()
    kinds = ("all-reduce", "all-gather", "reduce-scatter", "collective-permute", "all-to-all")
    found = {kind: len(re.findall(rf" {kind}(?:-start)?\(", text)) for kind in kinds}
    return {kind: count for kind, count in found.items() if count}


@pytest.fixture(scope="module")
def fitted():
    return density.KDE("scott").fit(over(8)(rows(np.float32)))


def test_a_density_is_two_all_reduces_and_gathers_nothing(fitted):
    asked = jnp.zeros((5, 3))
    assert collectives(density.FittedKDE.log_density, fitted, asked) == {"all-reduce": 2}
    # Two more for the gradient in the queries, of which every device has a part.
    assert collectives(density.FittedKDE.score, fitted, asked) == {"all-reduce": 4}


def test_leave_one_out_passes_points_around_a_ring(fitted):
    found = collectives(density.FittedKDE.leave_one_out_log_density, fitted)
    # Points, log weights and labels travel; once around is 7 steps of one loop.
    assert found == {"collective-permute": 3}


def test_selection_counts_and_gathers_nothing():
    scores = over(8)(rows(np.float32)[:, 0])
    found = collectives(lambda s: conformal.conformal_quantile(s, 0.9), scores)
    assert set(found) == {"all-reduce"}


def test_a_covariance_is_reduced_and_rows_stay():
    found = collectives(lambda rows: score.Gaussian().fit(rows), over(8)(rows(np.float32)))
    assert set(found) == {"all-reduce"}


def test_a_step_of_training_delivers_its_batch_and_adds_up_gradients():
    start = {"in": jnp.ones((3, 8)), "out": jnp.ones(8)}
    data = over(8)(training_data(np.float32))
    step = jax.value_and_grad(training.mean_over_rows(squared_error, 30))
    found = collectives(step, start, data, jax.random.key(0))
    assert found == {"reduce-scatter": 3, "all-reduce": 2}  # three arrays; loss and gradient


def test_neighbours_gather_columns_and_share_out_pairs():
    x, y = (over(8)(rows(np.float32, 403, seed)) for seed in (0, 1))
    found = collectives(lambda x, y: information.KSG().estimate(x, y).value, x, y)
    assert found["all-gather"] >= 2
    assert "collective-permute" not in found
    assert "all-to-all" not in found


def test_gradients_in_the_data_are_those_of_one_device(x64):
    points = jnp.asarray(rows(np.float64, 40))
    split = over(8)(points)

    def likelihood(values, put):
        fitted = density.KDE("loo").fit(put(values))
        return fitted.log_density(points[:4] + 0.1).sum()

    expected = jax.grad(lambda values: likelihood(values, lambda v: v))(points)
    got = jax.grad(lambda values: likelihood(values, lambda v: sharding.Rows(v, split.placement)))(
        split.values
    )
    np.testing.assert_allclose(got[:40], expected, rtol=0, atol=1e-10)


def test_of_the_quantile_too():
    split = over(8)(np.arange(9.0, dtype=np.float32))
    of = lambda values: conformal.conformal_quantile(sharding.Rows(values, split.placement), 0.5)  # noqa: E731
    np.testing.assert_array_equal(jax.grad(of)(split.values)[:9], np.arange(9) == 4)


def test_new_values_do_not_trace_again():
    traces = []

    def evaluate(points, asked):
        traces.append(1)
        return density.KDE("scott").fit(points).log_density(asked)

    compiled = jax.jit(evaluate)
    for seed in (0, 1):
        compiled(over(4)(rows(np.float32, 100, seed)), jnp.full((2, 3), float(seed)))
    assert len(traces) == 1


def test_split_fills_up_with_copies_and_gather_gives_the_rows_back():
    table = {"x": np.arange(10.0, dtype=np.float32), "kept": np.arange(10) % 2 == 0}
    split = over(4)(table)
    assert split.placement.count == 10
    np.testing.assert_array_equal(split.placement.number, [*range(10), -1, -1])
    np.testing.assert_array_equal(split.values["x"][10:], 0)
    assert split.values["kept"].dtype == bool
    assert len(split.values["x"].sharding.device_set) == 4
    jax.tree.map(np.testing.assert_array_equal, split.gather(), table)
    rows = over(8)(np.ones((3, 2), np.float32))
    assert rows.shape == (3, 2)
    assert rows.values.shape == (8, 2)


def test_whole_numbers_beyond_32_bits_become_floats():
    rows = np.array([[2**33], [-(2**34)]])
    np.testing.assert_array_equal(sharding.split(rows).gather(), rows.astype(np.float32))
    assert sharding.split(np.array([1, 2])).gather().dtype == jnp.int32


def test_a_mesh_of_several_axes_splits_over_the_one_that_is_named(x64):
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)
    expected = density_by("scott")(lambda tree: tree, np.float64)
    got = density_by("scott")(lambda tree: sharding.split(tree, mesh, axis="data"), np.float64)
    close(got, expected, np.float64)
    with pytest.raises(ValueError, match=r"axis must say which of the mesh's axes .*data.*model"):
        sharding.split(np.ones((4, 2)), mesh)
    with pytest.raises(ValueError, match=r"axis must be one of .* got 'rows'"):
        sharding.split(np.ones((4, 2)), mesh, axis="rows")


def test_a_mesh_of_explicit_axes_serves_as_well(x64):
    mesh = jax.make_mesh((8,), ("data",))  # explicit is what jax makes unless told otherwise
    expected = density_by(0.5)(lambda tree: tree, np.float64)
    close(density_by(0.5)(lambda t: sharding.split(t, mesh), np.float64), expected, np.float64)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (density.KDE("auto"), "got bandwidth='auto'"),
        (density.KDE(0.5, widths="nearest"), "widths='nearest'"),
        (density.KDE("scott", centres="shrunken"), "centres='shrunken'"),
        (density.KDE("loo", covariance="learned"), "covariance='learned'"),
    ],
)
def test_what_a_mesh_has_no_program_for_is_refused(spec, says):
    with pytest.raises(ValueError, match=says):
        spec.fit(over(2)(rows(np.float32, 100)))


def test_bad_rows_are_refused():
    with pytest.raises(ValueError, match=r"share their n >= 1.*\(3,\).*\(4,\)"):
        sharding.split({"x": np.ones(3, np.float32), "y": np.ones(4, np.float32)})
    with pytest.raises(ValueError, match="rows must be arrays"):
        sharding.split(np.float32(3.0))
    with pytest.raises(ValueError, match=r"mesh must be a jax.sharding.Mesh.*got list"):
        sharding.split(np.ones(3, np.float32), jax.devices())
    with pytest.raises(ValueError, match=r"devices must be a list.*shape \(0,\)"):
        sharding.mesh([])
    points = rows(np.float32, 50)
    points[17, 1] = np.nan
    with pytest.raises(ValueError, match=r"points must be finite; points\[17, 1\] is nan"):
        density.KDE("scott").fit(over(4)(points))
    constant = rows(np.float32, 50)
    constant[:, 2] = 7
    with pytest.raises(ValueError, match=r"column 2 is 7\.0 in all rows"):
        density.KDE("scott").fit(over(4)(constant))


def test_a_gathered_density_is_that_of_one_device(fitted):
    asked = rows(np.float32)[:5]
    whole = fitted.gather()
    assert whole.points.shape == (1003, 3)
    np.testing.assert_allclose(whole.log_density(asked), fitted.log_density(asked), atol=1e-5)
    assert density.regime(whole, asked).code.shape == (5,)
    for use in (density.regime, density.update):
        with pytest.raises(ValueError, match=r"split over 8. Write fitted.gather\(\)"):
            use(fitted, asked)


def test_weights_must_be_split_alike():
    points = over(4)(rows(np.float32, 50))
    with pytest.raises(ValueError, match=r"weights must be split as points is.*got ndarray"):
        density.KDE(0.5).fit(points, weights(np.float32, 50))
    with pytest.raises(ValueError, match="weights must be split as points is"):
        score.Gaussian().fit(points, over(2)(weights(np.float32, 50)))
    with pytest.raises(ValueError, match=r"weights must not be negative; weights\[3\]"):
        density.KDE(0.5).fit(points, over(4)(weights(np.float32, 50) - np.eye(50, dtype="f4")[3]))


def test_variables_must_lie_alike():
    x = rows(np.float32, 50)[:, :1]
    with pytest.raises(ValueError, match=r"x and y must all be Rows.*x Rows, y ndarray"):
        information.KSG().estimate(over(4)(x), x)
    with pytest.raises(ValueError, match=r"x and y must all be Rows.*\[4, 2\] devices"):
        information.KSG().estimate(over(4)(x), over(2)(x))
