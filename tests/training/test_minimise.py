"""Training: the trajectory, and each way in which it can end."""

import io
import signal

import chex
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from estimators import training
from estimators.testing import refuses

KEY = jax.random.key(7)
ADAM = optax.adam(0.05)


def noisy_regression(parameters, data, key):
    """A loss that uses its key, so that a wrong key sequence shows."""
    rows = training.batch(data, key, 8)
    prediction = jnp.tanh(rows["x"] @ parameters["first"]) @ parameters["second"]
    return jnp.mean((prediction - rows["y"]) ** 2)


def full_regression(parameters, data, key):
    prediction = jnp.tanh(data["x"] @ parameters["first"]) @ parameters["second"]
    return jnp.mean((prediction - data["y"]) ** 2)


@pytest.fixture
def problem():
    draw = np.random.default_rng(0)
    x = draw.normal(size=(40, 3)).astype(np.float32)
    data = {"x": x, "y": np.sin(x[:, 0]).astype(np.float32)}
    parameters = {
        "first": draw.normal(size=(3, 5)).astype(np.float32),
        "second": np.zeros(5, np.float32),
    }
    return parameters, data


def halves(data):
    return jax.tree.map(lambda a: a[:20], data), jax.tree.map(lambda a: a[20:], data)


def run(problem, **options):
    parameters, data = problem
    settings = {"key": KEY, "steps": 250, "optimiser": ADAM, "chunk": 40} | options
    return training.minimise(noisy_regression, parameters, data, **settings)


def interrupt_after(step):
    def progress(report):
        if report.step >= step:
            raise KeyboardInterrupt

    return progress


def assert_same_bits(one, other):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b), strict=True)


def test_equals_a_plain_optax_loop(problem):
    parameters, data = jax.tree.map(jnp.asarray, problem)
    state = ADAM.init(parameters)
    losses = []
    for step in range(60):
        value, gradient = jax.value_and_grad(noisy_regression)(
            parameters, data, jax.random.fold_in(KEY, step)
        )
        updates, state = ADAM.update(gradient, state, parameters)
        parameters = optax.apply_updates(parameters, updates)
        losses.append(value)
    result = run(problem, steps=60)
    np.testing.assert_allclose(result.history.training, losses, rtol=2e-4)
    chex.assert_trees_all_close(result.parameters, parameters, rtol=2e-3, atol=2e-4)
    assert result.status == "finished"
    assert result.steps == result.best_step == 60


@pytest.mark.parametrize("chunk", [1, 7, 40, 249, 250, 1000])
def test_trajectory_does_not_depend_on_the_chunk(problem, chunk):
    reference, result = run(problem, chunk=100), run(problem, chunk=chunk)
    assert_same_bits(reference.parameters, result.parameters)
    assert_same_bits(reference.history.training, result.history.training)


@pytest.mark.parametrize("stop", [1, 41, 80, 201])
@pytest.mark.parametrize("validated", [False, True])
def test_resumed_run_equals_an_uninterrupted_one(problem, tmp_path, stop, validated):
    parameters, data = problem
    train, held_out = halves(data)
    options = {"validation": held_out, "validation_loss": full_regression, "patience": 6}
    options = options if validated else {}
    path = tmp_path / "run.safetensors"
    whole = run((parameters, train), **options)
    first = run((parameters, train), checkpoint=path, progress=interrupt_after(stop), **options)
    assert first.status == "interrupted"  # and not ended by itself
    assert stop <= first.steps < 250
    second = run((parameters, train), checkpoint=path, **options)
    assert second.status == whole.status
    assert_same_bits(whole, second)


def test_early_stopping_resumes_with_its_patience(tmp_path):
    # The training optimum lies beyond the validation optimum, so the validation loss falls
    # and then rises for good; the run stops exactly `patience` chunks after its least value.
    def loss(theta, target, key):
        return (theta - target) ** 2

    def train(**options):
        return training.minimise(
            loss, jnp.zeros(()), jnp.asarray(2.0), key=KEY, steps=400, chunk=10,
            optimiser=optax.sgd(0.005), validation=jnp.asarray(1.0), patience=4, **options,
        )  # fmt: skip

    whole = train()
    assert whole.status == "stopped early"
    best = int(np.nanargmin(whole.history.validation))
    assert whole.best_step == 10 * (best + 1)
    assert whole.steps == whole.best_step + 40
    assert np.isnan(whole.history.validation[best + 5 :]).all()
    assert abs(whole.parameters - 1) < 0.06
    for stop in (int(whole.best_step) - 20, int(whole.best_step), int(whole.best_step) + 20):
        path = tmp_path / f"{stop}.safetensors"
        assert train(checkpoint=path, progress=interrupt_after(stop)).status == "interrupted"
        assert_same_bits(whole, train(checkpoint=path))
        assert_same_bits(whole, train(checkpoint=path))


