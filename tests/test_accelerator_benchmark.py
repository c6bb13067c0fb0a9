"""The benchmark of an accelerator, rehearsed at tiny sizes on the CPU, NumPy as the peer."""

import dataclasses
import json
import re
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from benchmarks import accelerator
from benchmarks.on_device import (
    calibration,
    ceilings,
    density,
    mist,
    page,
    peers,
    sampler,
    timing,
)
from benchmarks.on_device.forms import LogDensity
from benchmarks.on_device.peers import NumpyLike
from estimators import information

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "accelerator.md"


@pytest.fixture(autouse=True)
def _few_turns(monkeypatch):
    monkeypatch.setattr(timing, "SETTLED", 0.0)


def rehearse(piece, seconds=60.0):
    context = timing.Context(True, (NumpyLike(),), timing.Budget(seconds))
    return list(piece.records(context))


def test_a_process_of_its_own_tells_the_device_and_its_ceilings():
    options = accelerator._options(["--tiny", "--peer", "none"])
    replies = []
    assert accelerator.run(options, "ceilings", 60.0, replies.append) == ""
    assert replies[0]["device"]["platform"] == "cpu"
    rates = {record["rate_of"]: record for record in replies[1:]}
    assert set(rates) == {*ceilings.PRODUCTS, "exponentials", "elementwise", "bytes"}
    for record in rates.values():
        assert record["rate"] > 0
        assert len(record["turns"]) >= timing.TURNS
    # Full float32 has 24 bits, bfloat16 eight.
    assert rates["product"]["error"] < 1e-6 < 1e-4 < rates["product, bfloat16"]["error"] < 1e-2


@pytest.mark.parametrize("piece", [density, sampler, calibration], ids=lambda p: p.__name__)
def test_every_form_does_the_same_work(piece):
    records = rehearse(piece)
    for record in records:
        assert "failed" not in record, record
        assert record["equal"], record
        assert len(record["turns"]) >= timing.TURNS
        assert record["first_call"] > 0
        assert record["rate"] > 0
    libraries = {record["library"] for record in records}
    assert libraries >= {"estimators", "numpy"}
    json.dumps(records)


def test_other_work_is_told(monkeypatch):
    monkeypatch.setattr(LogDensity, "__call__", lambda self, queries: queries[:, 0])
    found = {record["label"]: record for record in rehearse(density)}
    assert found["estimators"]["equal"]
    assert not found["numpy"]["equal"]
    row = page._row(found["numpy"], list(found.values()), {})
    assert row[-1].endswith("other work")
    assert row[page.HEAD.index("ours over it")] == ""


def test_densities_of_another_library_are_those_of_scipy():
    generator = np.random.default_rng(0)
    points, queries = generator.normal(size=(70, 3)), generator.normal(size=(25, 3))
    library = NumpyLike(dtype="float64")
    found = LogDensity.of(library, points, 0.7, (8, 16))(queries)
    squares = ((queries[:, None] - points[None]) ** 2).sum(-1)
    expected = scipy.special.logsumexp(-0.5 * squares / 0.49, axis=1) - np.log(70)
    expected -= 1.5 * np.log(2 * np.pi * 0.49)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_the_reference_is_scipys():
    generator = np.random.default_rng(1)
    points, queries = generator.normal(size=(70, 3)), generator.normal(size=(25, 3))
    h = density.BANDWIDTH
    kernels = scipy.stats.norm.pdf(queries[:, None], points[None], h).prod(-1)
    expected = np.log(kernels.mean(1))
    np.testing.assert_allclose(density.direct_sum(points, queries), expected, rtol=1e-12)


def test_where_time_is_short_fewer_queries_are_timed_and_the_page_says_so(monkeypatch):
    monkeypatch.setattr(density, "PROBED", 150)
    monkeypatch.setattr(density, "CHECKED", 100)
    found = rehearse(density, seconds=0.0)
    assert all(record["queries_timed"] == 150 for record in found)
    assert found[0]["needs"] == {"product": 2.0 * 150 * 2000 * 4, "exponentials": 150.0 * 2000}
    assert "(m = 150 timed)" in page._row(found[0], found, {})[1]


