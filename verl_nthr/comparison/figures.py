"""Learning curves and curves of the displacement monitor, with confidence bands over seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from verl_nthr.comparison.report import NAMES
from verl_nthr.comparison.statistics import BASELINE, curve
from verl_nthr.line_styles import STYLES
from verl_nthr.text import for_figure

PANELS = (
    ("greedy", "greedy accuracy,\nunseen prompts"),
    ("share_negative", "correct responses that\nthe update made less\nlikely (last 5 steps)"),
    ("delta_logp", "mean change of\nln π(correct | prompt)\nby the update (last 5)"),
)


def write_figure(results: list[dict[str, Any]], path: Path, title: str) -> None:
    """Draw the runs of one task into a PNG file: a row for each of :data:`PANELS`, a curve for each method.

    On the left means over seeds; on the right, if GRPO was run, differences from it on the same seed, which leave out
    how much the seeds' toys differ.
    """
    methods = list(dict.fromkeys(result["settings"]["method"] for result in results))
    of_method = {m: [result for result in results if result["settings"]["method"] == m] for m in methods}
    baseline = of_method.get(BASELINE)
    columns = 2 if baseline and len(methods) > 1 else 1
    with matplotlib.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(6.2 * columns, 8.4), dpi=110, layout="constrained")
        axes = figure.subplots(len(PANELS), columns, sharex=True, squeeze=False, height_ratios=[1.4, 1.0, 1.0])
        figure.suptitle(for_figure(title), x=0.02, ha="left", fontweight="bold")
        for row, (name, label) in zip(axes, PANELS, strict=True):
            for place, method in enumerate(methods):
                style = (for_figure(NAMES.get(method, method)), *STYLES[place % len(STYLES)])
                _draw(row[0], curve(of_method[method], name), *style)
                if columns == 2 and method != BASELINE:
                    _draw(row[1], curve(of_method[method], name, baseline), *style)
            row[0].set_ylabel(label)
            for panel in row:
                panel.grid(axis="y", color="#dddddd", linewidth=0.8)
                if name != "delta_logp":
                    panel.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
            if columns == 2:
                row[1].axhline(0.0, color="#888888", linewidth=1.0)
        axes[0][0].set_title("mean over seeds", loc="left", fontsize=10)
        if columns == 2:
            axes[0][1].set_title("difference from GRPO on the same seed", loc="left", fontsize=10)
        axes[0][0].legend(frameon=False, loc="lower right", ncols=2, fontsize=9)
        for panel in axes[-1]:
            panel.set_xlabel("training step; bands: 95 % confidence interval")
            panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.savefig(path, format="png")


def _draw(axes: Axes, points: pd.DataFrame, label: str, colour: str, line: str, marker: str) -> None:
    axes.plot(points.index, points["mean"], color=colour, linestyle=line, marker=marker, markersize=3.5, label=label)
    axes.fill_between(points.index, points["low"], points["high"], color=colour, alpha=0.13, linewidth=0)
