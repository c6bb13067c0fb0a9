"""Write a report to a folder: report.json and report.html."""

import importlib.resources
import json
import os
from pathlib import Path

from estimators.report._html import render as as_html


def write(report: dict, folder: str | os.PathLike) -> tuple[Path, Path]:
    """Write `report.json` and `report.html` into `folder`, made if it does not exist.

    Returns:
        The paths of the two files.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    data, page = folder / "report.json", folder / "report.html"
    # allow_nan=False: NaN and Infinity are not JSON, and other readers would choke on them.
    data.write_text(json.dumps(_plain(report), indent=1, allow_nan=False) + "\n")
    page.write_text(as_html(report), encoding="utf-8")
    return data, page


def schema() -> dict:
    """The JSON schema of `report.json`."""
    source = importlib.resources.files("estimators.report").joinpath("schema.json")
    return json.loads(source.read_text())


def _plain(value):
    """None for numbers that are not finite: an infinite interval has no finite ends."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value - value != 0:
        return None
    return value
