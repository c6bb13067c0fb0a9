"""The command line.

python -m estimators report [TABLE] [--target COLUMN] [--out DIR]
python -m estimators train-mist [--config FILE] --out DIR
"""

import argparse
import os
import signal
import sys
import threading
from dataclasses import dataclass

EXIT_OK, EXIT_REFUSED, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130


@dataclass
class _Stage:
    """How far a run has come: what an interrupt may do, and what it has to say."""

    writing: bool = False
    left: str = "nothing was written"

    def interrupted(self) -> str:
        return f"interrupted; {self.left}"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0: what was asked for was written. 1: the table was read but cannot be judged. 2: the call was
    wrong: an option, a file that is not there, an extra that is not installed. 130: interrupted.
    """
    stage = _Stage()
    if arguments is None and threading.current_thread() is threading.main_thread():
        _stop_on_interrupt(stage)
    options = _parser().parse_args(arguments)
    try:
        return _report(options, stage) if options.command == "report" else _train(options, stage)
    except KeyboardInterrupt:
        return _fail(stage.interrupted(), EXIT_INTERRUPTED)


def _stop_on_interrupt(stage: _Stage) -> None:
    """Make Ctrl-C end this process at once.

    Python's KeyboardInterrupt is not enough: raised in a callback of jax it is lost, and in an
    extension module that is being imported it turns into an ImportError.
    """

    def stop(*_):
        if stage.writing:
            raise KeyboardInterrupt  # to be cleaned up after
        os.write(2, f"estimators: {stage.interrupted()}\n".encode())
        os._exit(EXIT_INTERRUPTED)

    signal.signal(signal.SIGINT, stop)


def _report(options: argparse.Namespace, stage: _Stage) -> int:
    missing = _missing_extras()
    if missing:
        return _fail(
            f"the report needs {', '.join(missing)}: pip install 'estimators[report]'", EXIT_USAGE
        )

    import jax

    # The command is a process of its own: its numbers are worth 64 bits.
    jax.config.update("jax_enable_x64", True)
    from estimators import report
    from estimators.report._table import CallError
    from estimators.report._write import writable

    try:
        writable(options.out)
        result = report.run(
            options.table,
            target=options.target,
            coverage=options.coverage,
            seed=options.seed,
            quiet=options.quiet,
        )
        stage.writing = True
        data, page = report.write(result, options.out)
        stage.writing, stage.left = False, f"the report is in {options.out}"
    except CallError as error:
        return _fail(str(error), EXIT_USAGE)
    except report.TableError as error:
        return _fail(str(error), EXIT_REFUSED)
    except OSError as error:
        known = error.strerror and error.filename
        return _fail(f"{error.filename}: {error.strerror}" if known else str(error), EXIT_USAGE)
    _say(report.as_text(result))
    _say(f"Written: {page} (pictures) and {data} (every number).")
    return EXIT_OK


def _train(options: argparse.Namespace, stage: _Stage) -> int:
    from estimators.information._mist import _command

    stage.left = f"the same command carries on from what is in {options.out}"
    try:
        config = (
            _command.Config() if options.config is None else _command.Config.read(options.config)
        )
        _command.run(config, options.out)
    except ValueError as error:
        return _fail(str(error), EXIT_USAGE)
    except OSError as error:
        return _fail(f"{error.filename}: {error.strerror}", EXIT_USAGE)
    return EXIT_OK


def _say(text: str) -> None:
    """Print, to a terminal that knows no such letters or a reader that has gone, too."""
    try:
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        print(text.encode(encoding, "replace").decode(encoding), flush=True)
    except BrokenPipeError:
        # As in `... | head`. Python flushes once more as it ends: give it somewhere to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m estimators", description="Turn samples into statements."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    report = commands.add_parser(
        "report",
        help="judge a table: density, information, Gaussianity, prediction intervals",
        description="Judge a table of numbers. Without TABLE, judge the data set that ships, "
        "whose truth is known, and print the truth beside every estimate.",
        epilog="Exit code: 0 report written; 1 the table cannot be judged; 2 wrong call.",
    )
    report.add_argument("table", nargs="?", metavar="TABLE", help="a .csv, .npz or .npy file")
    report.add_argument(
        "--target", metavar="COLUMN", help="column to predict: its name, or its number in the file"
    )
    report.add_argument(
        "--out",
        metavar="DIR",
        default="estimators-report",
        help="folder for report.html and report.json (default: %(default)s)",
    )
    report.add_argument(
        "--coverage",
        type=float,
        default=0.9,
        metavar="C",
        help="coverage asked of every interval (default: %(default)s)",
    )
    report.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="the one source of randomness (default: %(default)s)",
    )
    report.add_argument("--quiet", action="store_true", help="no progress on stderr")
    train = commands.add_parser(
        "train-mist",
        help="train a network that estimates mutual information",
        description="Simulate data of known information, train on them, calibrate, and print the "
        "error on data that had no part in it. Cut off, the same command carries on.",
        epilog="Exit code: 0 weights written; 2 wrong call; 130 interrupted.",
    )
    train.add_argument("--config", metavar="FILE", help="a .toml file; without, the shipped recipe")
    train.add_argument("--out", metavar="DIR", required=True, help="folder of all that is written")
    return parser


def _missing_extras() -> list[str]:
    from importlib.util import find_spec

    needed = {"jinja2": "jinja2", "matplotlib": "matplotlib", "sklearn": "scikit-learn"}
    return [name for module, name in needed.items() if find_spec(module) is None]


def _fail(message: str, code: int) -> int:
    print(f"estimators: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
