"""One plot as SVG text that can be set into a page beside others."""

import io
import warnings
from typing import Any

# Drawn at the width of a phone: on a desktop two stand side by side, and the text is never
# scaled below what can be read.
WIDTH, HEIGHT = 4.6, 3.3
# Text stays text; a column called "$x" is a name and not mathematics.
STYLE: dict[Any, Any] = {"svg.fonttype": "none", "font.size": 9, "text.parse_math": False}


def one_plot(height: float = HEIGHT, width: float = WIDTH):
    """A figure and its axes, in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def as_svg(figure, title: str) -> str:
    """The figure as an `<svg>` element; titles on a page must differ in their letters."""
    import matplotlib

    buffer = io.StringIO()
    # The same identifiers every time; and the browser draws what this font has no glyph for.
    with matplotlib.rc_context({"svg.hashsalt": title}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Title": title})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    # Identifiers are unique within one picture only; several share the page.
    prefix = "".join(c for c in title if c.isalpha())
    for mark in ('id="', "url(#", 'href="#'):
        text = text.replace(mark, f"{mark}{prefix}-")
    return text.replace("<svg ", f'<svg role="img" aria-label="{title}" ', 1)
