"""Two processes give the numbers of one device; when one is lost, the run ends and says so."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from computations import COMPUTATIONS, training_by

from estimators import sharding

WORKER = Path(__file__).with_name("worker.py")
EXAMPLE = Path(__file__).parents[2] / "examples" / "processes.py"
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
SECONDS_TO_NOTICE = 20
ALL = [f"{dtype}: {name}" for dtype in TOLERANCE for name in COMPUTATIONS]
# And training, by what is left of the run of which one process is killed.
KINDS = ("conformal quantile", "KSG", "Gaussian", "mixture")
EACH_KIND = [f"{dtype}: {name}" for dtype in TOLERANCE for name in KINDS]
EACH_KIND += ["float32: density, scott", "float64: density, loo"]
REST = [asked for asked in ALL if asked not in EACH_KIND]


def free_address():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def start(task, folder, *names, timeout=60, indices=(0, 1)):
    """The processes of a run, of two devices each, and each a leader of its own group."""
    flags = "--xla_force_host_platform_device_count=2"
    if jax.__version_info__ < (0, 11):
        flags += " --xla_cpu_use_fusion_emitters=false"
    environment = os.environ | {
        "ESTIMATORS_ADDRESS": free_address(),
        "ESTIMATORS_PROCESS_COUNT": "2",
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": flags,
        "JAX_NUM_CPU_DEVICES": "-1",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "JAX_NUMPY_RANK_PROMOTION": "raise",
    }
    return [
        subprocess.Popen(
            [sys.executable, str(WORKER), task, str(timeout), str(folder), *names],
            env=environment | {"ESTIMATORS_PROCESS_INDEX": str(index)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        for index in indices
    ]


@contextlib.contextmanager
def run(*arguments, **options):
    """Start them, and leave none behind whatever happens."""
    processes = start(*arguments, **options)
    try:
        yield processes
    finally:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def output_of(process, seconds=240):
    return process.communicate(timeout=seconds)[0]


def nothing_is_left(process):
    """Neither the process nor one that it started."""
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """The two long runs, at once: one computes while the other waits for one that is lost."""
    folders = [tmp_path_factory.mktemp(name) for name in ("computed", "killed")]
    with (
        run("compute", folders[0], *EACH_KIND) as computing,
        run("killed_while_training", folders[1], timeout=SECONDS_TO_NOTICE) as killed,
    ):
        yield (computing, folders[0]), (killed, folders[1])


def numbers_of(processes, folder):
    """What each of the processes computed."""
    for process in processes:
        printed = output_of(process)
        assert process.returncode == 0, printed
        assert "ended as it should" in printed
        nothing_is_left(process)
    return [np.load(folder / f"{index}.npz") for index in range(len(processes))]


@pytest.fixture(scope="module")
def killed(started):
    """What is left of a run of which one process was killed, and how the other ended."""
    (first, second), folder = started[1]
    second.wait(timeout=240)
    before = time.monotonic()
    printed = output_of(first)
    seconds = time.monotonic() - before
    assert second.returncode == -signal.SIGKILL, output_of(second)
    for process in (first, second):
        nothing_is_left(process)
    return folder / "run.safetensors", first.returncode, printed, seconds


@pytest.fixture(scope="module")
def computed(started):
    return numbers_of(*started[0])


@pytest.fixture(scope="module")
def computed_too(tmp_path_factory):
    folder = tmp_path_factory.mktemp("computed")
    with run("compute", folder, *REST) as processes:
        return numbers_of(processes, folder)


def agrees_with_one_device(found, asked):
    dtype, name = asked.split(": ")
    with jax.enable_x64(dtype == "float64"):
        expected = jax.tree.leaves(COMPUTATIONS[name](lambda tree: tree, np.dtype(dtype)))
    for place, other in enumerate(map(np.asarray, expected)):
        scale = max(1.0, float(np.max(np.abs(other[np.isfinite(other)]), initial=0)))
        for numbers in found:
            got = numbers[f"{asked}, {place}"]
            assert got.dtype == other.dtype
            np.testing.assert_allclose(got, other, rtol=0, atol=TOLERANCE[dtype] * scale)


def test_a_killed_process_ends_the_run_with_a_message_in_time(killed):
    _, code, printed, seconds = killed
    assert code != 0
    assert "process 1 of 2 was lost: no sign of life for 20 s" in printed
    assert "process 0 of 2 ends here" in printed
    assert "ended as it should" not in printed
    assert seconds < SECONDS_TO_NOTICE + 5


@pytest.mark.parametrize("asked", EACH_KIND)
def test_two_processes_give_the_numbers_of_one_device(asked, computed):
    agrees_with_one_device(computed, asked)


@pytest.mark.thorough
@pytest.mark.parametrize("asked", REST)
def test_of_every_kind_too(asked, computed_too):
    agrees_with_one_device(computed_too, asked)


@pytest.mark.parametrize("devices", [1, 4])
def test_training_resumes_from_what_is_left_on_other_devices(killed, devices, tmp_path, x64):
    path = tmp_path / "run.safetensors"
    shutil.copy(killed[0], path)
    steps = []
    mesh = sharding.mesh(jax.devices()[:devices])
    put = (lambda tree: sharding.split(tree, mesh)) if devices > 1 else (lambda tree: tree)
    resume = training_by(30, checkpoint=path, progress=lambda report: steps.append(report.step))
    got, expected = resume(put, np.float64), training_by(30)(lambda tree: tree, np.float64)
    assert steps[0] in (10, 15)  # it was killed at 10, with the last checkpoint at 5 or 10
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)


def test_in_float32_a_run_of_two_devices_resumes_on_four_and_on_one(tmp_path):
    expected = training_by(30)(lambda tree: tree, np.float32)
    for devices in (4, 1):
        options = {"checkpoint": tmp_path / f"{devices}.safetensors"}
        for steps, count in ((10, 2), (20, devices)):
            mesh = sharding.mesh(jax.devices()[:count])
            got = training_by(30, steps, **options)(lambda t: sharding.split(t, mesh), np.float32)  # noqa: B023
        for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


def test_an_error_in_one_process_is_told_to_the_others(tmp_path):
    with run("failing", tmp_path) as processes:
        first, second = (output_of(process, 120) for process in processes)
        assert [process.returncode for process in processes] == [1, 1]
        assert "ValueError: a row is not a number" in second
        assert "process 1 of 2 failed with ValueError: a row is not a number" in first
        for process in processes:
            nothing_is_left(process)


def test_a_process_that_waits_for_others_in_vain_says_so(tmp_path):
    with run("alone", tmp_path, timeout=2, indices=(0,)) as (process,):
        printed = output_of(process, 60)
        assert process.returncode == 1
        assert "after 2 s not all 2 processes have joined at 127.0.0.1:" in printed


def test_the_launcher_of_the_example_says_who_ended_and_leaves_none():
    command = [sys.executable, str(EXAMPLE)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as launcher:
        listed = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children")
        if not listed.exists():
            launcher.kill()
            pytest.skip("needs the list of child processes in /proc")
        while len(children := [int(child) for child in listed.read_text().split()]) < 2:
            assert launcher.poll() is None
            time.sleep(0.05)
        os.kill(children[1], signal.SIGKILL)
        errors = launcher.communicate(timeout=60)[1]
        assert launcher.returncode == 1
        assert "process 1 of 2 ended by signal 9; so do all" in errors
        for child in children:
            with pytest.raises(ProcessLookupError):
                os.kill(child, 0)


def test_one_process_alone_needs_nothing():
    with sharding.processes(count=1) as index:
        assert index == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("10.0.0.1", 2, 0), r"address must be host:port .*; got '10.0.0.1'"),
        (("10.0.0.1:http", 2, 0), r"address must be host:port .*; got '10.0.0.1:http'"),
        (("10.0.0.1:99999", 2, 0), r"address must be host:port"),
        (("10.0.0.1:9876", 0, 0), r"count must be a whole number >= 1; got 0"),
        (("10.0.0.1:9876", 2, -1), r"index must be a whole number >= 0; got -1"),
        (("10.0.0.1:9876", 2, 2), r"index must be less than count=2.*got 2"),
    ],
)
def test_bad_arguments_are_refused(arguments, says):
    with pytest.raises(ValueError, match=says), sharding.processes(*arguments):
        pass


def test_the_environment_is_read_and_checked(monkeypatch):
    monkeypatch.setenv("ESTIMATORS_ADDRESS", "10.0.0.1:9876")
    monkeypatch.setenv("ESTIMATORS_PROCESS_COUNT", "2")
    monkeypatch.setenv("ESTIMATORS_PROCESS_INDEX", "3")
    with pytest.raises(ValueError, match="index must be less than count=2"), sharding.processes():
        pass
    monkeypatch.setenv("ESTIMATORS_PROCESS_INDEX", "first")
    with pytest.raises(ValueError, match=r"PROCESS_INDEX must be a whole number.*'first'"):
        sharding.processes().__enter__()


def test_a_port_that_is_taken_is_named():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(RuntimeError, match=f"cannot listen at address='{address}'.*in use"):
            sharding.processes(address, 2, 0).__enter__()


def test_a_first_process_that_cannot_be_reached_is_named():
    address = free_address()
    with pytest.raises(RuntimeError, match=f"address='{address}', after 1 s: Connection refused"):
        sharding.processes(address, 2, 1, timeout=1).__enter__()


def test_it_is_too_late_once_jax_has_computed():
    jax.devices()
    with pytest.raises(RuntimeError, match="entered before JAX computes anything"):
        sharding.processes(free_address(), 2, 0).__enter__()