def test_more_steps_continue_a_finished_run(problem, tmp_path):
    path = tmp_path / "run.safetensors"
    run(problem, steps=90, checkpoint=path)
    assert_same_bits(run(problem, steps=250), run(problem, steps=250, checkpoint=path))
    with pytest.raises(ValueError, match="steps must be at least 250"):
        run(problem, steps=90, checkpoint=path)


def test_checkpoint_of_another_problem_is_refused(problem, tmp_path):
    _, data = problem
    path = tmp_path / "run.safetensors"
    run(problem, steps=40, checkpoint=path)
    wider = {
        "first": np.zeros((3, 6), np.float32),
        "second": np.zeros(6, np.float32),
    }
    with pytest.raises(ValueError, match=r"another problem.*\(3, 5\)"):
        run((wider, data), checkpoint=path)
    with pytest.raises(ValueError, match=r"another problem.*optimiser"):
        run(problem, checkpoint=path, optimiser=optax.sgd(0.1))
    with pytest.raises(ValueError, match="another key"):
        run(problem, checkpoint=path, key=jax.random.key(8))
    with pytest.raises(ValueError, match="existing folder"):
        run(problem, checkpoint=tmp_path / "absent" / "run.safetensors")
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match="not a safetensors file"):
        run(problem, checkpoint=path)


def test_control_c_returns_the_last_good_state(problem, tmp_path):
    path = tmp_path / "run.safetensors"

    def press(report):
        if report.step == 80:
            signal.raise_signal(signal.SIGINT)

    result = run(problem, checkpoint=path, progress=press)
    # The flag is read after the chunk that was running when the key was pressed.
    assert result.status == "interrupted"
    assert result.steps == 120
    assert_same_bits(run(problem, steps=120).parameters, result.parameters)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert_same_bits(run(problem), run(problem, checkpoint=path))


def test_second_control_c_interrupts_at_once(problem):
    def press_twice(report):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("the second signal must raise")

    assert run(problem, progress=press_twice).status == "interrupted"


@pytest.mark.parametrize("chunk", [1, 6, 100])
def test_divergence_keeps_the_last_good_parameters(chunk):
    # theta runs 0, 1, 2, ...; the loss is infinite from theta = 10 on.
    def loss(theta, data, key):
        return jnp.where(theta < 9.5, -theta, jnp.inf)

    result = training.minimise(
        loss, jnp.zeros(()), key=KEY, steps=100, optimiser=optax.sgd(1.0), chunk=chunk
    )
    assert result.status == "diverged"
    assert result.parameters == 9
    assert result.best_step == 9
    np.testing.assert_array_equal(result.history.training[:10], -jnp.arange(10.0))
    assert result.history.training[10] == jnp.inf
    assert np.isnan(result.history.training[11:]).all()


def test_divergence_of_the_gradient_alone_keeps_the_last_good_parameters():
    # sqrt(0) is finite and its derivative is not.
    def loss(theta, data, key):
        return jnp.sum(jnp.sqrt(theta))

    result = training.minimise(loss, jnp.zeros(2), key=KEY, steps=5)
    assert result.status == "diverged"
    assert result.steps == result.best_step == 0
    np.testing.assert_array_equal(result.parameters, jnp.zeros(2))


def test_new_data_of_equal_shape_do_not_retrace(problem):
    parameters, data = problem

    @chex.assert_max_traces(4)
    def counted(parameters, data, key):
        counted.traces += 1
        return full_regression(parameters, data, key)

    counted.traces = 0

    def train(data, steps):
        return training.minimise(
            counted, parameters, data, key=KEY, steps=steps, chunk=30, optimiser=ADAM,
            validation=data,
        )  # fmt: skip

    first = train(data, 100)
    traced = counted.traces
    other = train(jax.tree.map(lambda a: a + np.float32(0.1), data), 70)
    assert counted.traces == traced
    assert not np.array_equal(first.parameters["second"], other.parameters["second"])


def test_equinox_modules_are_parameters(problem):
    _, data = problem
    network = eqx.nn.MLP(3, "scalar", 8, 1, activation=jnp.tanh, key=KEY)

    def loss(network, data, key):
        return jnp.mean((jax.vmap(network)(data["x"]) - data["y"]) ** 2)

    result = training.minimise(loss, network, data, key=KEY, steps=300, optimiser=ADAM)
    assert result.history.training[-1] < 0.1 * result.history.training[0]
    assert result.parameters.activation is network.activation
    assert jax.vmap(result.parameters)(jnp.asarray(data["x"])).shape == (40,)
    # The caller's own arrays were not donated.
    assert np.isfinite(network.layers[0].weight).all()


def test_integer_leaves_reach_the_loss_untouched():
    def loss(parameters, data, key):
        return jnp.sum((parameters["value"] - parameters["target"]) ** 2)

    parameters = {"value": jnp.zeros(2), "target": jnp.asarray([1, 2])}
    result = training.minimise(loss, parameters, key=KEY, steps=200, optimiser=optax.adam(0.1))
    np.testing.assert_array_equal(result.parameters["target"], [1, 2])
    np.testing.assert_allclose(result.parameters["value"], [1, 2], atol=1e-2)


