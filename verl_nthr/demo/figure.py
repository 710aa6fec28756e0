"""The picture of a training run: the reward of each step and, for NTHR, the fraction of tokens eased."""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from verl_nthr.demo.metrics import Step
from verl_nthr.text import for_figure

BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
"""Colours of Okabe and Ito's palette, distinct to colour-blind readers; markers tell them apart in grey."""


def write_figure(steps: list[Step], path: Path, title: str) -> None:
    """Draw the steps into a PNG file; a second panel shows the eased tokens where a step has that metric."""
    rewards = [(step.number, step.reward) for step in steps if step.reward is not None]
    accuracies = [(step.number, step.accuracy) for step in steps if step.accuracy is not None]
    eased = [(step.number, step.eased) for step in steps if step.eased is not None]
    panels = 2 if eased else 1
    with matplotlib.rc_context({"font.size": 11, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(7.5, 3.6 + 2.2 * (panels - 1)), dpi=130, layout="constrained")
        axes = figure.subplots(panels, 1, sharex=True, squeeze=False, height_ratios=[1.7, 1.0][:panels])[:, 0]
        figure.suptitle(for_figure(title), x=0.02, ha="left", fontweight="bold")
        axes[0].plot(*_columns(rewards), color=BLUE, marker="o", markersize=4, label="sampled, training prompts")
        axes[0].plot(*_columns(accuracies), color=ORANGE, marker="D", linestyle="none", label="greedy, unseen prompts")
        for number, accuracy in accuracies:
            axes[0].annotate(
                f"{accuracy:.1%}", (number, accuracy), xytext=(0, 8), textcoords="offset points", ha="center"
            )
        axes[0].legend(frameon=False, loc="upper left", bbox_to_anchor=(0.08, 1.0))
        _fraction_axis(axes[0], "correct responses")
        axes[0].set_ylim(0, 1.08)
        if eased:
            axes[1].plot(*_columns(eased), color=GREEN, marker="s", markersize=4)
            _fraction_axis(axes[1], "tokens eased\n(wrong responses,\nmixed groups)")
            axes[1].set_ylim(0, max(0.05, 1.15 * max(value for _, value in eased)))
        axes[-1].set_xlabel("training step")
        axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.savefig(path)


def _columns(points: list[tuple[int, float]]) -> tuple[list[int], list[float]]:
    return [number for number, _ in points], [value for _, value in points]


def _fraction_axis(axes: Axes, label: str) -> None:
    axes.set_ylabel(label)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.grid(axis="y", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
