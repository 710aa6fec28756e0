"""Sorted bars for each prompt, in the manner of the paper's Figures 1 and 4."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from verl_nthr.probe.groups import Result
from verl_nthr.probe.report import NAMES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GAIN, LOSS, LINE = "#56B4E9", "#B33C00", "#000000"
"""Light blue and dark vermilion: apart in hue for the colour-blind, in lightness in grey; losses are hatched too."""

FIGURE_1 = ("grpo", "pos_only")
FIGURE_4 = ("grpo", "random", "nthr", "exact")


def figure_png(results: list[Result], names: tuple[str, ...]) -> bytes:
    """One panel for each variant in ``names`` that was measured: a bar for each prompt, sorted by GRPO's Δ(x).

    In all but GRPO's own panel GRPO's Δ(x) is drawn as a line.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    ordered = sorted(
        (result.delta.model_dump(exclude_none=True) for result in results), key=lambda delta: delta["grpo"]
    )
    names = tuple(name for name in names if name in ordered[0])
    figure = Figure(figsize=(7.5, 1.2 + 1.5 * len(names)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(names), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    grpo = [delta["grpo"] for delta in ordered]
    for axes, name in zip(panels, names, strict=True):
        _draw(axes, [delta[name] for delta in ordered], None if name == "grpo" else grpo)
        axes.set_title(NAMES[name], loc="left", fontsize=10)
    panels[-1].set_xlabel("prompts, sorted by GRPO's Δ(x)")
    figure.supylabel("Δ(x), change of ln π(correct | prompt)", fontsize=10)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _draw(axes: Axes, values: list[float], grpo: list[float] | None) -> None:
    places = range(len(values))
    colours = [LOSS if value < 0 else GAIN for value in values]
    bars = axes.bar(places, values, width=0.9, color=colours)
    for bar, value in zip(bars, values, strict=True):
        if value < 0:
            bar.set_hatch("///")
    axes.axhline(0.0, color=LINE, linewidth=0.8)
    if grpo is not None:
        axes.step(places, grpo, where="mid", color=LINE, linewidth=1.0, label=NAMES["grpo"])
        axes.legend(loc="upper left", frameon=False, fontsize=8)
    share = sum(value < 0 for value in values) / len(values)
    mean = sum(values) / len(values)
    axes.text(
        0.99,
        0.04,
        f"mean {mean:+.1e}, below 0: {100 * share:.0f} %",
        transform=axes.transAxes,
        ha="right",
        va="bottom",
        fontsize=8,
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.01)
