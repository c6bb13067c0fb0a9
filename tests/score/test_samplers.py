"""Samplers: order of convergence against the closed-form flow, moments, counts of evaluations."""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from estimators import score
from estimators.testing import refuses

DETERMINISTIC = [
    (score.Euler(), 1, lambda n: n),
    (score.Heun(), 2, lambda n: 2 * n - 1),
    (score.SinglestepDPM(), 2, lambda n: 2 * n - 1),
    (score.MultistepDPM(), 2, lambda n: n),
    (score.UniPC(), 2, lambda n: n),
]


def name(case):
    return type(case[0]).__name__


def gaussian(dtype=np.float64):
    generator = np.random.default_rng(0)
    points = 1 + generator.normal(size=(300, 4)) @ generator.normal(size=(4, 4))
    return score.Gaussian(2).fit(points.astype(dtype))


def mixture():
    generator = np.random.default_rng(0)
    points = generator.normal(size=(400, 3))
    points[:200, 0] += 5
    return score.Mixture(2).fit(points, key=jax.random.key(0))


@pytest.mark.parametrize("case", DETERMINISTIC, ids=name)
@pytest.mark.parametrize("model", ["gaussian", "mixture"])
def test_order_of_convergence(x64, case, model):
    """Twice the steps divide the error by two to the order, or by more."""
    sampler, order, _ = case
    model = gaussian() if model == "gaussian" else mixture()
    start = 10.0 * np.random.default_rng(1).normal(size=(20, model.dimension))
    exact = score.flow(model, start, 10.0, 0.1, steps=400)

    def error(steps):
        levels = np.geomspace(10.0, 0.1, steps + 1)
        got = score.sample(model, start, levels, sampler=sampler).samples
        return float(jnp.sqrt(jnp.mean((got - exact) ** 2)))

    assert np.log2(error(64) / error(128)) > order - 0.25
    assert error(128) < (0.3 if order == 1 else 0.02)


def test_runge_kutta_flow_is_the_closed_form(x64):
    model = gaussian()
    start = 10.0 * np.random.default_rng(1).normal(size=(20, 4))
    exact = model.transport(start, 10.0, 0.1)
    np.testing.assert_allclose(score.flow(model, start, 10.0, 0.1, steps=200), exact, atol=1e-7)
    np.testing.assert_allclose(score.flow(model, exact, 0.1, 10.0, steps=200), start, atol=1e-5)


def test_the_exponential_integrator_is_exact_for_its_gaussian(x64):
    model = gaussian()
    start = 80.0 * np.random.default_rng(1).normal(size=(20, 4))
    sampler = score.GaussianExponential(model)
    got = score.sample(model, start, [80.0, 3.0, 0.01], sampler=sampler).samples
    np.testing.assert_allclose(got, model.transport(start, 80.0, 0.01), atol=1e-10)
    of_mixture = mixture()
    drawn = of_mixture.sample(500, key=jax.random.key(0))
    sampler = score.GaussianExponential(score.Gaussian().fit(drawn))
    start = start[:, :3] / 8
    exact = score.flow(of_mixture, start, 10.0, 0.1, steps=400)
    errors = []
    for steps in (64, 128):
        levels = np.geomspace(10.0, 0.1, steps + 1)
        got = score.sample(of_mixture, start, levels, sampler=sampler).samples
        errors.append(float(jnp.sqrt(jnp.mean((got - exact) ** 2))))
    assert np.log2(errors[0] / errors[1]) > 1.75


@pytest.mark.parametrize("case", DETERMINISTIC, ids=name)
def test_evaluations_are_counted(case):
    """The count of a model that counts, not of a formula."""
    sampler, _, expected = case
    calls = []

    class Counting(score.ScoreModel):
        @property
        def dimension(self):
            return 2

        def denoise(self, x, sigma):
            jax.debug.callback(lambda s: calls.append(float(s)), jnp.max(jnp.asarray(sigma)))
            return 0.5 * x

    result = score.sample(Counting(), jnp.ones((3, 2)), score.edm_schedule(6), sampler=sampler)
    jax.effects_barrier()
    assert result.evaluations == expected(6) == len(calls)
    noised = score.sample(Counting(), jnp.ones((3, 2)), [2.0, 1.0, 0.5], sampler=sampler)
    extra = {"UniPC": 3, "Euler": 2, "MultistepDPM": 2}.get(type(sampler).__name__, 4)
    assert noised.evaluations == extra


