"""The report as one self-contained page: pictures inline, nothing from a network."""

import importlib.resources
import math

from estimators.report import _figures, _format, _text


def render(report: dict) -> str:
    """The page as text."""
    import jinja2
    from markupsafe import Markup

    source = importlib.resources.files("estimators.report").joinpath("page.html.jinja")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        figures=_format.figures,
        number=lambda value, digits=3: f"{value:.{digits}f}",
        percent=lambda value, digits=1: f"{value:.{digits}%}",
    )
    environment.globals.update(
        plus_minus=_format.plus_minus, counted=_format.counted, infinity=math.inf
    )
    template = environment.from_string(source.read_text(encoding="utf-8"))
    figures = {name: Markup(svg) for name, svg in _figures.draw(report).items()}
    return template.render(report=report, figures=figures, most_pairs=_text.MOST_PAIRS)
