"""Whole reports: against the truth, and on a table made to break them."""

import json
import re
import warnings
from html.parser import HTMLParser

import jax
import jsonschema
import numpy as np
import pytest

from estimators import conformal, report
from estimators.report import _gaussian, _information, _run
from estimators.report._write import _plain

from .conftest import NAMES, cheap_models, rows

TITLES = (
    "HOW DENSE, AND CAN IT BE BELIEVED?",
    "WHICH COLUMNS TELL ABOUT WHICH?",
    "DOES A GAUSSIAN SUFFICE?",
    "WHAT WILL THE TARGET BE?",
)


def valid(result):
    """As it stands in report.json, after checking it against the schema."""
    plain = json.loads(json.dumps(_plain(result), allow_nan=False))
    jsonschema.Draft202012Validator(report.schema()).validate(plain)
    return plain


class Page(HTMLParser):
    """Collects ids, tags and text, and checks that tags are closed in order."""

    VOID = frozenset({"meta", "br", "hr", "img", "input", "link"})

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.tags, self.links = [], [], set(), []
        self.text, self.drawn = [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.handle_startendtag(tag, attributes)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.add(tag)
        for name, value in attributes:
            if name == "id":
                self.ids.append(value)
            if name in ("href", "src", "xlink:href", "data", "action", "srcset"):
                self.links.append(value)
            elif "//" in (value or "") and not re.match(r"xmlns(:|$)|rdf:", name):
                self.links.append(value)
            assert not name.startswith("on"), f"a handler: {name}"

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        (self.drawn if "svg" in self.open else self.text).append(data)


# --- The table that ships: every answer is known. -----------------------------------------


@pytest.fixture(scope="module")
def shipped():
    with pytest.MonkeyPatch.context() as patch, jax.enable_x64(True):
        cheap_models(patch)
        return report.run(quiet=True)


def test_shipped_report_is_complete_and_valid(shipped):
    plain = valid(shipped)
    assert all("skipped" not in plain[name] for name in _run.SECTIONS)
    assert plain["table"]["truth_known"]
    assert plain["table"]["notes"] == []


def test_information_of_every_pair_is_near_the_truth(shipped):
    """Within 4 standard errors: a false alarm below 1e-3 over fifteen pairs."""
    pairs = shipped["information"]["pairs"]
    assert len(pairs) == 15
    for pair in pairs:
        assert abs(pair["information"] - pair["truth"]) < 4 * pair["standard_error"], pair


def test_the_dependent_pairs_are_found_and_no_others(shipped):
    found = {(p["first"], p["second"]) for p in shipped["information"]["pairs"] if p["discovered"]}
    true = {(p["first"], p["second"]) for p in shipped["information"]["pairs"] if p["truth"] > 0.01}
    assert found == true
    missed = {
        (p["first"], p["second"])
        for p in shipped["information"]["pairs"]
        if p["missed_by_correlation"]
    }
    assert missed == {("north", "east"), ("angle", "response")}


def test_no_density_beats_the_true_one(shipped):
    """On average none can (Gibbs); by chance none does by more than 4 standard errors."""
    section = shipped["density"]
    for model in section["likelihoods"]:
        bound = section["truth_log_likelihood"] + 4 * model["standard_error"]
        assert model["log_likelihood"] < bound, model


def test_regime_shares_sum_to_one(shipped):
    assert sum(shipped["density"]["regime"]["shares"].values()) == pytest.approx(1)


def test_what_a_gaussian_lacks_is_bounded_by_the_truth(shipped):
    for level in shipped["gaussian"]["levels"]:
        assert level["gap"] < level["truth"] + 4 * level["standard_error"], level


def test_a_gaussian_suffices_from_where_it_truly_does(shipped):
    grid = _gaussian.SIGMAS
    section = shipped["gaussian"]
    found, true = section["suffices_from"], section["truth_suffices_from"]
    assert abs(grid.index(found) - grid.index(true)) <= 1


def test_calibrated_coverage_is_inside_the_exact_band(shipped):
    section = shipped["prediction"]
    sizes, interval = section["rows"], section["interval"]
    band = conformal.coverage_band(sizes["calibration"], sizes["test"], 0.9)
    assert interval["band"] == [band.lower, band.upper]
    assert band.lower <= interval["coverage"] <= band.upper
    assert "inside the band" in section["statement"]


def test_prediction_comes_no_better_than_the_true_quantiles(shipped):
    section = shipped["prediction"]
    truth = section["truth"]
    for model in section["models"]:
        assert model["score"] > truth["score"] - 4 * truth["score_standard_error"], model
    near = 4 * truth["coverage_standard_error"]
    assert abs(truth["coverage"] - 0.9) < near


def test_text_shows_the_truth_beside_the_estimates(shipped):
    text = report.as_text(shipped)
    assert all(title in text for title in TITLES)
    for line in ("the true density", "true quantiles", "in truth from"):
        assert line in text
    assert max(map(len, text.splitlines())) <= 100


# --- A messy table. -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def messy_file(tmp_path_factory):
    """63 rows: a gap, an infinity, a text column, a constant one, and names that bite."""
    cells = [list(map(repr, row)) for row in rows(63, 3, seed=1).tolist()]
    cells[4][1], cells[5][2], cells[6][0] = "", "inf", "NA"
    lines = ['"<script>alert(1)</script>",kind,"a&""b\'",always,$x_$é$']
    lines += [f'{a},"cat, {i}",{b},7,{c}' for i, (a, b, c) in enumerate(cells)]
    path = tmp_path_factory.mktemp("messy") / "messy.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def messy(messy_file):
    """With the models that ship."""
    with jax.enable_x64(True):
        return report.run(messy_file, target="5", quiet=True)


@pytest.mark.thorough
def test_messy_report_says_what_it_dropped(messy):
    plain = valid(messy)
    assert all("skipped" not in plain[name] for name in _run.SECTIONS)
    assert [column["name"] for column in plain["table"]["columns"]] == list(NAMES)
    assert (plain["table"]["rows_read"], plain["table"]["rows"]) == (63, 60)
    notes = "\n".join(plain["table"]["notes"])
    assert "column 'kind' dropped: 63 of its 63 values are text (first: 'cat, 0')" in notes
    assert "3 of 63 rows dropped: a value is missing or not finite" in notes
    assert "column 'always' dropped: it is 7 in all rows" in notes


@pytest.mark.thorough
def test_the_target_by_number_counts_the_columns_of_the_file(messy):
    """The fifth of the file is the third of those that can be used."""
    assert messy["prediction"]["target"] == NAMES[2]
    assert messy["prediction"]["features"] == list(NAMES[:2])


def test_messy_text_has_every_section_and_every_note(messy):
    text = report.as_text(messy)
    assert all(title in text for title in TITLES)
    unwrapped = " ".join(text.split())
    for note in messy["table"]["notes"]:
        assert f"! {' '.join(note.split())}" in unwrapped
    assert not re.search(r"\b(nan|inf)\b", text)


def test_rows_are_named_by_their_place_in_the_file(messy, messy_file):
    dropped = {5, 6, 7}
    found = {item["row"] for item in messy["density"]["isolated"]}
    assert not found & dropped
    assert all(1 <= row <= 63 for row in found)


@pytest.fixture(scope="module")
def page(messy):
    return report.as_html(messy)


def test_page_is_well_formed_with_ids_of_its_own(page):
    ids = Page(page).ids
    assert len(ids) > 50
    assert len(ids) == len(set(ids))


def test_page_loads_nothing_and_runs_nothing(page):
    parsed = Page(page)
    assert not parsed.tags & {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
    outside = [link for link in parsed.links if not link.startswith(("#", "data:image/png;"))]
    assert outside == []
    inside = {link[1:] for link in parsed.links if link.startswith("#")}
    assert len(inside) > 10
    assert inside <= set(parsed.ids)
    assert "@import" not in page
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)", page))


def test_page_shows_names_as_they_are(page):
    parsed = Page(page)
    for name in NAMES:
        assert any(piece.strip() == name for piece in parsed.text), "in a table"
        # On both axes of a picture, where names are cut to 14 letters.
        assert sum(piece.strip() == name[:14] for piece in parsed.drawn) >= 2
    assert "<script" not in page


def test_every_picture_of_a_section_is_there(page):
    assert page.count("<svg ") == 6
    assert page.count('role="img"') == 6


def same_but_for_the_time(one, other):
    return {**one, "created": None} == {**other, "created": None}


@pytest.mark.thorough
def test_one_seed_one_report_another_seed_another(messy_file):
    with pytest.MonkeyPatch.context() as patch, jax.enable_x64(True):
        cheap_models(patch)
        first, again, other = (
            report.run(messy_file, target=NAMES[2], seed=seed, quiet=True) for seed in (3, 3, 4)
        )
    assert same_but_for_the_time(first, again)
    for section in ("density", "information", "gaussian", "prediction"):
        assert first[section] != other[section], section


# --- Coverage that so few rows cannot give. -----------------------------------------------


@pytest.fixture(scope="module")
def infinite_and_warnings(messy_file):
    with pytest.MonkeyPatch.context() as patch, jax.enable_x64(True):
        cheap_models(patch)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = report.run(messy_file, target="5", coverage=0.999, quiet=True)
        return result, [str(warning.message) for warning in caught]


@pytest.fixture(scope="module")
def infinite(infinite_and_warnings):
    return infinite_and_warnings[0]


def test_an_infinite_interval_is_no_reason_to_warn(infinite_and_warnings):
    assert infinite_and_warnings[1] == []


def test_an_infinite_interval_is_null_and_explained(infinite):
    section = valid(infinite)["prediction"]
    assert section["interval"]["width"] is None
    assert section["interval"]["coverage"] == 1
    assert set(section["shown"]["lower"] + section["shown"]["upper"]) == {None}
    assert None not in section["shown"]["median"] + section["shown"]["observed"]
    assert "999 calibration rows; there were 12" in section["interval"]["infinite_because"]
    assert section["interval"]["infinite_because"] in section["statement"]


def test_an_infinite_interval_is_called_so_in_text_and_page(infinite):
    text = report.as_text(infinite)
    line = next(line for line in text.splitlines() if "together, calibrated" in line)
    assert line.split()[-1] == "infinite"
    assert "The calibrated interval is infinite" in text
    shown = "".join(Page(report.as_html(infinite)).text)
    assert "The calibrated interval is infinite" in shown
    for written in (text, shown):
        assert not re.search(r"\b(nan|inf|None)\b", written)


# --- Tables of which some sections can say nothing. ---------------------------------------


@pytest.mark.thorough
def test_a_single_column_that_is_the_target(table):
    with jax.enable_x64(True):
        result = report.run(table([["a"], *rows(60, 1).tolist()]), target="a", quiet=True)
    plain = valid(result)
    assert plain["information"] == {"skipped": "there is only one column"}
    assert plain["prediction"] == {"skipped": "the target is the only column"}
    assert len(plain["density"]["held_out_log_density"]) == 15
    assert Page(report.as_html(result)).text.count("Skipped: the target is the only column.") == 1


def test_a_table_of_counts_has_no_density(table):
    counts = np.random.default_rng(2).integers(0, 4, (60, 2))
    with jax.enable_x64(True):
        result = report.run(table([["a", "b"], *counts.tolist()]), quiet=True)
    plain = valid(result)
    for name in ("density", "gaussian"):
        assert "only a few values" in plain[name]["skipped"]
    assert "--target" in plain["prediction"]["skipped"]
    assert report.as_text(result).count("Skipped:") == 3
    assert Page(report.as_html(result)).tags >= {"svg", "table"}


def test_a_section_that_is_refused_leaves_the_others(table, monkeypatch):
    """More columns than rows: no covariance, so no density; the rest goes on."""

    def made(study):
        return {"skipped": "not of interest here"}

    judges = {name: (what, made) for name, (what, _) in _run.SECTIONS.items()}
    judges["density"] = _run.SECTIONS["density"]
    monkeypatch.setattr(_run, "SECTIONS", judges)
    names = [f"v{i}" for i in range(60)]
    with jax.enable_x64(True):
        result = report.run(table([names, *rows(60, 60).tolist()]), quiet=True)
    plain = valid(result)
    assert "skipped" in plain["density"]
    assert "columns" in plain["density"]["skipped"]
    assert plain["gaussian"]["skipped"] == "not of interest here"
    assert all(title in report.as_text(result) for title in TITLES)


# --- Known faults, each outside this folder's reach: remove the mark with the fault. -------


@pytest.fixture
def judged(table):
    """The information section of a table, by itself."""

    def judge(values):
        path = table([[f"v{i}" for i in range(values.shape[1])], *values.tolist()])
        with jax.enable_x64(True):
            return _information.judge(_run._study(path, None, 0.9, 0))

    return judge


@pytest.mark.thorough
def test_counts_that_agree_nine_times_in_ten_are_dependent(judged):
    generator = np.random.default_rng(0)
    first = generator.integers(0, 3, 300)
    second = np.where(generator.random(300) < 0.9, first, generator.integers(0, 3, 300))
    (pair,) = judged(np.stack([first, second], axis=1))["pairs"]
    assert pair["discovered"]
    assert pair["pearson"] == pytest.approx(np.corrcoef(first, second)[0, 1])


def test_a_column_that_came_twice_is_no_reason_to_warn(judged):
    values = rows(60, 1)
    section = judged(np.concatenate([values, 2 * values], axis=1))
    (pair,) = section["pairs"]
    assert pair["pearson"] == pytest.approx(1)
    # No finite number is right: infinite in words, null in JSON.
    assert pair["information"] == float("inf")
    information = {**report.schema()["$defs"]["information"], "$defs": report.schema()["$defs"]}
    jsonschema.validate(json.loads(json.dumps(_plain(section))), information)


def test_names_beyond_the_font_are_no_reason_to_warn(messy):
    renamed = json.loads(json.dumps(messy, ensure_ascii=False).replace("$x_$é$", "東京"))
    assert renamed["prediction"]["target"] == "東京"
    assert "東京" in "".join(Page(report.as_html(renamed)).drawn)


@pytest.mark.thorough
def test_scores_in_small_units_are_printed_in_figures(messy):
    small = json.loads(json.dumps(messy))
    for row in small["prediction"]["models"]:
        row["score"] *= 1e-9
        row["score_standard_error"] *= 1e-9
    assert "0.000 ± 0.000" not in report.as_text(small)
    assert "0.000 ± 0.000" not in report.as_html(small)


# --- The schema. --------------------------------------------------------------------------


def test_schema_is_one_and_names_the_version_that_is_written():
    schema = report.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["properties"]["schema"]["const"] == _run.SCHEMA
    assert set(_run.SECTIONS) < set(schema["properties"])


def test_every_property_of_the_schema_is_described():
    def properties(node):
        if isinstance(node, dict):
            yield from node.get("properties", {}).items()
            for value in node.values():
                yield from properties(value)
        elif isinstance(node, list):
            for value in node:
                yield from properties(value)

    definitions = report.schema()["$defs"]
    found = list(properties(report.schema()))
    assert len(found) > 80
    for name, node in found:
        target = definitions[node["$ref"].rsplit("/", 1)[1]] if "$ref" in node else {}
        assert node.get("description") or target.get("description"), name


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schema",), "estimators.report/2"),
        (("extra",), 1),
        (("density", "bandwidth"), None),
        (("information", "pairs", 0, "p_value"), None),
        (("prediction", "models", 0, "score"), None),
        (("prediction", "interval", "band"), [0.5]),
        (("gaussian",), {"skipped": ""}),
        (("table", "columns", 0, "standard_deviation"), 0.0),
    ],
)
def test_schema_refuses_what_is_wrong(messy, path, value):
    plain = valid(messy)
    node = plain
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        valid(plain)
