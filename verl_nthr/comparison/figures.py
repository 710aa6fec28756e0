"""Learning curves and curves of the displacement monitor, with confidence bands over seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from verl_nthr.comparison.report import NAMES
from verl_nthr.comparison.statistics import curve

STYLES = (
    ("#000000", "-", "o"),
    ("#D55E00", "-", "D"),
    ("#56B4E9", "--", "s"),
    ("#009E73", ":", "^"),
    ("#CC79A7", "-.", "v"),
    ("#0072B2", "--", "P"),
)
"""Okabe and Ito's palette with a line style and a marker each, so that the curves are apart in grey too."""

PANELS = (
    ("greedy", "greedy accuracy,\nunseen problems"),
    ("share_negative", "correct responses\nthat the update\nmade less likely"),
    ("delta_logp", "mean change of\nln π(correct | prompt)\nby the update"),
)


def write_figure(results: list[dict[str, Any]], path: Path, title: str) -> None:
    """Draw the runs of one task into a PNG file: a panel for each of :data:`PANELS`, a curve for each method."""
    methods = list(dict.fromkeys(result["settings"]["method"] for result in results))
    with matplotlib.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(8.0, 8.2), dpi=130, layout="constrained")
        axes = figure.subplots(len(PANELS), 1, sharex=True, height_ratios=[1.6, 1.0, 1.0])
        figure.suptitle(title, x=0.02, ha="left", fontweight="bold")
        for panel, (name, label) in zip(axes, PANELS, strict=True):
            for place, method in enumerate(methods):
                mine = [result for result in results if result["settings"]["method"] == method]
                _draw(panel, mine, name, NAMES.get(method, method), STYLES[place % len(STYLES)])
            panel.set_ylabel(label)
            panel.grid(axis="y", color="#dddddd", linewidth=0.8)
            if name != "delta_logp":
                panel.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes[0].legend(frameon=False, loc="lower right", ncols=2)
        axes[-1].axhline(0.0, color="#888888", linewidth=0.8)
        axes[-1].set_xlabel("training step; bands: 95 % confidence interval of the mean over seeds")
        axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.savefig(path, format="png")


def _draw(axes: Axes, results: list[dict[str, Any]], name: str, label: str, style: tuple[str, str, str]) -> None:
    points = curve(results, name).astype(float)
    colour, line, marker = style
    axes.plot(points.index, points["mean"], color=colour, linestyle=line, marker=marker, markersize=3.5, label=label)
    axes.fill_between(points.index, points["low"], points["high"], color=colour, alpha=0.13, linewidth=0)