@pytest.mark.parametrize(
    ("allowed", "expected"),
    # A thousand rows take a second: a million with their first call take 6000.
    [(6000.0, 1_000_000), (5999.0, 100_000), (60.0, 10_000), (59.0, 1000), (0.0, 1000)],
)
def test_rows_in_time(allowed, expected):
    assert timing.rows_in_time(1_000_000, 1000, 1.0, allowed) == expected


def test_a_budget_runs_out():
    now = [10.0]
    budget = timing.Budget(5.0, clock=lambda: now[0])
    now[0] = 12.0
    assert budget.left == pytest.approx(3.0)
    now[0] = 40.0
    assert budget.left == 0.0


def test_the_ceiling_is_that_of_the_slowest_part():
    assert ceilings.ceiling({"product": 8.0, "bytes": 3.0}, {"product": 4.0, "bytes": 1.0}) == (
        3.0,
        "bytes",
    )
    assert ceilings.ceiling({"product": 8.0}, {}) is None


def test_what_the_network_needs_is_what_the_compiler_counts():
    network = information.MIST().network
    read = jnp.zeros_like(network.scaling.centre)[None]
    program = jax.jit(type(network).compressed).lower(network, read).compile()
    costs = program.cost_analysis()
    assert costs is not None
    counted = costs["flops"]
    needed = mist.needs_of(network, 512)["product"]
    # The compiler counts activations and sums as well; they are few beside the matrices.
    assert needed <= counted < 1.1 * needed
    # Twice the rows are two parts, of as many pairs each.
    twice = mist.needs_of(network, 1024)
    assert twice == {name: 2 * need for name, need in mist.needs_of(network, 512).items()}


def test_mist_is_timed_over_a_batch(monkeypatch):
    """The record; the network itself would compile for half a minute."""

    @dataclasses.dataclass
    class Answer:
        value: jax.Array

    class Instant(information.MIST):
        def estimate(self, x, y):
            return Answer(jnp.mean(x * y) + mist.INFORMATION)

    monkeypatch.setattr(information, "MIST", Instant)
    (record,) = rehearse(mist)
    assert record["sizes"] == {"n": 40, "batch": 3}
    assert record["rate"] == pytest.approx(3 / record["median"])
    assert record["difference"] < 1.0
    assert record["equal"]


@pytest.mark.thorough
def test_mist_is_finite_under_vmap():
    (record,) = rehearse(mist)
    assert "failed" not in record, record
    assert record["equal"]
    # Three data sets of forty rows: four standard errors.
    assert record["difference"] < 4 * record["standard_error"]


def result_of(pieces, platform="gpu"):
    return {
        "when": "2026-01-31",
        "command": "python benchmarks/accelerator.py",
        "tiny": False,
        "host": {
            "processor": "one of a kind",
            "cores": 2,
            "memory_gb": 8,
            "system": "Linux",
            "python": "3.12",
        },
        "device": {"name": "made up", "platform": platform},
        "versions": {"jax": "0.11"},
        "absent": {"torch": "not installed"},
        "pieces": {name: {"records": records, "stopped": ""} for name, records in pieces.items()},
    }


def of_density(label, median, library="estimators"):
    return {
        "piece": "density",
        "sizes": {"n": 1000, "m": 1000, "d": 5},
        "library": library,
        "label": label,
        "turns": [median] * 5,
        "median": median,
        "first_call": 9.0,
        "memory": 3_000_000,
        "queries_timed": 1000,
        "rate": 1e6 / median,
        "unit": "pairs/s",
        "needs": {"product": 1e7, "exponentials": 1e6},
        "difference": 1e-5,
        "equal": True,
    }


RATES = [
    {"rate_of": name, "rate": rate, "unit": "1/s", "size": "8 numbers", "error": None}
    for name, rate in (("product", 1e7), ("exponentials", 5e5))
]


def test_shares_and_ratios_in_the_table():
    rows = [of_density("estimators", 5.0), of_density("torch", 20.0, "torch")]
    text = page.render(result_of({"ceilings": RATES, "density": rows}), "density")
    # A million exponentials at half a million a second bind: two seconds of five, and of twenty.
    assert "| 5 s of 5 | 200 k pairs/s | 9 s | 3 MB | 2 s, exponentials | 0.4 |  |" in text
    assert "| 20 s of 5 | 50 k pairs/s | 9 s | 3 MB | 2 s, exponentials | 0.1 | 4 × |" in text
    assert "made up, in one of a kind" in text
    assert "Left out: torch (not installed)." in text
    assert "rehearsal" not in text
    cpu = page.render(result_of({"ceilings": RATES, "density": rows}, "cpu"), "density")
    assert cpu.startswith("**A rehearsal")


