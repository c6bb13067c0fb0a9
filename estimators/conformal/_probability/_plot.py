"""Reliability diagrams as pictures."""

from typing import Any

import numpy as np

BLUE, GREY, PALE = "#0072B2", "#8a8f98", "#d5d8dd"
HIGHEST = 0.12  # of the axes: the tallest bar of the histogram of rows


def plot_bins(diagram, ax=None) -> Any:
    """Points, the bars that calibration allows, and how many rows there are in each bin."""
    ax = _axes(ax)
    x, count = np.asarray(diagram.predicted), np.asarray(diagram.count)
    edges = np.asarray(diagram.edges)
    heights = HIGHEST * count / np.diff(edges).clip(1e-9)
    heights = HIGHEST * heights / heights.max()
    ax.bar(edges[:-1], heights, np.diff(edges), align="edge", color=PALE, edgecolor="white")
    ends = np.asarray(diagram.lower), np.asarray(diagram.upper)
    label = f"{diagram.coverage:.0%} of calibrated forecasts, each bin"
    ax.vlines(x, *ends, color=GREY, linewidth=5, alpha=0.5, label=label)
    ax.plot(x, np.asarray(diagram.observed), "o-", color=BLUE, markersize=4, label="observed")
    ax.legend(loc="upper left", frameon=False, fontsize="small")
    return ax


def plot_curve(curve, ax=None) -> Any:
    """The isotonic curve, where the rows are, and the parts of the score."""
    ax = _axes(ax)
    x, y = np.asarray(curve.predicted), np.asarray(curve.recalibrated)
    order = np.argsort(x)
    heights, edges = np.histogram(x, 40, (0, 1))
    heights = HIGHEST * heights / heights.max()
    ax.bar(edges[:-1], heights, np.diff(edges), align="edge", color=PALE, edgecolor="white")
    ax.plot(x[order], y[order], color=BLUE)
    names = "miscalibration", "discrimination", "uncertainty"
    lines = [f"{curve.score} score {float(curve.mean_score):.4f}"]
    lines += [f"{name} {float(getattr(curve, name)):.4f}" for name in names]
    ax.text(0.03, 0.97, "\n".join(lines), va="top", fontsize="small", transform=ax.transAxes)
    return ax


def _axes(ax) -> Any:
    """Square axes of probability, with the diagonal."""
    if ax is None:
        from matplotlib.figure import Figure

        ax = Figure(figsize=(4.2, 4.2), layout="constrained").add_subplot()
    ax.plot([0, 1], [0, 1], color=GREY, linewidth=0.8)
    ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    ax.set(xlabel="predicted probability", ylabel="observed frequency")
    ax.spines[["top", "right"]].set_visible(False)
    return ax