@pytest.mark.parametrize("sampler", [score.EulerMaruyama(), score.Ancestral()], ids=str)
def test_stochastic_samplers_have_the_moments_of_their_recursion(sampler):
    """For one Gaussian mode a step is linear: its variance is known. Five standard errors."""
    points = 2.0 * jax.random.normal(jax.random.key(0), (500, 1))
    model = score.Gaussian().fit(points)
    variance = float(model.eigenvalues[0])
    levels = np.geomspace(20.0, 0.5, 16)
    expected = levels[0] ** 2
    for before, after in itertools.pairwise(levels):
        lost = before**2 - after**2
        if isinstance(sampler, score.EulerMaruyama):
            factor, added = 1 - lost / (variance + before**2), lost
        else:
            gain = variance / (variance + before**2)
            factor = gain + (after / before) ** 2 * (1 - gain)
            added = after**2 * lost / before**2
        expected = factor**2 * expected + added
    n = 40_000
    start = model.mean[None] + 20.0 * jax.random.normal(jax.random.key(1), (n, 1))
    got = score.sample(model, start, levels, sampler=sampler, key=jax.random.key(2)).samples
    spread = float(jnp.var(got))
    assert abs(spread / expected - 1) < 5 * (2 / n) ** 0.5
    assert abs(float(jnp.mean(got - model.mean[None]))) < 5 * (spread / n) ** 0.5


@pytest.mark.thorough
def test_stochastic_heun_without_churn_is_heun_and_with_it_keeps_the_law():
    model = gaussian(np.float32)
    start = model.sample(20_000, 10.0, key=jax.random.key(1))
    levels = np.geomspace(10.0, 0.5, 30)
    still = score.sample(
        model, start, levels, sampler=score.StochasticHeun(0.0), key=jax.random.key(2)
    ).samples
    plain = score.sample(model, start, levels).samples
    np.testing.assert_allclose(still, plain, atol=1e-4)
    churned = score.sample(
        model, start, levels, sampler=score.StochasticHeun(0.2), key=jax.random.key(2)
    ).samples
    assert float(jnp.abs(churned - plain).mean()) > 0.1
    covariance = (model.basis * model.eigenvalues[None]) @ model.basis.T
    covariance += (model.floor) * (jnp.eye(4) - model.basis @ model.basis.T) + 0.25 * jnp.eye(4)
    # Four numbers, five standard errors, and 1 % for the steps.
    ratio = jnp.var(churned, axis=0) / jnp.diagonal(covariance)
    assert (jnp.abs(ratio - 1) < 5 * (2 / 20_000) ** 0.5 + 0.01).all()


def test_schedules_end_where_they_should():
    for schedule in (score.edm_schedule, score.log_uniform_schedule, score.cosine_schedule):
        levels = schedule(18)
        assert levels[0] == 80.0
        assert levels[-2] == 0.002
        assert levels[-1] == 0.0
        assert (np.diff(levels) < 0).all()
    tail = score.edm_schedule(18)[6:]
    again = score.edm_schedule(12, sigma_max=float(tail[0]))
    np.testing.assert_allclose(again, tail, rtol=1e-9)


def test_one_program_for_every_model_of_one_shape():
    first, second = gaussian(np.float32), gaussian(np.float32)
    levels = score.edm_schedule(8)

    @jax.jit
    @chex.assert_max_traces(1)
    def run(model, start):
        return score.sample(model, start, levels, sampler=score.UniPC()).samples

    start = jnp.ones((3, 4))
    np.testing.assert_allclose(run(first, start), run(second, 2 * start / 2))


def test_under_vmap_and_grad(x64):
    model = gaussian()

    def run(start):
        return score.sample(model, start, score.edm_schedule(8), sampler=score.UniPC()).samples

    start = np.random.default_rng(0).normal(size=(2, 3, 4))
    np.testing.assert_allclose(jax.vmap(run)(start), run(start), atol=1e-10)
    check_grads(run, (start[0],), order=1, modes=["rev"], rtol=1e-6)


