"""The command line: `python -m estimators report [TABLE] [--target COLUMN] [--out DIR]`."""

import argparse
import os
import sys

EXIT_OK, EXIT_REFUSED, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0: the report was written. 1: the table was read but cannot be judged. 2: the call was
    wrong: an option, a file that is not there, an extra that is not installed. 130: interrupted.
    """
    options = _parser().parse_args(arguments)
    written: list = []
    try:
        return _report(options, written)
    except KeyboardInterrupt:
        left = f"the report is in {written[0].parent}" if written else "nothing was written"
        return _fail(f"interrupted; {left}", EXIT_INTERRUPTED)


def _report(options: argparse.Namespace, written: list) -> int:
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
        written.extend(report.write(result, options.out))
    except CallError as error:
        return _fail(str(error), EXIT_USAGE)
    except report.TableError as error:
        return _fail(str(error), EXIT_REFUSED)
    except OSError as error:
        known = error.strerror and error.filename
        return _fail(f"{error.filename}: {error.strerror}" if known else str(error), EXIT_USAGE)
    _say(report.as_text(result))
    data, page = written
    _say(f"Written: {page} (pictures) and {data} (every number).")
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
