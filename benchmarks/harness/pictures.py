"""The page's pictures, as SVG text: ratios, memory, rooflines, growth."""

from benchmarks.harness.case import OURS, described
from benchmarks.harness.exponents import measured_points, of_memory, of_time
from benchmarks.harness.summary import Row, plus_minus, reached, rows
from estimators.report._svg import STYLE, as_svg, one_plot

# Okabe & Ito's colours, told apart by everyone; a mark of its own for each as well.
STYLES = {
    "estimators": ("#000000", "D"),
    "numpy": ("#0072B2", "o"),
    "scipy": ("#D55E00", "s"),
    "scikit-learn": ("#009E73", "^"),
    "jax.numpy": ("#CC79A7", "v"),
    "jax.scipy": ("#CC79A7", "v"),
    "KeOps": ("#56B4E9", "P"),
    "scoringrules": ("#E69F00", "X"),
    "MAPIE": ("#D55E00", "s"),
    "crepes": ("#CC79A7", "v"),
    "puncc": ("#E69F00", "X"),
    "TorchCP": ("#56B4E9", "P"),
}
OTHER = ("#8a8f98", "*")
LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#8a8f98")
WIDTH = 7.2


def draw(families: dict) -> dict[str, str]:
    """Every picture, by name: those of a family begin with its own."""
    import matplotlib

    found = {}
    with matplotlib.rc_context(STYLE):
        for name, family in families.items():
            found[f"{name} ratio"] = _ratios(name, family["cases"])
            found[f"{name} memory"] = _memory(name, family["cases"])
            for kind in ("time", "memory"):
                found[f"{name} growth of {kind}"] = _growth(name, family["growth"], kind)
        found["roofline"] = _rooflines(families)
    return {name: picture for name, picture in found.items() if picture}


def _marks(row: Row) -> dict:
    colour, mark = STYLES.get(row.record["library"], OTHER)
    return {
        "color": colour,
        "marker": mark,
        "markerfacecolor": "white" if _is_hollow(row) else colour,
        "markersize": 6,
        "linestyle": "none",
    }


def _is_hollow(row: Row) -> bool:
    """float32, where the library has float64 as well."""
    return row.name != row.record["label"] and row.record["dtype"] == "float32"


def _label(case: dict) -> str:
    return f"{case['case']}\n{described(case['sizes'])}"


def _ratios(family: str, cases: list[dict]) -> str:
    """Times over ours; one line a case."""
    shown = [(case, [row for row in rows(case) if row.ratio]) for case in cases]
    shown = [(case, found) for case, found in shown if found]
    if not shown:
        return ""
    figure, axes = one_plot(0.9 + 0.48 * len(shown), WIDTH)
    for place, (_, found) in enumerate(shown):
        for row, ratio in ((row, row.ratio) for row in found if row.ratio):
            # With two turns the ratio of medians can lie outside the range of ratios.
            spread = [[max(ratio.value - ratio.low, 0)], [max(ratio.high - ratio.value, 0)]]
            axes.errorbar(ratio.value, place, xerr=spread, elinewidth=1, **_marks(row))
    axes.axvline(1, color="#000000", linewidth=1)
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, 0.4), max(high, 2.5))
    _rows_and_legend(axes, [case for case, _ in shown], [f for _, f in shown])
    axes.set_xlabel("time over that of estimators (right of the line: slower); log scale")
    _plain_ticks(axes.xaxis)
    return as_svg(figure, f"{family}: time over that of estimators")


def _memory(family: str, cases: list[dict]) -> str:
    """Megabytes of a call."""
    shown = [(c, [r for r in rows(c) if (r.record.get("memory") or 0) > 0]) for c in cases]
    shown = [(case, found) for case, found in shown if found]
    if not shown:
        return ""
    figure, axes = one_plot(0.9 + 0.48 * len(shown), WIDTH)
    for place, (_, found) in enumerate(shown):
        for row in found:
            # What is under a megabyte is not told apart.
            axes.plot(max(row.record["memory"] / 1e6, 1.0), place, **_marks(row))
    axes.set_xscale("log")
    axes.set_xlim(0.8, max(axes.get_xlim()[1], 20))
    _rows_and_legend(axes, [case for case, _ in shown], [f for _, f in shown])
    axes.set_xlabel("peak memory of a call, MB (1: at most that); log scale")
    _plain_ticks(axes.xaxis)
    return as_svg(figure, f"{family}: memory of a call")


