"""Write a report to a folder: report.json and report.html."""

import importlib.resources
import json
import os
from pathlib import Path

from estimators.report._html import render as as_html


def write(report: dict, folder: str | os.PathLike) -> tuple[Path, Path]:
    """Write `report.json` and `report.html` into `folder`, made if it does not exist.

    Both are complete before either takes its place: what an earlier report left is replaced
    whole or not at all.

    Returns:
        The paths of the two files.

    Raises:
        OSError: if the folder cannot be made or written to.
    """
    folder = Path(folder)
    data, page = folder / "report.json", folder / "report.html"
    # allow_nan=False: NaN and Infinity are not JSON, and other readers would choke on them.
    contents = {
        data: json.dumps(_plain(report), indent=1, allow_nan=False) + "\n",
        page: as_html(report),
    }
    writable(folder)
    folder.mkdir(parents=True, exist_ok=True)
    drafts = {path: path.with_name(f".{path.name}.{os.getpid()}") for path in contents}
    try:
        for path, text in contents.items():
            drafts[path].write_text(text, encoding="utf-8")
        for path, draft in drafts.items():
            draft.replace(path)
    finally:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)
    return data, page


def writable(folder: str | os.PathLike) -> None:
    """Refuse, before any work, a folder that cannot be written to.

    Raises:
        OSError: saying why; nothing is made.
    """
    folder = Path(folder).absolute()
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not nearest.is_dir():
        raise NotADirectoryError(f"{nearest} is a file; the report needs a folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise PermissionError(f"{nearest} may not be written to")


def schema() -> dict:
    """The JSON schema of `report.json`."""
    source = importlib.resources.files("estimators.report").joinpath("schema.json")
    return json.loads(source.read_text(encoding="utf-8"))


def _plain(value):
    """None for numbers that are not finite: an infinite interval has no finite ends."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value - value != 0:
        return None
    return value
