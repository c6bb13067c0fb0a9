"""The tables of docs/accelerator.md, from the JSON file and nothing else."""

from pathlib import Path

from benchmarks.harness.case import described
from benchmarks.harness.machine import in_words
from benchmarks.harness.summary import figures, megabytes, seconds
from benchmarks.on_device.ceilings import ceiling

PIECES = ("ceilings", "density", "mist", "sampler", "calibration")
BEGIN, END = "<!-- accelerator: {} -->", "<!-- accelerator: end -->"
HEAD = (
    "what",
    "by",
    "median",
    "rate",
    "first call",
    "device memory",
    "ceiling",
    "share of it",
    "ours over it",
    "difference",
)
PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
# A stream slower than this share of its ceiling is worth a kernel of its own.
WORTH_A_KERNEL = 0.5


def fill(path: Path, results: dict) -> None:
    """Put the tables of the pieces that were run into their places in a file.

    Raises:
        ValueError: where the file has no place for one of them.
    """
    text = path.read_text(encoding="utf-8")
    for name in results["pieces"]:
        start, stop = place(path, text, name)
        text = f"{text[:start]}\n{render(results, name)}\n{text[stop:]}"
    path.write_text(text, encoding="utf-8")


def place(path: Path, text: str, name: str) -> tuple[int, int]:
    """From where to where the table of a piece stands.

    Raises:
        ValueError: where the text has no such place.
    """
    begin = BEGIN.format(name)
    start = text.find(begin)
    stop = text.find(END, start)
    if start < 0 or stop < 0:
        raise ValueError(f"{path} must hold the lines {begin!r} and then {END!r}; it does not")
    return start + len(begin), stop


def render(results: dict, name: str) -> str:
    """The table of one piece, and where it was measured."""
    found = results["pieces"][name]
    rows = found["records"]
    lines = [_provenance(results), ""]
    if found["stopped"]:
        lines += [f"Not finished: {found['stopped']}.", ""]
    if name == "ceilings":
        lines += _table(("what", "size", "rate", "relative error"), map(_ceiling_row, rows))
    else:
        rates = rates_of(results)
        lines += _table(HEAD, (_row(record, rows, rates) for record in rows))
    if name == "density" and not is_rehearsal(results):
        lines += ["", verdict(rows, rates_of(results))]
    return "\n".join(lines)


def is_rehearsal(results: dict) -> bool:
    """Whether the figures say nothing of an accelerator."""
    return results["tiny"] or results["device"].get("platform") == "cpu"


def rates_of(results: dict) -> dict[str, float]:
    """What the device does a second, by name."""
    records = results["pieces"].get("ceilings", {"records": []})["records"]
    return {record["rate_of"]: record["rate"] for record in records}


def shares(record: dict, rates: dict[str, float]) -> tuple[float, str, float] | None:
    """Least seconds, what binds them, and their share of those measured."""
    if "failed" in record or (found := ceiling(record["needs"], rates)) is None:
        return None
    return (*found, found[0] / record["median"])


def verdict(records: list[dict], rates: dict[str, float]) -> str:
    """Whether a kernel of its own would pay for the streaming log-sum-exp."""
    best: dict[str, float] = {}
    for record in records:
        if record["library"] == "estimators" and (found := shares(record, rates)):
            what = described(record["sizes"])
            best[what] = max(found[2], best.get(what, 0.0))
    if not best:
        return "No size was measured: nothing can be said about a kernel."
    short = [what for what, share in best.items() if share < WORTH_A_KERNEL]
    if not short:
        return "In its best blocks XLA leaves less than a factor of two at every size."
    return f"In its best blocks XLA leaves more than a factor of two at {'; '.join(short)}."


def _provenance(results: dict) -> str:
    device = results["device"]
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    absent = "".join(f" Left out: {n} ({why})." for n, why in results["absent"].items())
    text = (
        f"{device.get('name', 'unknown device')}, in {in_words(results['host'])}; {versions}; "
        f"{results['when']}, `{results['command']}`.{absent}"
    )
    if is_rehearsal(results):
        return f"**A rehearsal, not a measurement of an accelerator.** {text}"
    return text


def _table(head, rows) -> list[str]:
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return lines + [f"| {' | '.join(row)} |" for row in rows]


def _ceiling_row(record: dict) -> tuple[str, ...]:
    error = "" if record["error"] is None else f"{record['error']:.0e}"
    return record["rate_of"], record["size"], _rate(record), error


def _row(record: dict, records: list[dict], rates) -> tuple[str, ...]:
    what = ", ".join(
        value if isinstance(value, str) else described({key: value})
        for key, value in record["sizes"].items()
    )
    label = record["label"]
    if "failed" in record:
        return what, label, f"failed: {record['failed']}", *[""] * (len(HEAD) - 3)
    if record.get("blocks"):
        label += f", {record['blocks'][0]} x {record['blocks'][1]}"
    if record.get("queries_timed", 0) < record["sizes"].get("m", 0):
        label += f" ({described({'m': record['queries_timed']})} timed)"
    least = shares(record, rates)
    return (
        what,
        label,
        f"{seconds(record['median'])} of {len(record['turns'])}",
        _rate(record),
        seconds(record["first_call"]),
        megabytes(record["memory"]),
        "" if least is None else f"{seconds(least[0])}, {least[1]}",
        "" if least is None else f"{figures(least[2])}",
        _over(record, records),
        figures(record["difference"]) + ("" if record["equal"] else ", other work"),
    )


def _over(record: dict, records: list[dict]) -> str:
    """How many times our rate is that of another form of the same work."""
    ours = next((r for r in records if r["sizes"] == record["sizes"] and _is_ours(r)), None)
    if ours is None or ours is record or not (ours["equal"] and record["equal"]):
        return ""
    return f"{figures(ours['rate'] / record['rate'])} ×"


def _is_ours(record: dict) -> bool:
    return record["label"] == "estimators" and "failed" not in record


def _rate(record: dict) -> str:
    rate, unit = record["rate"], record["unit"]
    for factor, prefix in PREFIXES:
        if rate >= factor:
            return f"{figures(rate / factor, 3)} {prefix} {unit}"
    return f"{figures(rate, 3)} {unit}"
