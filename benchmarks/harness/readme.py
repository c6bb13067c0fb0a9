"""The README's table of density estimation, from the JSON file and nothing else."""

from pathlib import Path

from benchmarks.harness.case import LIBRARIES, OURS, described
from benchmarks.harness.machine import in_words
from benchmarks.harness.summary import figures, ours, reached, rows

BEGIN, END = (
    "<!-- benchmarks: made by `python -m benchmarks --readme` -->",
    "<!-- benchmarks end -->",
)
CASE = "log-density"


def rewrite(path: Path, results: dict) -> None:
    """Replace what stands between the markers of a file.

    Raises:
        ValueError: where the file has no markers.
    """
    text = path.read_text(encoding="utf-8")
    start, stop = text.find(BEGIN), text.find(END)
    if start < 0 or stop < start:
        raise ValueError(f"{path.name} must hold the lines {BEGIN!r} and {END!r}; it does not")
    text = f"{text[:start]}{BEGIN}\n{render(results)}{text[stop:]}"
    path.write_text(text, encoding="utf-8")


def render(results: dict) -> str:
    """The text between the markers."""
    family = results["families"]["density"]
    cases = [case for case in family["cases"] if case["case"] == CASE]
    peers = list(
        dict.fromkeys(
            row.record["label"]
            for case in cases
            for row in rows(case)
            if row.record["library"] != OURS
        )
    )
    head = ["n points, m queries, d", "estimators, f32 / f64", *(_heading(p, cases) for p in peers)]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for case in cases:
        cells = [described(case["sizes"]), _times(case), *(_ratios(case, peer) for peer in peers)]
        lines.append(f"| {' | '.join(cells)} |")
    shares = [share for case in cases for _, share in reached(case)]
    intro = (
        f"Exact log-densities, medians of {family['repeat']} interleaved runs, one process a "
        f"library, on {in_words(family['machine'])}; {_versions(family, peers)} ({family['when']}, "
        "`python -m benchmarks`). The ratio is the peer's wall time over that of `estimators` in "
        "the same precision; scikit-learn and scipy compute in float64. Where a peer's numbers "
        "are others, there is no ratio."
    )
    bound = (
        f"What is hard to undercut, {cases[0]['bound']}, takes {figures(min(shares))} to "
        f"{figures(max(shares))} times as long. "
        if shares
        else ""
    )
    return "\n".join([intro, "", *lines, "", f"{bound}{_errors(cases)}", ""])


def _heading(peer: str, cases: list[dict]) -> str:
    types = {r.record["dtype"] for c in cases for r in rows(c) if r.record["label"] == peer}
    return f"{peer}, f32 / f64" if len(types) > 1 else peer


def _times(case: dict) -> str:
    found = [ours(case, dtype) for dtype in ("float32", "float64")]
    return " / ".join(figures(record["median"]) for record in found if record) + " s"


def _ratios(case: dict, peer: str) -> str:
    found = [row for row in rows(case) if row.record["label"] == peer]
    found.sort(key=lambda row: row.record["dtype"])
    if not all(row.ratio for row in found):
        return "; ".join(row.remark for row in found if row.remark)
    return " / ".join(figures(row.ratio.value) for row in found if row.ratio) + " ×"


def _errors(cases: list[dict]) -> str:
    parts = {}
    for dtype in ("float64", "float32"):
        gaps = [record["difference"] for case in cases if (record := ours(case, dtype))]
        parts[dtype] = ", ".join(f"{gap:.0e}" for gap in gaps)
    return (
        f"The largest error against a direct float64 sum, in nats, is {parts['float64']} in "
        f"float64, in the order of the rows, and {parts['float32']} in float32."
    )


def _versions(family: dict, peers: list[str]) -> str:
    names = dict.fromkeys(LIBRARIES[peer.split(",")[0]].package for peer in peers)
    shown = {LIBRARIES[n].package: v for n, v in family["versions"].items() if n in LIBRARIES}
    shown |= family["versions"]
    return ", ".join(f"{name} {shown[name]}" for name in names if name in shown)
