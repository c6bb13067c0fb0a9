"""The command line: exit codes, one sentence on stderr, files whole or not at all."""

import json
import os
import signal
import subprocess
import sys

import jax
import jsonschema
import numpy as np
import pytest

from estimators import report
from estimators.__main__ import main
from estimators.report import _run

from .conftest import rows


@pytest.fixture
def small(table):
    return str(table([["a", "kind", "c"], *([a, "x", c] for a, c in rows(60, 2).tolist())]))


def refused(capsys, code, *arguments):
    """The one sentence with which a call is refused."""
    assert main(["report", *map(str, arguments)]) == code
    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith("estimators: ")
    assert error.count("\n") == 1
    return error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--coverage", "0"], "coverage must lie between 0.001 and 0.99999; got 0"),
        (["--coverage", "1"], "got 1"),
        (["--coverage", "-0.5"], "got -0.5"),
        (["--coverage", "nan"], "got nan"),
        (["--coverage", "inf"], "got inf"),
        (["--coverage", "1e-17"], "got 1e-17"),
        (["--seed", "-1"], "seed must be a whole number from 0 to 4294967295; got -1"),
        (["--seed", str(10**30)], "seed must be"),
        (["--target", "z"], "one of the usable columns (a, c); got 'z'"),
        (["--target", "0"], "got '0'"),
        (["--target", "4"], "got '4'"),
        (["--target", "²"], "got '²'"),
        (["--target", ""], "got ''"),
        (["--target", "kind"], "got 'kind': column 'kind' dropped: 60 of its 60 values are text"),
        (["--target", "2"], "got '2': column 'kind' dropped"),
    ],
)
def test_wrong_options_are_named(capsys, small, options, message):
    assert message in refused(capsys, 2, small, *options)


def test_the_target_may_be_constant_and_is_then_refused(capsys, table):
    path = table([["a", "k"], *([a, 5] for (a,) in rows(60, 1).tolist())])
    assert "column 'k' dropped: it is 5 in all" in refused(capsys, 2, path, "--target", "k")


@pytest.mark.parametrize(
    "options", [["--coverage", "high"], ["--seed", "1.5"], ["--no"], ["a", "b"]]
)
def test_what_argparse_refuses(capsys, options):
    with pytest.raises(SystemExit) as caught:
        main(["report", *options])
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_files_that_cannot_be_read(capsys, tmp_path, table):
    assert "none.csv does not exist" in refused(capsys, 2, tmp_path / "none.csv")
    assert "is a folder" in refused(capsys, 2, tmp_path)
    assert "must end in .csv" in refused(capsys, 2, table("a\n1\n", "table.xlsx"))
    assert "File name too long" in refused(capsys, 2, "n" * 5000 + ".csv")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(capsys, small):
    os.chmod(small, 0)
    assert "Permission denied" in refused(capsys, 2, small)


def test_tables_that_cannot_be_judged(capsys, table):
    assert "is empty" in refused(capsys, 1, table(""))
    assert "has 49 rows and needs 50" in refused(capsys, 1, table([["a"], *rows(49, 1).tolist()]))
    assert "decimal commas" in refused(capsys, 1, table("a;b\n" + "1,5;2,5\n" * 60))
    assert "not an .npz file" in refused(capsys, 1, table(b"hello", "a.npz"))


def test_missing_extras_are_named(capsys, small, monkeypatch):
    monkeypatch.setattr("estimators.__main__._missing_extras", lambda: ["jinja2"])
    assert "needs jinja2: pip install 'estimators[report]'" in refused(capsys, 2, small)


@pytest.fixture
def instant(monkeypatch):
    """Every section skipped: for tests of what is around them."""

    def judge(study):
        return {"skipped": "not of interest here"}

    judges = {name: (what, judge) for name, (what, _) in _run.SECTIONS.items()}
    monkeypatch.setattr(_run, "SECTIONS", judges)
    return judges


