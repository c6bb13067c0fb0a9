"""Every comparison with a peer, in one command.

    python -m benchmarks [--only FAMILY ...] [--repeat 5] [--json FILE] [--page FILE]
                         [--growth FILE] [--quick]
    python -m benchmarks --readme

Needs the extra `benchmarks`. A peer that is not installed is left out, by name. What was measured
goes into the JSON file; page, growth table and README are made from it. With `--only` the other
families keep what the file has of them. `--readme` measures nothing: it rewrites the table in
README.md from the file.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.cases import FAMILIES
from benchmarks.harness import growth_page, machine, page, readme
from benchmarks.harness.case import Case, load
from benchmarks.harness.progress import Progress, clock
from benchmarks.harness.run import Driver, family, growths, settings

ROOT = Path(__file__).parents[1]
FILES = {"json": "benchmarks.json", "page": "side_by_side.html", "growth": "growth.md"}


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line asks."""
    options = _options(arguments)
    if options.readme:
        readme.rewrite(ROOT / "README.md", _read(options.json))
        return 0
    known = options.json.exists() and not options.quick
    before = _read(options.json) if known else {"families": {}}
    started = time.perf_counter()
    measure(options, before["families"])
    sys.stderr.write(
        f"done in {clock(time.perf_counter() - started)}: {options.json}, {options.page}, "
        f"{options.growth}\n"
    )
    return 0


def _read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def _options(arguments: list[str] | None) -> argparse.Namespace:
    summary = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=summary)
    parser.add_argument("--only", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--repeat", type=int, default=5, help="rounds of each contender")
    parser.add_argument("--json", type=Path, metavar="FILE", help="docs/benchmarks.json")
    parser.add_argument("--page", type=Path, metavar="FILE", help="docs/side_by_side.html")
    parser.add_argument("--growth", type=Path, metavar="FILE", help="docs/growth.md")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, into a temporary folder")
    parser.add_argument("--readme", action="store_true", help="rewrite the table in README.md")
    options = parser.parse_args(arguments)
    if options.repeat < 1:
        parser.error(f"--repeat must be at least 1; got {options.repeat}")
    folder = Path(tempfile.mkdtemp("-benchmarks")) if options.quick else ROOT / "docs"
    for name, file in FILES.items():
        if getattr(options, name) is None:
            setattr(options, name, folder / file)
    return options


def measure(options: argparse.Namespace, known: dict) -> None:
    """The chosen families anew, the others as they were; the files are written after each."""
    modules = {name: f"benchmarks.cases.{name}" for name in options.only}
    tasks = {name: list(_tasks(load(module), options.quick)) for name, module in modules.items()}
    expected = tuple(s for name in options.only for s in _seconds(known.get(name, {})))
    progress = Progress(sum(map(len, tasks.values())), expected)
    found = dict(known)
    with Driver(options.repeat, progress) as driver:
        for name, module in modules.items():
            load_before, started = machine.load(), time.perf_counter()
            records = family(driver, module, options.quick)
            found[name] = {
                "when": machine.today(),
                "command": _command(options),
                "machine": machine.machine(),
                "versions": machine.versions(),
                "load": [load_before, machine.load()],
                "repeat": options.repeat,
                "seconds": time.perf_counter() - started,
                **records,
            }
            write({"families": {name: found[name] for name in FAMILIES if name in found}}, options)


def _tasks(cases: dict[str, Case], quick: bool) -> Iterator[str]:
    for case in cases.values():
        yield from (case.name for _ in (*settings(case, quick), *growths(case, quick)))


def _seconds(family: dict) -> list[float]:
    return [record["seconds"] for record in (*family.get("cases", ()), *family.get("growth", ()))]


def _command(options: argparse.Namespace) -> str:
    words = ["python -m benchmarks"]
    if options.quick:
        words.append("--quick")
    if options.repeat != 5:
        words.append(f"--repeat {options.repeat}")
    return " ".join(words)


def write(results: dict, options: argparse.Namespace) -> None:
    """The JSON file, the page and the table of growth."""
    results = {"families": _rounded(results["families"])}
    options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    options.page.write_text(page.render(results), encoding="utf-8")
    options.growth.write_text(growth_page.render(results), encoding="utf-8")


def _rounded(value):
    """Floats to five figures: more is noise, and makes the file long."""
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_rounded(entry) for entry in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


if __name__ == "__main__":
    raise SystemExit(main())
