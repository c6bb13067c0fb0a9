"""The 48 tasks: names, dimensions, published truths, and what ranks cannot tell apart."""

import jax
import numpy as np
import pytest
import scipy.stats

from estimators.information import simulate
from estimators.information.simulate._simulator import _information

pytestmark = pytest.mark.thorough

# The benchmark's own numbers; those of the last eight are means over 100 000 random draws.
PUBLISHED = {
    "1v1-normal-0.75": (1, 1, 0.4133),
    "normal_cdf-1v1-normal-0.75": (1, 1, 0.4133),
    "1v1-additive-0.1": (1, 1, 1.7094),
    "1v1-additive-0.75": (1, 1, 0.3333),
    "1v1-bimodal-0.75": (1, 1, 0.4133),
    "wiggly-1v1-normal-0.75": (1, 1, 0.4133),
    "half_cube-1v1-normal-0.75": (1, 1, 0.4133),
    "student-identity-1-1-1": (1, 1, 0.2242),
    "asinh-student-identity-1-1-1": (1, 1, 0.2242),
    "swissroll_x-normal_cdf-1v1-normal-0.75": (2, 1, 0.4133),
    "multinormal-dense-2-2-0.5": (2, 2, 0.2939),
    "multinormal-dense-3-3-0.5": (3, 3, 0.4133),
    "multinormal-dense-5-5-0.5": (5, 5, 0.5928),
    "multinormal-dense-25-25-0.5": (25, 25, 1.2922),
    "multinormal-dense-50-50-0.5": (50, 50, 1.6243),
    "multinormal-sparse-2-2-2-2.0": (2, 2, 1.0217),
    "multinormal-sparse-3-3-2-2.0": (3, 3, 1.0217),
    "multinormal-sparse-5-5-2-2.0": (5, 5, 1.0217),
    "multinormal-sparse-25-25-2-2.0": (25, 25, 1.0217),
    "student-identity-2-2-1": (2, 2, 0.4319),
    "student-identity-2-2-2": (2, 2, 0.1931),
    "student-identity-3-3-2": (3, 3, 0.2909),
    "student-identity-3-3-3": (3, 3, 0.1787),
    "student-identity-5-5-2": (5, 5, 0.4482),
    "student-identity-5-5-3": (5, 5, 0.2985),
    "normal_cdf-multinormal-sparse-3-3-2-2.0": (3, 3, 1.0217),
    "normal_cdf-multinormal-sparse-5-5-2-2.0": (5, 5, 1.0217),
    "normal_cdf-multinormal-sparse-25-25-2-2.0": (25, 25, 1.0217),
    "half_cube-multinormal-sparse-3-3-2-2.0": (3, 3, 1.0217),
    "half_cube-multinormal-sparse-5-5-2-2.0": (5, 5, 1.0217),
    "half_cube-multinormal-sparse-25-25-2-2.0": (25, 25, 1.0217),
    "spiral-multinormal-sparse-3-3-2-2.0": (3, 3, 1.0217),
    "spiral-multinormal-sparse-5-5-2-2.0": (5, 5, 1.0217),
    "spiral-multinormal-sparse-25-25-2-2.0": (25, 25, 1.0217),
    "spiral-normal_cdf-multinormal-sparse-3-3-2-2.0": (3, 3, 1.0217),
    "spiral-normal_cdf-multinormal-sparse-5-5-2-2.0": (5, 5, 1.0217),
    "spiral-normal_cdf-multinormal-sparse-25-25-2-2.0": (25, 25, 1.0217),
    "asinh-student-identity-2-2-1": (2, 2, 0.4319),
    "asinh-student-identity-3-3-2": (3, 3, 0.2909),
    "asinh-student-identity-5-5-2": (5, 5, 0.4482),
    "1v1-X-0.9": (1, 1, 0.4088),
    "1v1-AI": (1, 1, 0.7775),
    "2v1-waves-12-5.0-3.0": (2, 1, 1.3080),
    "2v1-galaxy-0.5-3.0": (2, 1, 0.4933),
    "3v1-concentric_gaussians-5": (3, 1, 0.4563),
    "5v1-concentric_gaussians-5": (5, 1, 0.6261),
    "mult-sparse-w-inliers-5-5-2-2.0-0.2": (5, 5, 0.6335),
    "mult-sparse-w-inliers-5-5-2-2.0-0.5": (5, 5, 0.2682),
}
TASKS = simulate.benchmark_tasks()


def test_names_and_dimensions():
    assert list(TASKS) == list(PUBLISHED)
    assert {name: task.dimensions for name, task in TASKS.items()} == {
        name: (dx, dy) for name, (dx, dy, _) in PUBLISHED.items()
    }


def test_truths_in_closed_form():
    for name, (*_, published) in list(PUBLISHED.items())[:40]:
        assert abs(float(TASKS[name].mutual_information) - published) < 6e-5, name
        assert float(TASKS[name].standard_error) == 0


@pytest.mark.parametrize("name", simulate.BEND_AND_MIX)
def test_truths_of_the_second_version(name):
    # Theirs has the error of 1e5 draws of a log ratio whose spread is below 1.3: 4 of those.
    value, error = _information(TASKS[name])
    assert error < 1e-4
    assert abs(float(value) - PUBLISHED[name][2]) < 4 * 1.3 / np.sqrt(1e5)


def ranks(columns):
    return scipy.stats.rankdata(np.asarray(columns), axis=0)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("names", simulate.EQUAL_RANKS)
def test_equal_in_ranks(names):
    # In float64: in float32 the normal distribution function ties its largest values.
    tasks = simulate.benchmark_tasks()
    first, *others = (tasks[name].sample(jax.random.key(0), 300) for name in names)
    for other in others:
        for one, two in zip(first, other, strict=True):
            np.testing.assert_array_equal(ranks(one), ranks(two))
            assert not np.allclose(one, two)


def test_the_distinct_tasks_are_distinct():
    assert len(set(simulate.DISTINCT)) == 21
    assert len(simulate.BEND_AND_MIX) == 8
    for names in simulate.EQUAL_RANKS:
        assert len(set(names) & set(simulate.DISTINCT)) <= 1
    for name in simulate.DISTINCT:
        assert max(TASKS[name].dimensions) <= 5
    assert {name: len(group) for name, group in simulate.GROUPS.items()} == {
        "one-dimensional": 10, "multinormal": 6, "student": 6, "spiral": 4, "v2": 8,
    }  # fmt: skip


def test_every_task_can_be_drawn():
    small = [name for name in TASKS if max(PUBLISHED[name][:2]) <= 5]
    assert len(small) == 41
    for name in small:
        x, y = TASKS[name].sample(jax.random.key(1), 300)
        assert (x.shape, y.shape) == tuple((300, d) for d in PUBLISHED[name][:2])
        assert np.isfinite(x).all(), name
        assert np.isfinite(y).all(), name


def test_held_out():
    uniform = simulate.AdditiveUniform(0.4)
    rolled = simulate.Transformed(uniform, of_x=simulate.SwissRoll())
    assert simulate.held_out(rolled) == "swiss_roll"
    assert simulate.held_out(uniform) is None
    for name, task in TASKS.items():
        reason = simulate.held_out(task)
        assert reason in simulate.HELD_OUT
        if name not in ("2v1-waves-12-5.0-3.0", "swissroll_x-normal_cdf-1v1-normal-0.75"):
            assert reason == name
    crossed = TASKS["1v1-X-0.9"]
    cheaper = simulate.Mixture(crossed.weights, crossed.means, crossed.covariances, dx=1, draws=64)
    assert simulate.held_out(cheaper) == "1v1-X-0.9"
