"""A table in, a judgement with numbers and pictures out.

    python -m estimators report [TABLE] [--target COLUMN] [--out DIR]

or, from Python:

    result = report.run("table.csv", target="price")     # plain dictionary, see schema.json
    print(report.as_text(result))
    report.write(result, "folder")                       # report.json and report.html

How dense is the table, and can that be believed; which columns tell about which, and what
correlation misses; whether a Gaussian suffices, and from which noise scale; and, with a
target, intervals that cover. Needs the extra `report`.
"""

from estimators.report._run import run
from estimators.report._table import TableError
from estimators.report._text import render as as_text
from estimators.report._write import as_html, schema, write

__all__ = ["TableError", "as_html", "as_text", "run", "schema", "write"]
