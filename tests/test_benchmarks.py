"""The harness of the benchmarks on made-up cases, and the tables that its JSON file gives."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from benchmarks.cases import FAMILIES
from benchmarks.harness import growth_page, page, readme, summary
from benchmarks.harness.case import EXACT, LIBRARIES, OURS, ROOFLINE, load
from benchmarks.harness.exponents import exponent, of_memory, of_time
from benchmarks.harness.progress import Progress
from benchmarks.harness.run import Driver, difference, family

ROOT = Path(__file__).parents[1]
MODULE = """
import os
import time
from pathlib import Path

import numpy as np

from benchmarks.harness.case import Case, Contender, Growth

CALLS = Path(__file__).with_suffix(".calls")


def made(n):
    return {"x": np.arange(float(n)), "n": n}


def summing(name, error=0.0, seconds=0.06):
    def prepare(data):
        def call():
            with CALLS.open("a") as file:
                file.write(name + " ")
            time.sleep(seconds)
            return data["x"].sum() + error

        return call

    return prepare


def raising(data):
    raise RuntimeError("no such luck")


def dying(data):
    os._exit(3)


def hanging(data):
    time.sleep(60)


def growing(data):
    def call():
        time.sleep(5e-3 * data["n"])
        return np.ones(500_000 * data["n"]).sum()

    return call


def case(name, *contenders, growth=()):
    return Case(
        name, "A sum.", made, ({"n": 4},), {"n": 4}, contenders, "a sleep", "the sum", growth
    )


def default_bytes(data):
    import jax.numpy as jnp

    return lambda: jnp.zeros(()).dtype.itemsize