def _rows_and_legend(axes, cases: list[dict], found: list[list]) -> None:
    axes.set_yticks(range(len(cases)), [_label(case) for case in cases], fontsize=8)
    axes.set_ylim(len(cases) - 0.5, -0.5)
    axes.grid(axis="x", color="#d8dee4", linewidth=0.6)
    axes.set_axisbelow(True)
    entries = {}
    for row in (row for line in found for row in line):
        entries.setdefault((row.record["library"], _is_hollow(row)), row)
    for (library, hollow), row in sorted(entries.items(), key=lambda item: item[0][0] != OURS):
        name = f"{library} float32" if hollow else library
        axes.plot([], [], label=name, **_marks(row))
    axes.legend(loc="lower center", bbox_to_anchor=(0.3, 1.0), ncols=4, frameon=False, fontsize=8)


def _plain_ticks(axis) -> None:
    """Numbers without exponents; 1, 2 and 5 of each power where there are few powers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    if high < 50 * low:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _rooflines(families: dict) -> str:
    """The share of its bound that each case reaches."""
    bars = [
        (f"{case['case']} ({record['dtype'].replace('float', 'f')})\n{described(case['sizes'])}", s)
        for family in families.values()
        for case in family["cases"]
        for record, s in reached(case)
    ]
    if not bars:
        return ""
    figure, axes = one_plot(0.7 + 0.34 * len(bars), WIDTH)
    shares = [share for _, share in bars]
    axes.barh(range(len(bars)), shares, color="#0072B2", height=0.6)
    for place, share in enumerate(shares):
        axes.text(share, place, f" {share:.0%}", va="center", fontsize=8)
    axes.axvline(1, color="#000000", linewidth=1)
    axes.set_yticks(range(len(bars)), [name for name, _ in bars], fontsize=7)
    axes.set_ylim(len(bars) - 0.5, -0.5)
    axes.set_xlim(0, max(1.1, 1.12 * max(shares)))
    axes.set_xlabel("time of the bound over time of estimators (1: nothing left to gain)")
    return as_svg(figure, "share of the measured roofline")


def _growth(family: str, curves: list[dict], kind: str) -> str:
    """Lines over the size relative to the first."""
    from matplotlib.ticker import FixedLocator, NullLocator

    figure, axes = one_plot(3.9, 5.0)
    drawn = 0
    for place, curve in enumerate(curves):
        points = measured_points(curve)
        if kind == "time":
            values, found = [p["median"] for p in points], of_time(curve)
        else:
            points = [p for p in points if (p.get("memory") or 0) >= 1 << 20]
            values, found = [p["memory"] / 1e6 for p in points], of_memory(curve)
        if found is None:
            continue
        sizes = [p["value"] / curve["points"][0]["value"] for p in points]
        name = f"{curve['case']}, {curve['axis']}: {plus_minus(found)}"
        mark = "osD^vPX*"[place % 8]
        line = "-" if place < len(LINES) else "--"
        axes.plot(sizes, values, line, color=LINES[place % 8], marker=mark, ms=4, label=name)
        drawn += 1
    if not drawn:
        return ""
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(FixedLocator([1, 2, 4, 8, 16, 32]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    _plain_ticks(axes.yaxis)
    axes.grid(color="#d8dee4", linewidth=0.6)
    axes.set_xlabel("size over the least one")
    axes.set_ylabel("seconds" if kind == "time" else "MB")
    axes.legend(loc="upper center", bbox_to_anchor=(0.45, -0.16), frameon=False, fontsize=8)
    return as_svg(figure, f"{family}: growth of {kind}")
