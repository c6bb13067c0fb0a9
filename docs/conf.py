"""The site: `python -m sphinx -W --keep-going docs docs/_build/html`. No network is used."""

import os
from importlib.metadata import version as version_of
from pathlib import Path

HERE = Path(__file__).parent

project = "estimators"
author = "The estimators authors"
copyright = "the estimators authors"
version = release = version_of("estimators")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build", "jupyter_execute", "**/.ipynb_checkpoints"]
source_suffix = {".md": "myst-nb", ".rst": "restructuredtext"}
root_doc = "index"
default_role = "code"  # docstrings put names between single backticks

html_theme = "furo"
html_title = f"estimators {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_extra_path = ["side_by_side.html"]
html_copy_source = False
html_show_sourcelink = False

# Every cell runs at every build, against the library as it is. One CPU device, one compile
# cache beside the built pages: a second build is quicker.
nb_execution_mode = "force"
nb_execution_timeout = 240
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_execution_show_tb = True
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(HERE / "_build" / "jax-cache"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
os.environ.setdefault("MPLCONFIGDIR", str(HERE / "_build" / "matplotlib"))

myst_enable_extensions = ["dollarmath", "amsmath", "deflist", "colon_fence"]
myst_heading_anchors = 3
myst_dmath_double_inline = True

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # shapes and dtypes are in the docstrings
autodoc_default_options = {"members": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_attr_annotations = False
napoleon_custom_sections = [("Fields", "params_style")]


def _mathml(block: bool):
    """Formulas as MathML, by docutils: every current browser draws it, offline, without scripts."""
    from docutils.utils.math.latex2mathml import tex2mathml

    def visit(translator, node):
        from docutils import nodes

        formula = tex2mathml(node.astext(), as_block=block)
        translator.body.append(f'<div class="math">{formula}</div>' if block else formula)
        raise nodes.SkipNode

    return visit, None


SECTIONS = ("Args:", "Attributes:", "Example:", "Fields:", "Raises:", "Returns:")
LEADS = ("Guarantee:", "Reference:", "References:", "When it fails:")


def _to_rst(app, what, name, obj, options, lines):
    """Docstrings are plain text for the terminal: mark their code blocks, tables and leads."""
    out, in_section = [], False
    for i, line in enumerate(lines):
        before = lines[i - 1] if i else ""
        if line and not line.startswith(" "):
            in_section = line in SECTIONS
        indented = line.startswith("    ") and not in_section
        if indented and not before.strip() and not _continues(lines, i):
            out += ["::", ""]
        if line.startswith("|"):
            out += _table_row(line, first=not before.startswith("|"))
            continue
        for lead in LEADS:
            if line.startswith(f"{lead} "):
                line = f"**{lead}**{line[len(lead) :]}"
        out.append("Fields:" if line == "Attributes:" else line)
    lines[:] = out


def _continues(lines, i):
    """Whether line `i` goes on with a code block that began before a blank line."""
    above = [line for line in lines[:i] if line.strip()]
    return bool(above) and above[-1].startswith("    ")


def _table_row(line, first):
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    if set("".join(cells)) == {"-"}:
        return []
    rows = [f"   {'* -' if k == 0 else '  -'} {cell}" for k, cell in enumerate(cells)]
    return ([".. list-table::", "   :header-rows: 1", ""] if first else []) + rows


def _signature(app, what, name, obj, options, signature, annotation):
    """Results are made by the library: how they are constructed is nobody's business."""
    from estimators._core import Spec

    hidden = what == "class" and name.split(".")[1] != "testing"
    if hidden and not issubclass(obj, Spec) and obj.__name__ != "Printer":
        return "", None
    return signature, annotation


def setup(app):
    app.connect("autodoc-process-docstring", _to_rst, priority=100)  # before napoleon
    app.connect("autodoc-process-signature", _signature)
    app.add_html_math_renderer("mathml", _mathml(False), _mathml(True))


html_math_renderer = "mathml"
