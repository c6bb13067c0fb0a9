"""The benchmarks as one self-contained page: pictures inline, nothing from a network."""

from pathlib import Path

from benchmarks.harness import pictures
from benchmarks.harness.case import LIBRARIES, described
from benchmarks.harness.machine import in_words
from benchmarks.harness.summary import (
    absent,
    figures,
    growth_rows,
    megabytes,
    plus_minus,
    reached,
    rows,
    seconds,
)

TEMPLATE = Path(__file__).with_name("page.html.jinja")


def render(results: dict) -> str:
    """The page as text."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals.update(
        rows=rows,
        reached=reached,
        described=described,
        seconds=seconds,
        megabytes=megabytes,
        figures=figures,
        plus_minus=plus_minus,
        growth_rows=growth_rows,
        in_words=in_words,
    )
    families = results["families"]
    drawn = {name: Markup(text) for name, text in pictures.draw(families).items()}
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        families=families,
        pictures=drawn,
        absent=absent(families),
        heavy=[name for name, library in LIBRARIES.items() if library.heavy],
    )
