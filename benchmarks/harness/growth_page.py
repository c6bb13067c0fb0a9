"""docs/growth.md: the exponents, as a table."""

from benchmarks.harness.machine import in_words
from benchmarks.harness.summary import growth_rows

HEAD = """# How time and memory grow

Made by `{command}` ({when}; {machine}). Exponents b of `a size^b` for
`estimators` alone, after compilation, by least squares in logarithms, with their standard errors;
medians of {turns} turns, other sizes fixed. Memory is the peak of one call beyond what was
there before it, results included; its exponent is over the sizes that need a megabyte or more,
and is left out where fewer than three do. An exponent below that of the algorithm says that
small sizes still pay for the call itself.
"""
COLUMNS = {
    "task": "task",
    "grows": "grows",
    "fixed": "fixed",
    "time": "time at the last",
    "time_exponent": "exponent of time",
    "memory": "memory at the last",
    "memory_exponent": "exponent of memory",
}


def render(results: dict) -> str:
    """The page as Markdown."""
    families = results["families"]
    newest = max(families.values(), key=lambda family: family["when"])
    parts = [
        HEAD.format(
            command=newest["command"],
            when=newest["when"],
            machine=in_words(newest["machine"]),
            turns=_turns(families),
        )
    ]
    for name, family in families.items():
        if family["growth"]:
            parts.append(f"## {name}\n\n{_table(growth_rows({name: family}))}")
    return "\n".join(parts)


def _turns(families: dict) -> int:
    """The fewest that any of them is the median of."""
    curves = (curve for family in families.values() for curve in family["growth"])
    return min(len(point["turns"]) for curve in curves for point in curve["points"])


def _table(rows: list[dict[str, str]]) -> str:
    lines = [f"| {' | '.join(COLUMNS.values())} |", f"|{'--|' * len(COLUMNS)}"]
    lines += [f"| {' | '.join(row[key] for key in COLUMNS)} |" for row in rows]
    return "\n".join(lines) + "\n"