def test_a_start_of_another_precision_keeps_it(x64):
    model = gaussian()
    start = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    result = score.sample(model, start, score.edm_schedule(4), sampler=score.UniPC())
    assert result.samples.dtype == np.float32
    noise = score.initial_noise(
        2, gaussian(np.float32), score.edm_schedule(4), key=jax.random.key(0)
    )
    assert noise.dtype == np.float32


def test_many_small_steps_keep_their_digits():
    """UniPC's weights are differences that cancel in float32; of a thousand steps only their own
    roundings may show, 1000 times 5 times 6e-8 at most.
    """
    model = gaussian(np.float32)
    start = model.sample(50, 2.0, key=jax.random.key(0))
    levels = np.geomspace(2.0, 1.0, 1000)
    got = score.sample(model, start, levels, sampler=score.UniPC()).samples
    np.testing.assert_allclose(got, model.transport(start, 2.0, 1.0), atol=3e-4)


def test_trajectory_and_guidance():
    model = gaussian(np.float32)
    start = 80.0 * jax.random.normal(jax.random.key(0), (5, 4))
    levels = score.edm_schedule(6)
    result = score.sample(model, start, levels, trajectory=True)
    assert result.trajectory.shape == (7, 5, 4)
    np.testing.assert_array_equal(result.trajectory[0], start)
    np.testing.assert_array_equal(result.trajectory[-1], result.samples)
    clipped = score.sample(
        model, start, levels, guidance=lambda clean, x, sigma: jnp.clip(clean, -1, 1)
    )
    assert float(jnp.abs(clipped.samples).max()) <= 1


def test_bad_input_is_refused():
    model = gaussian(np.float32)
    start = jnp.ones((2, 4))
    with refuses(r"sigmas must decrease strictly.*sigmas\[0\] is 1 and sigmas\[1\] is 2"):
        score.sample(model, start, [1.0, 2.0, 0.0])
    with refuses("sigmas must not be negative"):
        score.sample(model, start, [1.0, -1.0])
    with refuses("sigmas must be finite"):
        score.sample(model, start, [jnp.nan, 1.0])
    with refuses("two or more"):
        score.sample(model, start, [1.0])
    with refuses("gaussian must be a FittedGaussian"):
        score.GaussianExponential(score.Empirical().fit(start))
    with refuses("start must have shape"):
        score.sample(model, jnp.ones((2, 3)), score.edm_schedule(4))
    with refuses("key must be given: Ancestral adds noise"):
        score.sample(model, start, score.edm_schedule(4), sampler=score.Ancestral())
    with refuses("sigma_min must be below sigma_max = 1.0, and not negative; got 2.0"):
        score.StochasticHeun(sigma_min=2.0, sigma_max=1.0)
    with refuses("sampler must be one"):
        score.sample(model, start, score.edm_schedule(4), sampler="heun")
    with refuses("model must be a fitted score model"):
        score.sample(lambda x, s: x, start, score.edm_schedule(4))
    with refuses("known when the sampler is compiled"):
        jax.jit(lambda s: score.sample(model, start, s).samples)(jnp.array([2.0, 1.0]))
    with refuses("sigma_min must be below"):
        score.edm_schedule(4, sigma_min=3.0, sigma_max=1.0)


def test_rows_split_over_devices_give_the_same_samples():
    """Sampling is row by row: sharded noise stays sharded, and the numbers are those of one."""
    model = gaussian(np.float32)
    levels = score.edm_schedule(6)
    start = 80.0 * jax.random.normal(jax.random.key(0), (16, 4))
    mesh = jax.make_mesh((8,), ("rows",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("rows"))
    split = score.sample(model, jax.device_put(start, rows), levels, sampler=score.UniPC())
    whole = score.sample(model, start, levels, sampler=score.UniPC())
    np.testing.assert_allclose(split.samples, whole.samples, rtol=1e-5, atol=1e-5)
    assert len(split.samples.sharding.device_set) == 8
