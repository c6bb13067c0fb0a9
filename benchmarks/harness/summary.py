"""What the records say: ratios where work was equal, and numbers as text."""

from typing import NamedTuple

from benchmarks.harness.case import HELPERS, OURS, ROOFLINE, described, grouped
from benchmarks.harness.exponents import Exponent, measured_points, of_memory, of_time


class Ratio(NamedTuple):
    """A time over that of `estimators` in the same type.

    Attributes:
        value: of the medians.
        low: least of one turn.
        high: largest of one turn.
    """

    value: float
    low: float
    high: float


class Row(NamedTuple):
    """A contender in a table or a picture.

    Attributes:
        record: the JSON record.
        name: library, form and type.
        ratio: None for ours, and where the work was not the same.
        remark: why there is no ratio.
    """

    record: dict
    name: str
    ratio: Ratio | None
    remark: str


def rows(case: dict) -> list[Row]:
    """The contenders of a case that are there, ours first; the roofline is none of them."""
    contenders = [c for c in case["contenders"] if c["library"] not in HELPERS]
    return [_row(case, c) for c in contenders if c.get("installed", True)]


def _row(case: dict, record: dict) -> Row:
    name = record["label"]
    if sum(c["label"] == name for c in case["contenders"]) > 1:
        name = f"{name} {record['dtype']}"
    base = ours(case, record["dtype"])
    remark, ratio = "", None
    if "failed" in record:
        remark = f"failed: {record['failed']}"
    elif not record.get("equal"):  # it is not timed
        gap = record.get("difference")
        remark = "other work" if gap is None else f"other work, off by {figures(gap)}"
    elif record["library"] != OURS and base is not None:
        turns = [a / b for a, b in zip(record["turns"], base["turns"], strict=True)]
        ratio = Ratio(record["median"] / base["median"], min(turns), max(turns))
    return Row(record, name, ratio, remark)


def ours(case: dict, dtype: str) -> dict | None:
    """Our timed record in that type, or in the only one there is."""
    found = [c for c in case["contenders"] if c["library"] == OURS and "median" in c]
    return next((c for c in found if c["dtype"] == dtype), found[0] if found else None)


def reached(case: dict) -> list[tuple[dict, float]]:
    """Our records, each with the share of the roofline that it reaches."""
    found = []
    for bound in case["contenders"]:
        base = ours(case, bound["dtype"])
        if bound["library"] == ROOFLINE and "median" in bound and base is not None:
            found.append((base, bound["median"] / base["median"]))
    return found


def absent(families: dict) -> list[str]:
    """Libraries that some case asked for and the machine did not have."""
    names = [
        contender["library"]
        for family in families.values()
        for case in family["cases"]
        for contender in case["contenders"]
        if not contender.get("installed", True)
    ]
    return list(dict.fromkeys(names))


def figures(value: float, digits: int = 2) -> str:
    """So many significant figures, without an exponent where that is short."""
    if value == 0:
        return "0"
    text = f"{value:.{digits}g}"
    if "e" not in text:
        return text
    return grouped(round(float(text))) if 1 <= abs(value) < 1e7 else text


def seconds(value: float) -> str:
    """A time in the unit that suits it."""
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
        if value * factor >= 1 or unit == "µs":
            return f"{figures(value * factor, 3)} {unit}"
    raise AssertionError("the last unit is taken for whatever is left")


def megabytes(value: float | None) -> str:
    """Memory, to two figures; not more than can be told."""
    if value is None:
        return ""
    return "under 1 MB" if value < 1 << 20 else f"{figures(value / 1e6)} MB"


def plus_minus(found: Exponent | None) -> str:
    """An exponent with its standard error."""
    return "" if found is None else f"{found.value:.2f} ± {found.standard_error:.2f}"


def growth_rows(families: dict) -> list[dict[str, str]]:
    """One row for each curve, as text."""
    return [
        _growth_row(name, curve) for name, family in families.items() for curve in family["growth"]
    ]


def _growth_row(family: str, curve: dict) -> dict[str, str]:
    points = measured_points(curve)
    row = {
        "family": family,
        "task": curve["case"],
        "grows": f"{curve['axis']}, {grouped(curve['points'][0]['value'])} to "
        f"{grouped(curve['points'][-1]['value'])}",
        "fixed": described(curve["sizes"]),
        "dtype": curve["dtype"],
    }
    if not points:
        return {**row, "time": "failed", "time_exponent": "", "memory": "", "memory_exponent": ""}
    return {
        **row,
        "time": seconds(points[-1]["median"]),
        "time_exponent": plus_minus(of_time(curve)),
        "memory": megabytes(points[-1].get("memory")),
        "memory_exponent": plus_minus(of_memory(curve)),
    }
