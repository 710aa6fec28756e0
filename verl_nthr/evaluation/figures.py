"""Accuracy over training steps, and Pass@K over K: a panel for each benchmark and one for their average."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from verl_nthr.evaluation.report import AVERAGE, row_label
from verl_nthr.line_styles import STYLES
from verl_nthr.text import for_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 3


def accuracy_png(document: dict[str, Any]) -> bytes | None:
    """Greedy accuracy over training steps, in the manner of Figure 5 of arXiv 2505.18830; None without a curve.

    Models of one name are a curve; a model without a step is a horizontal line.

    Args:
        document: of :func:`verl_nthr.evaluation.run.evaluate`.
    """
    curves: dict[str, list[dict[str, Any]]] = {}
    for model in sorted(document["models"], key=lambda model: model["step"] or 0):
        if model["step"] is not None:
            curves.setdefault(model["name"], []).append(model)
    if not any(len(models) > 1 for models in curves.values()):
        return None

    def draw(axes: Axes, benchmark: str | None) -> None:
        for place, (name, models) in enumerate(curves.items()):
            _curve(
                axes, [model["step"] for model in models], [_greedy(model, benchmark) for model in models], name, place
            )
        for model in document["models"]:
            if model["step"] is None:
                axes.axhline(100 * _greedy(model, benchmark)["value"], color="#888888", label=for_figure(model["name"]))

    return _panels(document, draw, "training step", "greedy accuracy, %")


def pass_at_k_png(document: dict[str, Any]) -> bytes | None:
    """Pass@K over K, a curve for each model, of checkpoints the last; None with fewer than two samples."""
    if document["settings"]["samples"] < 2:
        return None
    in_order = sorted(document["models"], key=lambda model: model["step"] or 0)
    last = {model["name"]: model for model in in_order}

    def draw(axes: Axes, benchmark: str | None) -> None:
        for place, model in enumerate(last.values()):
            estimates = _pass_at_k(model, benchmark)
            _curve(axes, [int(k) for k in estimates], list(estimates.values()), row_label(model), place)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:g}")

    return _panels(document, draw, "K", "Pass@K, %")


def _greedy(model: dict[str, Any], benchmark: str | None) -> dict[str, Any]:
    return model["average"]["greedy"] if benchmark is None else model["benchmarks"][benchmark]["greedy"]


def _pass_at_k(model: dict[str, Any], benchmark: str | None) -> dict[str, Any]:
    found = model["average"] if benchmark is None else model["benchmarks"][benchmark]["sampled"]
    return found["pass_at_k"]


def _panels(document: dict[str, Any], draw: Callable[[Axes, str | None], None], xlabel: str, ylabel: str) -> bytes:
    """Let ``draw`` fill a panel for each benchmark, by its name, and for their average, by None."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels: list[tuple[str, str | None]] = [(each["title"], each["name"]) for each in document["benchmarks"]]
    if len(panels) > 1:
        panels.append((AVERAGE, None))
    columns = min(COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    with matplotlib.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(max(5.0, 4.0 * columns), 0.6 + 3.0 * rows), dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, (title, benchmark) in zip(grid, panels, strict=False):
            draw(axes, benchmark)
            axes.set_title(for_figure(title), loc="left", fontsize=10)
            axes.set_xlabel(xlabel)
            axes.grid(axis="y", color="#dddddd", linewidth=0.8)
        for axes in grid[len(panels) :]:
            axes.set_visible(False)
        for axes in grid[::columns]:
            axes.set_ylabel(ylabel)
        handles, labels = grid[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)), frameon=False)
        figure.suptitle("bands: 95 % intervals", x=0.01, ha="left", fontsize=9)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _curve(axes: Axes, x: list[int], estimates: list[dict[str, Any]], label: str, place: int) -> None:
    colour, line, marker = STYLES[place % len(STYLES)]
    values = [100 * estimate["value"] for estimate in estimates]
    axes.plot(x, values, color=colour, linestyle=line, marker=marker, markersize=3.5, label=for_figure(label))
    if all(estimate["low"] is not None for estimate in estimates):
        low, high = ([100 * estimate[end] for estimate in estimates] for end in ("low", "high"))
        axes.fill_between(x, low, high, color=colour, alpha=0.13, linewidth=0)