def test_lbfgs_works():
    def loss(theta, data, key):
        return jnp.sum((theta - data) ** 2 * jnp.asarray([1.0, 100.0]))

    target = jnp.asarray([3.0, -2.0])
    result = training.minimise(
        loss, jnp.zeros(2), target, key=KEY, steps=25, optimiser=optax.lbfgs()
    )
    np.testing.assert_allclose(result.parameters, target, rtol=1e-4)


@pytest.mark.usefixtures("x64")
def test_float64_stays_float64(problem):
    parameters, data = jax.tree.map(lambda a: a.astype(np.float64), problem)
    result = run((parameters, data), steps=10)
    assert result.parameters["first"].dtype == result.history.training.dtype == jnp.float64


def test_reports(problem):
    reports = []
    run(problem, progress=reports.append, validation=problem[1])
    assert [report.step for report in reports] == [40, 80, 120, 160, 200, 240, 250]
    assert [report.status for report in reports] == ["running"] * 6 + ["finished"]
    assert reports[0].rate is None
    assert reports[-1].seconds_left == 0
    assert all(np.isfinite(report.validation_loss) for report in reports)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_printer_overwrites_its_line_on_a_terminal_only():
    long = training.Report(10, 1000, 0.123456789, 0.5, 20.0, 3725.0, "running")
    last = training.Report(1000, 1000, 0.1, None, 20.0, 0.0, "finished")
    terminal, log = Terminal(), io.StringIO()
    for stream in (terminal, log):
        printer = training.Printer(stream)
        printer._printed -= 100
        for report in (long, long, last):
            printer(report)
    lines = [
        "step 10/1000  loss 0.123457  validation 0.5  20.0 steps/s  1:02:05 left",
        "step 1000/1000  loss 0.1  20.0 steps/s  finished",
    ]
    assert log.getvalue() == "".join(line + "\n" for line in lines)
    assert terminal.getvalue() == f"\r{lines[0]}\r{lines[1].ljust(len(lines[0]))}\n"


def test_progress_true_prints_to_stderr(problem, capsys):
    run(problem, progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.endswith("finished\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps must be a whole number >= 1; got 0"),
        ({"chunk": 0}, "chunk must be a whole number >= 1; got 0"),
        ({"patience": 3}, "patience=3 needs validation data"),
        ({"key": jnp.zeros(2, jnp.uint32)}, "key must be a new-style key"),
        ({"progress": 3}, "progress must be None, True or a callable"),
    ],
)
def test_bad_options_are_refused(problem, options, message):
    with refuses(message):
        run(problem, **options)


def test_bad_losses_and_parameters_are_refused():
    with pytest.raises(ValueError, match=r"loss must return a real scalar; got shape \(2,\)"):
        training.minimise(lambda p, data, key: p, jnp.zeros(2), key=KEY, steps=1)
    with pytest.raises(ValueError, match=r"parameters must hold a float array.*\['int'\]"):
        training.minimise(lambda p, data, key: 0.0, [1, 2], key=KEY, steps=1)


def test_batch_draws_whole_rows_evenly():
    # Each of 10 rows is drawn 1000 times in expectation, with a standard deviation of 30:
    # 5 of them in either direction, in any of 10 rows, happens with probability < 1e-5.
    data = {"x": jnp.arange(10), "y": jnp.stack([jnp.arange(10), -jnp.arange(10)], 1)}
    drawn = training.batch(data, KEY, 10_000)
    np.testing.assert_array_equal(drawn["y"], jnp.stack([drawn["x"], -drawn["x"]], 1))
    assert np.abs(np.bincount(np.asarray(drawn["x"]), minlength=10) - 1000).max() < 150
    with pytest.raises(ValueError, match="share their n"):
        training.batch({"x": jnp.zeros(3), "y": jnp.zeros(4)}, KEY, 2)


def test_steps_grow_beyond_a_chunk(tmp_path):
    """The first run is shorter than a chunk, and has validation data."""

    def call(steps, path):
        return training.minimise(
            lambda p, data, key: jnp.sum((p - data) ** 2), jnp.zeros(2), jnp.ones(2),
            key=jax.random.key(0), steps=steps, validation=jnp.ones(2), checkpoint=path,
        )  # fmt: skip

    call(30, tmp_path / "a")
    resumed, whole = call(150, tmp_path / "a"), call(150, tmp_path / "b")
    np.testing.assert_array_equal(resumed.parameters, whole.parameters)


def test_what_cannot_be_trained_is_refused():
    def call(data=None, dtype=jnp.float32, **options):
        def loss(p, data, key):
            return jnp.sum(jnp.abs(p) ** 2)

        parameters = jnp.zeros(2, dtype)
        training.minimise(loss, parameters, data, key=jax.random.key(0), steps=1, **options)

    with refuses("parameters must be real; some are complex"):
        call(dtype=jnp.complex64)
    with refuses("data must hold whole numbers of 32 bits"):
        call(data=np.array([2**40]))
    with refuses("optimiser must be an optax optimiser"):
        call(optimiser=0.1)