CASES = [
    case(
        "precision",
        Contender("estimators", default_bytes, "float64", 10.0),
        Contender("estimators", default_bytes, "float32", 10.0),
    ),
    case(
        "sum",
        Contender("estimators", summing("ours")),
        Contender("numpy", summing("right", 1e-12, 0.12)),
        Contender("scipy", summing("wrong", 0.5)),
        Contender("no_such_library", summing("absent")),
        Contender("json", raising),
        Contender("string", dying),
        Contender("roofline", summing("bound", seconds=0.055)),
    ),
    case("slow", Contender("estimators", hanging), Contender("numpy", summing("right"))),
    case("size", Contender("numpy", growing), growth=(Growth("n", (2, 4, 8), {}),)),
]
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The made-up cases, run by the harness as the real ones are."""
    folder = tmp_path_factory.mktemp("cases")
    (folder / "made_up_cases.py").write_text(MODULE, encoding="utf-8")
    sys.path.insert(0, str(folder))
    try:
        with Driver(2, Progress(5, stream=sys.stdout), path=(folder,), limit=25.0) as driver:
            driver.worker(OURS).limit = 4.0
            found = family(driver, "made_up_cases")
    finally:
        sys.path.remove(str(folder))
    found |= {
        "when": "2026-01-31",
        "command": "python -m benchmarks",
        "machine": {
            "processor": "one of a kind",
            "cores": 2,
            "memory_gb": 8,
            "system": "Linux",
            "python": "3.11",
        },
        "versions": {"estimators": "0.1.0", "numpy": "2.0"},
        "load": [0.1, 0.2],
        "repeat": 2,
        "seconds": 60.0,
    }
    calls = (folder / "made_up_cases.calls").read_text(encoding="utf-8").split()
    return {"families": {"made up": found}}, calls


def case_of(results, name):
    return next(c for c in results[0]["families"]["made up"]["cases"] if c["case"] == name)


def of_library(results, name, case="sum"):
    return next(c for c in case_of(results, case)["contenders"] if c["library"] == name)


def row_of(results, name):
    rows = summary.rows(case_of(results, "sum"))
    return next(row for row in rows if row.record["library"] == name)


def test_equal_work_is_timed_and_has_a_ratio(results):
    record = of_library(results, "numpy")
    assert record["equal"]
    assert len(record["turns"]) == 2
    assert record["least"] <= record["median"] <= record["most"]
    row = row_of(results, "numpy")
    assert row.ratio.low <= row.ratio.high
    assert 1.5 < row.ratio.value < 2.5  # 0.12 seconds of sleep over 0.06


def test_a_wrong_output_is_shown_as_other_work(results):
    record, row = of_library(results, "scipy"), row_of(results, "scipy")
    assert not record["equal"]
    assert record["difference"] == pytest.approx(0.5)
    assert "median" not in record
    assert row.ratio is None
    assert row.remark == "other work, off by 0.5"


def test_an_absent_library_is_skipped_by_name(results):
    record = of_library(results, "no_such_library")
    assert record["failed"] == "not installed"
    assert summary.absent(results[0]["families"]) == ["no_such_library"]


def test_failures_are_told_and_do_not_stop_the_rest(results):
    assert of_library(results, "json")["failed"] == "RuntimeError: no such luck"
    assert "exit status 3" in of_library(results, "string")["failed"]
    assert "longer than 4 s" in of_library(results, OURS, "slow")["failed"]
    # Without our numbers there is nothing to compare with, so no ratio.
    assert row_of(results, "json").ratio is None
    assert "median" not in of_library(results, "numpy", "slow")


def test_the_first_call_already_has_the_precision_that_was_asked_for(results):
    double, single = case_of(results, "precision")["contenders"]
    assert (double["difference"], single["difference"]) == (0.0, 4.0)  # of 8 bytes


def test_every_library_runs_once_before_any_runs_again(results):
    calls = results[1]
    assert calls[:4] == ["ours", "right", "wrong", "bound"]  # the first calls, compared
    assert calls[4:10] == ["ours", "right", "bound"] * 2


def test_growth_finds_known_exponents(results):
    (curve,) = results[0]["families"]["made up"]["growth"]
    assert of_time(curve).value == pytest.approx(1.0, abs=0.25)
    if of_memory(curve) is None:
        pytest.skip("needs the kernel's high-water mark of resident memory (Linux)")
    assert of_memory(curve).value == pytest.approx(1.0, abs=0.05)
    assert curve["points"][-1]["memory"] == pytest.approx(8 * 500_000 * 8, rel=0.1)


def test_the_page_is_one_file_and_says_who_is_missing(results):
    text = page.render(results[0])
    assert "Not installed here, and left out: no_such_library." in text
    assert "other work, off by 0.5" in text
    for title in ("time over that of estimators", "growth of time"):
        assert f'aria-label="made up: {title}"' in text
    assert 'aria-label="share of the measured roofline"' in text
    assert not re.search(r'(src|href)="(?!#)', text)


def test_the_exponent_of_a_power_is_exact():
    found = exponent([10, 100, 1000, 10_000], 3.0 * np.array([10, 100, 1000, 10_000.0]) ** 1.7)
    assert found.value == pytest.approx(1.7)
    assert found.level == pytest.approx(3.0)
    assert found.standard_error == pytest.approx(0.0, abs=1e-12)


def test_the_exponent_and_its_error_are_those_of_linear_regression():
    generator = np.random.default_rng(0)
    sizes = np.array([1e3, 2e3, 4e3, 8e3, 16e3])
    measured = 1e-6 * sizes**1.3 * np.exp(0.2 * generator.normal(size=5))
    expected = scipy.stats.linregress(np.log(sizes), np.log(measured))
    found = exponent(sizes, measured)
    assert found.value == pytest.approx(expected.slope)
    assert found.standard_error == pytest.approx(expected.stderr)
    assert exponent(sizes[:2], measured[:2]) is None


@pytest.mark.parametrize(
    ("values", "reference", "gap"),
    [
        ([1.0, 2.0], [1.0, 2.5], 0.5),
        ([np.inf, 1.0], [np.inf, 1.0], 0.0),
        ([np.inf, 1.0], [2.0, 1.0], np.inf),
        ([np.nan, 1.0], [2.0, 1.0], np.inf),
        ([np.nan], [np.nan], np.inf),
        ([1.0, 2.0, 3.0], [1.0, 2.0], 0.0),  # the reference has the first rows only
        ([1.0], [1.0, 2.0], np.inf),
        ([[1.0]], [1.0], np.inf),
    ],
)
def test_difference(values, reference, gap):
    assert difference(np.array(values), np.array(reference)) == gap


@pytest.mark.parametrize("name", FAMILIES)
def test_cases_are_well_formed(name):
    cases = load(f"benchmarks.cases.{name}")
    assert cases
    for case in cases.values():
        first, *others = case.contenders
        assert first.library == OURS
        assert {c.library for c in others} <= {*LIBRARIES, ROOFLINE, EXACT}
        assert len({(c.label, c.dtype) for c in case.contenders}) == len(case.contenders)
        for sizes in case.sizes:
            assert set(sizes) == set(case.quick)
        for growth in case.growth:
            assert {growth.axis, *growth.sizes} == set(case.quick)
            assert len(growth.values) >= 4


@pytest.fixture
def committed():
    return json.loads((ROOT / "docs" / "benchmarks.json").read_text(encoding="utf-8"))


def test_the_readme_is_what_the_committed_numbers_give(committed, tmp_path):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    copy = tmp_path / "README.md"
    copy.write_text(text, encoding="utf-8")
    readme.rewrite(copy, committed)
    assert copy.read_text(encoding="utf-8") == text
    assert committed["families"]["density"]["machine"]["processor"] in text
    copy.write_text(text.replace(readme.BEGIN, ""), encoding="utf-8")
    with pytest.raises(ValueError, match=r"README.md must hold the lines"):
        readme.rewrite(copy, committed)


def test_growth_and_page_are_what_the_committed_numbers_give(committed):
    docs = ROOT / "docs"
    assert growth_page.render(committed) == (docs / "growth.md").read_text(encoding="utf-8")
    text = (docs / "side_by_side.html").read_text(encoding="utf-8")
    for name, found in committed["families"].items():
        assert f'id="{name}"' in text
        for case in found["cases"]:
            assert f"<h3>{case['case']}, {summary.described(case['sizes'])}</h3>" in text


# scoringrules 0.10.0 by intervals is wrong, its tree inexact; a rank apart is a class of ten.
OTHER_WORK = {"scoringrules, intervals", "scikit-learn, tree", "MAPIE"}


@pytest.mark.thorough
@pytest.mark.parametrize("name", FAMILIES)
def test_every_case_runs_and_agrees(name):
    with Driver(1, Progress(99, stream=sys.stdout)) as driver:
        found = family(driver, f"benchmarks.cases.{name}", quick=True)
    for case in found["cases"]:
        for record in (c for c in case["contenders"] if c.get("installed", True)):
            assert "failed" not in record, (case["case"], record)
            if record["library"] != ROOFLINE and record["label"] not in OTHER_WORK:
                assert record["equal"], (case["case"], record)
    for curve in found["growth"]:
        assert all("median" in point for point in curve["points"]), curve