def test_the_verdict_goes_by_the_best_blocks():
    rates = {"product": 1e7, "exponentials": 5e5}
    slow, quick = of_density("estimators", 5.0), of_density("estimators, best blocks", 3.0)
    # A fast peer says nothing of XLA.
    assert "more than a factor of two at n = 1 000" in page.verdict(
        [slow, of_density("torch", 2.0, "torch")], rates
    )
    assert "less than a factor of two at every size" in page.verdict([slow, quick], rates)
    assert "nothing can be said" in page.verdict([{**slow, "failed": "no memory"}], rates)


def test_the_page_has_a_place_for_every_piece_and_is_filled_there_alone(tmp_path):
    text = PAGE.read_text(encoding="utf-8")
    copy = tmp_path / "accelerator.md"
    copy.write_text(text, encoding="utf-8")
    for name in page.PIECES:
        page.place(copy, text, name)
    rows = [of_density("estimators", 5.0)]
    results = result_of({"ceilings": RATES, "density": rows})
    page.fill(copy, results)
    once = copy.read_text(encoding="utf-8")
    assert page.render(results, "density") in once
    start, stop = page.place(copy, once, "mist")
    assert once[start:stop] == text[slice(*page.place(copy, text, "mist"))]

    def without_tables(text):
        return re.sub(
            r"(<!-- accelerator: \w+ -->).*?<!-- accelerator: end -->", r"\1", text, flags=re.S
        )

    assert without_tables(once) == without_tables(text)
    page.fill(copy, results)
    assert copy.read_text(encoding="utf-8") == once
    copy.write_text(text.replace(page.BEGIN.format("density"), ""), encoding="utf-8")
    with pytest.raises(ValueError, match=r"must hold the lines '<!-- accelerator: density -->'"):
        page.fill(copy, results)


@pytest.fixture
def here(monkeypatch):
    """Pieces run in this process, as they would in one of their own."""

    def run(options, name, allowed, keep):
        for reply in accelerator.replies_of(name, options.tiny, options.peer, allowed):
            keep(json.loads(json.dumps(reply)))
        return ""

    monkeypatch.setattr(accelerator, "run", run)


def test_the_command_writes_the_file_and_leaves_an_absent_peer_out(here, tmp_path, capsys):
    file = tmp_path / "accelerator.json"
    words = ["--tiny", "--only", "calibration", "--peer", "cupy", "--json", str(file)]
    assert accelerator.main(words) == 0
    found = json.loads(file.read_text(encoding="utf-8"))
    assert list(found["pieces"]) == ["ceilings", "calibration"]
    assert found["device"]["platform"] == "cpu"
    assert list(found["absent"]) == ["cupy"]
    assert found["command"].endswith("--only calibration --tiny --peer cupy")
    printed = capsys.readouterr().out
    assert "## calibration" in printed
    # The tables of a file of before are the same, and nothing is measured.
    assert accelerator.main(["--read", str(file)]) == 0
    assert capsys.readouterr().out == printed


def test_a_piece_is_ended_when_its_time_is_spent():
    options = accelerator._options(["--tiny", "--peer", "none"])
    assert accelerator.run(options, "mist", 0.2, print) == "ended after its 0.2 seconds"


def test_a_peer_that_is_not_there_is_told():
    assert peers.find("none", "cpu") == ((), "")
    if "cupy" not in sys.modules:
        forms, reason = peers.find("cupy", "cpu")
        assert forms == ()
        assert reason


def test_a_page_without_places_is_refused_before_anything_runs(tmp_path, capsys):
    file = tmp_path / "empty.md"
    file.write_text("nothing\n", encoding="utf-8")
    with pytest.raises(SystemExit):
        accelerator.main(["--page", str(file)])
    assert "must hold the lines '<!-- accelerator: ceilings -->'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        accelerator.main(["--minutes", "0"])
    assert "--minutes must be positive; got 0.0" in capsys.readouterr().err
