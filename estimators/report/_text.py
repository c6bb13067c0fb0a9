"""The report as text for a terminal, 88 columns wide."""

import math
import textwrap

from estimators.report._format import counted, figures, plus_minus, short

WIDTH = 88
MOST_PAIRS = 12


def render(report: dict) -> str:
    """The whole report as one string."""
    parts = [
        _head(report),
        _density(report["density"]),
        _information(report["information"]),
        _gaussian(report["gaussian"]),
        _prediction(report["prediction"]),
    ]
    return "\n\n".join(parts) + "\n"


def _head(report: dict) -> str:
    table = report["table"]
    lines = [
        f"estimators {report['estimators']}: report on {table['name']}",
        f"{table['rows']} of {counted(table['rows_read'], 'row')} used, "
        f"{counted(len(table['columns']), 'column')}; "
        f"coverage {report['settings']['coverage']:g}, seed {report['settings']['seed']}. "
        "± is one standard error.",
    ]
    lines += [f"! {note}" for note in table["notes"]]
    return "\n".join(_wrap(line) for line in lines)


def _density(section: dict) -> str:
    title = "HOW DENSE, AND CAN IT BE BELIEVED?"
    if "skipped" in section:
        return _skipped(title, section)
    rows = [
        (item["model"], plus_minus(item["log_likelihood"], item["standard_error"]))
        for item in section["likelihoods"]
    ]
    if section["truth_log_likelihood"] is not None:
        rows.append(("the true density", figures(section["truth_log_likelihood"])))
    regime = section["regime"]
    shares = ", ".join(f"{share:.0%} {name}" for name, share in regime["shares"].items())
    points, index = regime["effective_points"], regime["stable_index"]
    body = [
        _table(("held-out log-likelihood, nats a row", ""), rows),
        "",
        f"{section['rows_fitted']} rows fitted, {section['rows_held_out']} held out, "
        f"{len(section['columns'])} standardised columns.",
        f"Bandwidth {section['bandwidth']:.3f} sd of the data by leave-one-out "
        f"(Scott: {section['scott']:.3f}).",
        f"Regime of the held-out rows: {shares}.",
        f"Effective points a row: median {points[1]:.3g}, quartiles {points[0]:.3g} and "
        f"{points[2]:.3g}; stable index: median {index[1]:.2g}.",
        *(f"Left out: {reason}." for reason in section["left_out"]),
        "",
        _table(
            ("most isolated rows", "log density", "its most extreme column"),
            [
                (
                    f"row {item['row']}",
                    "-inf" if item["log_density"] is None else figures(item["log_density"]),
                    f"{short(item['most_extreme_column'])} ({item['standard_deviations']:+.1f} sd)",
                )
                for item in section["isolated"]
            ],
        ),
    ]
    return _section(title, section["statement"], body)


def _information(section: dict) -> str:
    title = "WHICH COLUMNS TELL ABOUT WHICH?"
    if "skipped" in section:
        return _skipped(title, section)
    pairs = section["pairs"]
    known = any(pair["truth"] is not None for pair in pairs)
    head = ["pair", "information", "interval", "p", "Pearson", ""]
    if known:
        head.insert(3, "truth")
    rows = []
    for pair in pairs[:MOST_PAIRS]:
        mark = "missed by it" if pair["missed_by_correlation"] else ""
        mark = mark if pair["discovered"] else "not shown"
        row = [
            f"{short(pair['first'])} ~ {short(pair['second'])}",
            plus_minus(pair["information"], pair["standard_error"]),
            _interval(pair["interval"]),
            f"{pair['p_value']:.2g}",
            f"{pair['pearson']:+.2f}",
            mark,
        ]
        if known:
            row.insert(3, f"{abs(pair['truth']):.3f}")
        rows.append(row)
    body = [_table(head, rows)]
    if len(pairs) > MOST_PAIRS:
        body.append(f"... and {len(pairs) - MOST_PAIRS} weaker pairs, in report.json.")
    body.append(
        f"Nats, by k nearest neighbours on {section['rows']} rows; p by "
        f"{section['permutations']} permutations, false-discovery rate "
        f"{section['false_discovery_rate']:g}."
    )
    if section["left_out"]:
        body.append(f"Not looked at (too many columns): {', '.join(section['left_out'])}.")
    return _section(title, section["statement"], body)


