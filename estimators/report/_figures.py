"""The report's pictures, as SVG text to be set into the page."""

import numpy as np

from estimators.report._svg import STYLE, as_svg, one_plot

# Okabe & Ito's colours, told apart by everyone.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#8a8f98"


def draw(report: dict) -> dict[str, str]:
    """Every picture that the report has something for, by name."""
    import matplotlib

    makers = {
        "likelihood": (_likelihood, "density"),
        "regime": (_regime, "density"),
        "information": (_information, "information"),
        "gaussian": (_gaussian, "gaussian"),
        "intervals": (_intervals, "prediction"),
        "coverage": (_coverage, "prediction"),
    }
    with matplotlib.rc_context(STYLE):
        return {
            name: maker(report[section])
            for name, (maker, section) in makers.items()
            if "skipped" not in report[section]
        }


def _likelihood(section: dict) -> str:
    figure, axes = one_plot(2.3)
    models = section["likelihoods"]
    for i, item in enumerate(models):
        axes.errorbar(
            item["log_likelihood"],
            i,
            xerr=1.96 * item["standard_error"],
            fmt="o",
            color=BLUE,
            capsize=3,
        )
    axes.set_yticks(range(len(models)), [item["model"] for item in models])
    axes.invert_yaxis()
    axes.margins(x=0.08, y=0.25)
    axes.locator_params(axis="x", nbins=5)
    if section["truth_log_likelihood"] is not None:
        axes.axvline(section["truth_log_likelihood"], color=GREEN, linestyle="--")
        axes.annotate(
            "truth",
            (section["truth_log_likelihood"], 1.0),
            color=GREEN,
            ha="right",
            xytext=(-4, -10),
            textcoords="offset points",
            xycoords=("data", "axes fraction"),
        )
    axes.set_xlabel("held-out nats a row, 95 % interval")
    return as_svg(figure, "Held-out log-likelihood of three densities")


def _regime(section: dict) -> str:
    figure, axes = one_plot(2.3)
    shares = section["regime"]["shares"]
    left = 0.0
    for (name, share), color in zip(shares.items(), (BLUE, GREY, ORANGE), strict=True):
        axes.barh([0], [share], left=left, color=color, label=f"{name} {share:.0%}", height=0.5)
        left += share
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.6, 0.9)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xticks([0, 0.5, 1], ["none", "half", "all rows"])
    axes.legend(
        loc="upper center", ncols=3, frameon=False, fontsize=9, columnspacing=1.0, handlelength=1.0
    )
    points = section["regime"]["effective_points"]
    axes.set_xlabel(f"effective points a row: median {points[1]:.3g}")
    return as_svg(figure, "Regime of the kernel density at held-out rows")


def _information(section: dict) -> str:
    names = section["columns"]
    count = len(names)
    figure, axes = one_plot(max(3.6, 0.28 * count + 1.2))
    # Above the diagonal what correlation shows, as the information of a Gaussian of that
    # correlation; below it what there is. Same scale: a pair that differs was missed.
    grid = np.full((count, count), np.nan)
    for pair in section["pairs"]:
        i, j = sorted((names.index(pair["first"]), names.index(pair["second"])))
        grid[j, i] = min(max(pair["information"], 0), 10)
        grid[i, j] = -0.5 * np.log1p(-min(max(pair["pearson"] ** 2, pair["spearman"] ** 2), 0.999))
    image = axes.imshow(grid, cmap="Blues", vmin=0, vmax=max(np.nanmax(grid), 0.1))
    for pair in section["pairs"]:
        if pair["discovered"]:
            i, j = sorted((names.index(pair["first"]), names.index(pair["second"])))
            color = "white" if grid[j, i] > 0.5 * np.nanmax(grid) else "black"
            axes.text(
                i,
                j,
                "!" if pair["missed_by_correlation"] else "•",
                ha="center",
                va="center",
                color=color,
                fontsize=8,
            )
    axes.set_xticks(
        range(count), [name[:14] for name in names], rotation=60, ha="right", rotation_mode="anchor"
    )
    axes.set_yticks(range(count), [name[:14] for name in names])
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(length=0)
    figure.colorbar(image, ax=axes, shrink=0.75, label="nats")
    axes.set_title("below: information · above: as correlation shows it", fontsize=9)
    return as_svg(figure, "Mutual information below the diagonal, correlation above it")


