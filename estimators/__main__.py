"""The command line: `python -m estimators report [TABLE] [--target COLUMN] [--out DIR]`."""

import argparse
import sys

EXIT_OK, EXIT_REFUSED, EXIT_USAGE = 0, 1, 2


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0: the report was written. 1: the table was read but cannot be judged. 2: the call was
    wrong: an option, a file that is not there, an extra that is not installed.
    """
    options = _parser().parse_args(arguments)
    missing = _missing_extras()
    if missing:
        return _fail(
            f"the report needs {', '.join(missing)}: pip install 'estimators[report]'", EXIT_USAGE
        )
    if not 0 < options.coverage < 1:
        return _fail(f"--coverage must lie between 0 and 1; got {options.coverage}", EXIT_USAGE)

    import jax

    # The command is a process of its own: its numbers are worth 64 bits.
    jax.config.update("jax_enable_x64", True)
    from estimators import report

    try:
        result = report.run(
            options.table,
            target=options.target,
            coverage=options.coverage,
            seed=options.seed,
            quiet=options.quiet,
        )
        data, page = report.write(result, options.out)
    except (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError) as error:
        return _fail(str(error), EXIT_USAGE)
    except report.TableError as error:
        return _fail(str(error), EXIT_REFUSED)
    except KeyboardInterrupt:
        return _fail("interrupted; nothing was written", 130)
    print(report.as_text(result))
    print(f"Written: {page} (pictures) and {data} (every number).")
    return EXIT_OK


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
    report.add_argument("--target", metavar="COLUMN", help="column to predict: its name, or number")
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
