"""The work of the library on an accelerator, beside the device's own ceilings and a peer.

    python benchmarks/accelerator.py [--only density mist sampler calibration] [--tiny]
                                     [--peer torch|cupy|none] [--minutes 9]
                                     [--json FILE] [--page FILE] [--read FILE]

Each piece of work has a process of its own and a share of the minutes, and is ended when that is
spent; what it has by then is kept: the JSON file is written after every row. The device's
ceilings are measured first, always: rates of products, exponentials, elementwise work and copies.
`--page docs/accelerator.md` puts the tables into the places that the page has for them, and
`--read` makes them from a JSON file of before, measuring nothing. `--tiny` rehearses everything at
sizes for a CPU. A peer that is not installed is left out, by name.
"""

import argparse
import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.harness import machine  # noqa: E402
from benchmarks.harness.case import version_of  # noqa: E402
from benchmarks.harness.progress import clock  # noqa: E402
from benchmarks.on_device import page, peers  # noqa: E402
from benchmarks.on_device.timing import Budget, Context  # noqa: E402

WORK = ("density", "mist", "sampler", "calibration")
# Of the time. In this order: what is left over goes to the sums over a million points.
SHARES = {"ceilings": 0.07, "calibration": 0.09, "sampler": 0.14, "mist": 0.22, "density": 0.48}
PEERLESS = ("ceilings", "mist")
# Of its own share a piece plans with so much; the rest is for starting, and for the last call.
PLANNED = 0.8


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line asks."""
    options = _options(arguments)
    if options.worker:
        _work(options)
        return 0
    if options.read:
        results = json.loads(options.read.read_text(encoding="utf-8"))
    else:
        results = measure(options)
    for name in (piece for piece in page.PIECES if piece in results["pieces"]):
        print(f"\n## {name}\n\n{page.render(results, name)}", flush=True)
    if options.page:
        page.fill(options.page, results)
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=WORK, default=list(WORK), metavar="PIECE")
    parser.add_argument("--tiny", action="store_true", help="sizes for a rehearsal on a CPU")
    parser.add_argument("--peer", choices=(*peers.NAMES, "none"), default="torch")
    parser.add_argument("--minutes", type=float, default=9.0, help="for everything together")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--page", type=Path, metavar="FILE", help="docs/accelerator.md")
    parser.add_argument("--read", type=Path, metavar="FILE", help="a JSON file of before")
    parser.add_argument("--worker", choices=tuple(SHARES), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if not options.minutes > 0:
        parser.error(f"--minutes must be positive; got {options.minutes}")
    if options.page:  # before minutes are spent on what then has no place
        try:
            text = options.page.read_text(encoding="utf-8")
            for name in ("ceilings", *options.only):
                page.place(options.page, text, name)
        except (OSError, ValueError) as error:
            parser.error(f"--page: {error}")
    return options


def measure(options: argparse.Namespace) -> dict:
    """Run the chosen pieces, each in a process of its own."""
    chosen = [name for name in SHARES if name == "ceilings" or name in options.only]
    budget, total = Budget(60 * options.minutes), 60 * options.minutes
    results = {
        "when": machine.today(),
        "command": _command(options),
        "tiny": options.tiny,
        "host": machine.machine(),
        "device": {},
        "versions": {},
        "absent": {},
        "pieces": {},
    }
    for i, name in enumerate(chosen):
        allowed = budget.left * SHARES[name] / sum(SHARES[later] for later in chosen[i:])
        found = {"records": [], "stopped": ""}
        results["pieces"][name] = found

        def tell(what, name=name):
            gone = clock(total - budget.left)
            print(f"{gone} of at most {clock(total)}  {name}: {what}", file=sys.stderr, flush=True)

        def keep(reply, tell=tell):
            _keep(reply, results, tell)
            _save(options, results)

        tell("starting")
        found["stopped"] = run(options, name, allowed, keep)
        if found["stopped"]:
            tell(found["stopped"])
        _save(options, results)
    return results


def _save(options: argparse.Namespace, results: dict) -> None:
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def _keep(reply: dict, results: dict, tell: Callable[[str], None]) -> None:
    """Put what a worker says where it belongs."""
    if "piece" not in reply:
        results["device"] = reply["device"]
        results["versions"] |= reply["versions"]
        results["absent"] |= reply["absent"]
        return
    results["pieces"][reply["piece"]]["records"].append(reply)
    what = reply.get("label") or reply["rate_of"]
    sizes = reply.get("sizes", {}).values()
    came = reply.get("failed") or f"{reply['median']:.3g} s"
    tell(f"{' '.join(map(str, sizes))} {what}: {came}".strip())


def _command(options: argparse.Namespace) -> str:
    words = ["python benchmarks/accelerator.py"]
    if set(options.only) != set(WORK):
        words.append(f"--only {' '.join(options.only)}")
    if options.tiny:
        words.append("--tiny")
    if options.peer != "torch":
        words.append(f"--peer {options.peer}")
    if options.minutes != 9:
        words.append(f"--minutes {options.minutes:g}")
    return " ".join(words)


def run(
    options: argparse.Namespace, name: str, allowed: float, keep: Callable[[dict], None]
) -> str:
    """Run a piece in a process, and say why it did not finish, if it did not."""
    words = [sys.executable, __file__, "--worker", name, "--peer", options.peer]
    words += ["--minutes", str(PLANNED * allowed / 60)] + ["--tiny"] * options.tiny
    # A peer shares the device's memory with JAX.
    environment = dict(os.environ, XLA_PYTHON_CLIENT_PREALLOCATE="false")
    # A compiled program of an earlier run would make the first call look cheap.
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    late = threading.Event()
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )

    def end():
        late.set()
        # With whatever it started: a peer's compiler has processes of its own.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    guard = threading.Timer(allowed, end)
    guard.start()
    with process:
        try:
            for line in process.stdout or ():
                keep(json.loads(line))
            code = process.wait()
        except BaseException:  # interrupted: in a session of its own it would run on
            end()
            raise
        finally:
            guard.cancel()
    if late.is_set():
        return f"ended after its {allowed:.3g} seconds"
    return f"its process ended with exit status {code}" if code else ""


def _work(options: argparse.Namespace) -> None:
    """The process of a piece: a line of JSON for what it runs on, and one for each record."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # a library that prints does not disturb the replies
    for reply in replies_of(options.worker, options.tiny, options.peer, 60 * options.minutes):
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


def replies_of(name: str, tiny: bool, peer: str, allowed: float) -> Iterator[dict]:
    """What the process of a piece says."""
    budget = Budget(allowed)
    import jax

    device = jax.devices()[0]
    # To import a peer takes as long as some of the pieces.
    forms, reason = peers.find("none" if name in PEERLESS else peer, device.platform)
    loaded = {n: getattr(sys.modules.get(n), "__version__", "") for n in ("jax", *peers.NAMES)}
    versions = {"estimators": version_of("estimators"), **loaded}
    yield {
        "device": {"name": device.device_kind, "platform": device.platform},
        "versions": {name: version for name, version in versions.items() if version},
        "absent": {peer: reason} if reason else {},
    }
    module = importlib.import_module(f"benchmarks.on_device.{name}")
    try:
        yield from module.records(Context(tiny, forms, budget))
    except Exception:
        traceback.print_exc()
        raise SystemExit(1) from None


if __name__ == "__main__":
    raise SystemExit(main())