def _gaussian(section: dict) -> str:
    title = "DOES A GAUSSIAN SUFFICE?"
    if "skipped" in section:
        return _skipped(title, section)
    known = section["levels"][0]["truth"] is not None
    head = ["noise, in sd", "a Gaussian lacks at least, nats a row"]
    rows = [
        [f"{level['sigma']:g}", plus_minus(level["gap"], level["standard_error"])]
        for level in section["levels"]
    ]
    if known:
        head.append("truth")
        rows = [
            [*row, f"{level['truth']:.3f}"]
            for row, level in zip(rows, section["levels"], strict=True)
        ]
    body = [_table(head, rows)]
    if known:
        body.append(
            f"Suffices from {_level(section['suffices_from'])}; "
            f"in truth from {_level(section['truth_suffices_from'])}."
        )
    return _section(title, section["statement"], body)


def _prediction(section: dict) -> str:
    title = "WHAT WILL THE TARGET BE?"
    if "skipped" in section:
        return _skipped(title, section)
    rows = [
        (
            row["method"],
            plus_minus(row["score"], row["score_standard_error"]),
            f"{row['coverage']:.1%}",
            figures(row["width"]),
        )
        for row in section["models"]
    ]
    final = section["interval"]
    rows.append((final["method"], "", f"{final['coverage']:.1%}", figures(final["width"])))
    if section["truth"] is not None:
        row = section["truth"]
        score = plus_minus(row["score"], row["score_standard_error"])
        rows.append((row["method"], score, f"{row['coverage']:.1%}", figures(row["width"])))
    sizes = section["rows"]
    body = [
        _table(
            (short(section["target"]), "weighted interval score", "coverage", "mean width"), rows
        ),
        f"Asked for {100 * final['asked']:g}%; a correct method lands in {final['band'][0]:.1%} to "
        f"{final['band'][1]:.1%} with probability 0.95 (exact, beta-binomial).",
        f"{sizes['train']} rows to train ({section['folds']} folds), {sizes['calibration']} to "
        f"calibrate, {sizes['test']} to report on. Aggregation chosen out of fold: "
        f"{section['chosen']}.",
    ]
    return _section(title, section["statement"], body)


def _section(title: str, statement: str, body: list[str]) -> str:
    lines = [title, _wrap(statement), ""]
    lines += [line if "\n" in line or len(line) <= WIDTH else _wrap(line) for line in body]
    return "\n".join(lines)


def _skipped(title: str, section: dict) -> str:
    return f"{title}\nSkipped: {section['skipped']}."


def _table(head, rows) -> str:
    cells = [list(map(str, row)) for row in (head, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    lines = []
    for row in cells:
        first = row[0].ljust(widths[0])
        rest = (
            c.rjust(w) if i < len(row) - 2 or w < 20 else c.ljust(w)
            for i, (c, w) in enumerate(zip(row[1:], widths[1:], strict=True))
        )
        lines.append("  ".join(("  " + first, *rest)).rstrip())
    lines.insert(1, "  " + "-" * (sum(widths) + 2 * (len(widths) - 1)))
    return "\n".join(lines)


def _interval(ends: list[float]) -> str:
    return "infinite" if math.isinf(ends[0]) else f"{ends[0]:.2f}..{ends[1]:.2f}"


def _level(sigma: float | None) -> str:
    return "no level tried" if sigma is None else f"noise of {sigma:g} sd"


def _wrap(line: str) -> str:
    return textwrap.fill(line, WIDTH, subsequent_indent="  " if line.startswith("!") else "")