def _gaussian(section: dict) -> str:
    figure, axes = one_plot()
    levels = section["levels"]
    sigma = [level["sigma"] for level in levels]
    gap = np.array([level["gap"] for level in levels])
    error = 1.96 * np.array([level["standard_error"] for level in levels])
    axes.fill_between(sigma, gap - error, gap + error, color=BLUE, alpha=0.2, linewidth=0)
    axes.plot(sigma, gap, "o-", color=BLUE, markersize=4, label="estimate (a lower bound)")
    if levels[0]["truth"] is not None:
        axes.plot(sigma, [level["truth"] for level in levels], "--", color=GREEN, label="truth")
    axes.axhline(section["tolerance"], color=GREY, linewidth=1)
    axes.annotate(
        f"{section['tolerance']:g} nats",
        (sigma[-1], section["tolerance"]),
        ha="right",
        xytext=(0, 3),
        textcoords="offset points",
        color=GREY,
        fontsize=8,
    )
    axes.set_xlabel("noise, in sd of the columns")
    axes.set_ylabel("what a Gaussian lacks, nats a row")
    axes.legend(frameon=False)
    return as_svg(figure, "What a Gaussian lacks at each noise level")


def _intervals(section: dict) -> str:
    figure, axes = one_plot()
    shown = section["shown"]
    median, lower, upper, observed = (
        np.array(shown[name], float) for name in ("median", "lower", "upper", "observed")
    )
    position = np.arange(len(median))
    inside = (lower <= observed) & (observed <= upper)
    if np.isfinite(lower).all():
        axes.vlines(position, lower, upper, color=BLUE, alpha=0.35, linewidth=3)
    axes.plot(position, median, "_", color=BLUE, markersize=5, label="median and interval")
    axes.plot(
        position[inside], observed[inside], "o", color="black", markersize=3, label="observed"
    )
    axes.plot(
        position[~inside],
        observed[~inside],
        "o",
        color=ORANGE,
        markersize=4,
        label="observed, outside",
    )
    axes.set_xticks([])
    axes.set_xlabel(f"{len(median)} test rows in the order of their predicted median")
    axes.set_ylabel(section["target"])
    axes.legend(
        frameon=False,
        fontsize=8,
        loc="lower center",
        bbox_to_anchor=(0.45, 1.0),
        ncols=3,
        columnspacing=1.0,
        handletextpad=0.3,
    )
    return as_svg(figure, "Calibrated intervals on test rows")


def _coverage(section: dict) -> str:
    rows = [*section["models"], section["interval"]]
    if section["truth"] is not None:
        rows.append(section["truth"])
    figure, axes = one_plot(0.35 * len(rows) + 1.2)
    low, high = section["interval"]["band"]
    axes.axvspan(low, high, color=GREEN, alpha=0.2, linewidth=0, label="95 % band if calibrated")
    axes.axvline(section["interval"]["asked"], color=GREEN, linewidth=1)
    for i, row in enumerate(rows):
        last = row["method"].endswith("calibrated")
        axes.plot(row["coverage"], i, "D" if last else "o", color=ORANGE if last else BLUE)
    axes.set_yticks(range(len(rows)), [row["method"] for row in rows])
    axes.invert_yaxis()
    axes.margins(y=0.15, x=0.1)
    axes.locator_params(axis="x", nbins=6)
    axes.set_xlabel("share of test rows inside the interval")
    axes.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.4, 1.0))
    return as_svg(figure, "Coverage reached against coverage asked for")