@pytest.mark.usefixtures("instant")
def test_out_must_be_a_folder_and_that_is_seen_first(capsys, small, tmp_path, monkeypatch):
    def run(*_, **__):
        raise AssertionError("ran although the report cannot be written")

    monkeypatch.setattr(report, "run", run)
    for out in (small, f"{small}/below/it"):
        assert "is a file; the report needs a folder" in refused(capsys, 2, small, "--out", out)


@pytest.mark.usefixtures("instant")
def test_files_are_written_where_asked_and_nothing_else(capsys, small, tmp_path):
    out = tmp_path / "deep" / "é folder"
    assert main(["report", small, "--out", str(out), "--target", "c", "--quiet"]) == 0
    text, error = capsys.readouterr()
    assert error == ""
    assert str(out / "report.html") in text
    assert sorted(p.name for p in out.iterdir()) == ["report.html", "report.json"]
    written = json.loads((out / "report.json").read_text())
    assert written["settings"] == {"coverage": 0.9, "seed": 0, "target": "c"}


@pytest.mark.usefixtures("instant")
def test_progress_goes_to_stderr(capsys, small, tmp_path):
    assert main(["report", small, "--out", str(tmp_path / "out")]) == 0
    error = capsys.readouterr().err
    assert [line.split("] ")[1][:3] for line in error.splitlines()[:-1]] == [
        f"{i}/4" for i in range(1, 5)
    ]


@pytest.mark.usefixtures("instant")
def test_an_earlier_report_survives_a_failure(small, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    assert main(["report", small, "--out", str(out), "--quiet"]) == 0
    before = {path.name: path.read_text() for path in out.iterdir()}
    capsys.readouterr()

    def full(self, *_, **__):
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr("pathlib.Path.write_text", full)
    error = refused(capsys, 2, small, "--out", out, "--seed", "1", "--quiet")
    assert "No space left on device" in error
    monkeypatch.undo()
    assert {path.name: path.read_text() for path in out.iterdir()} == before


def test_an_interrupt_leaves_nothing(small, tmp_path, monkeypatch, capsys, instant):
    def judge(study):
        raise KeyboardInterrupt

    monkeypatch.setitem(instant, "gaussian", ("interrupted", judge))
    out = tmp_path / "out"
    assert "interrupted; nothing was written" in refused(
        capsys, 130, small, "--out", out, "--quiet"
    )
    assert not out.exists()


def start(*arguments, **options):
    """The command in a process of its own, with the compile cache of the tests."""
    environment = {
        **os.environ,
        "JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
        **options,
    }
    return subprocess.Popen(
        [sys.executable, "-m", "estimators", "report", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    )


@pytest.mark.thorough
def test_end_to_end_on_a_terminal_of_ascii(table, tmp_path):
    path = table([["é", "b"], *rows(60, 2).tolist()], "small.csv")
    process = start(path, "--out", tmp_path / "out", PYTHONIOENCODING="ascii")
    out, error = process.communicate(timeout=300)
    assert process.returncode == 0, error.decode()
    assert error.decode().splitlines()[-1].endswith("] done")
    assert "Traceback" not in error.decode()
    assert "Warning" not in error.decode()
    assert b"HOW DENSE" in out
    written = json.loads((tmp_path / "out" / "report.json").read_text())
    jsonschema.Draft202012Validator(report.schema()).validate(written)
    values = np.genfromtxt(path, delimiter=",", skip_header=1)
    means = [column["mean"] for column in written["table"]["columns"]]
    np.testing.assert_allclose(means, values.mean(0), rtol=1e-12)
    assert (tmp_path / "out" / "report.html").read_text(encoding="utf-8").startswith("<!doctype")


def test_ctrl_c_ends_it_at_once_without_a_trace(small, tmp_path):
    process = start(small, "--out", tmp_path / "out")
    first = process.stderr.readline()
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert first.startswith(b"[")
    assert process.returncode == 130
    assert error.decode().splitlines()[-1] == "estimators: interrupted; nothing was written"
    assert b"Traceback" not in error
    assert out == b""
    assert not (tmp_path / "out").exists()
