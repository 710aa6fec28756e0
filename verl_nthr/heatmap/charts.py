"""The geometry of the page's charts, which the template draws as SVG."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from verl_nthr.heatmap.summary import Bin, BinShare, Share, StepShare, Summary
from verl_nthr.heatmap.text import number, percent

WIDTH, HEIGHT = 480, 240
LEFT, RIGHT, TOP, BOTTOM = 68, 20, 12, 46
MOST_TICKS = 8


@dataclass(frozen=True)
class Tick:
    """A label on an axis."""

    at: float
    """Position along the axis, in units of the view box."""

    text: str
    """The label."""


@dataclass(frozen=True)
class Bar:
    """A bar, or a point of a line at the middle of the bar's upper edge."""

    x: float
    """Left edge."""

    y: float
    """Upper edge."""

    width: float
    """From left to right."""

    height: float
    """Down to the axis."""

    tone: str
    """Class of its colour."""

    hint: str
    """Shown when the mouse points at it."""


@dataclass(frozen=True)
class Chart:
    """Bars or a line over labelled axes, in a view box of :data:`WIDTH` by :data:`HEIGHT`."""

    title: str
    """Heading."""

    x_label: str
    """Of the horizontal axis."""

    y_label: str
    """Of the vertical axis."""

    bars: list[Bar]
    """From left to right; empty if there is nothing to show."""

    x_ticks: list[Tick]
    """Of the horizontal axis."""

    y_ticks: list[Tick]
    """Of the vertical axis."""

    line: bool = False
    """Draw points on a line instead of bars."""


@dataclass(frozen=True)
class Value:
    """The data of one bar."""

    height: float | None
    """A share; None draws nothing."""

    hint: str
    """Shown when the mouse points at it."""

    tone: str = "above"
    """Class of its colour."""


@dataclass(frozen=True)
class Axis:
    """A vertical axis."""

    levels: list[float]
    """Shares at which lines are drawn; the last one is the upper end."""

    fraction: Callable[[float], float]
    """Height of a share on the axis, from 0 to 1."""


def charts(summary: Summary) -> list[Chart]:
    """All charts of the page, in their order."""
    return [
        _histogram("Scores in wrong responses", summary.histograms["wrong"]),
        _histogram("Scores in correct responses, for comparison", summary.histograms["correct"]),
        _by_bin("Eased by position in the response", "position in the response", summary.by_position, _percent),
        _by_bin(
            "Eased by entropy",
            "entropy in nats, equally many tokens per bar",
            summary.by_entropy,
            _two_digits,
        ),
        _by_step(summary.steps),
    ]


def linear_axis(heights: list[float]) -> Axis:
    """From 0 to the first round number that is not below ``heights``, in at most four steps of 1, 2 or 5 · 10ⁿ."""
    largest = max(heights) or 1.0
    power = 10.0 ** math.floor(math.log10(largest / 4))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power * 4 >= largest * (1 - 1e-9))
    steps = math.ceil(largest / step - 1e-9)
    return Axis([index * step for index in range(steps + 1)], lambda height: height / (steps * step))


def logarithmic_axis(heights: list[float]) -> Axis:
    """From a power of ten below ``heights``, which are above 0, to one that is not."""
    low = math.ceil(math.log10(min(heights)) - 1e-9) - 1
    high = math.ceil(math.log10(max(heights)) - 1e-9)
    levels = [10.0**exponent for exponent in range(low, high + 1)]
    return Axis(levels, lambda height: (math.log10(height) - low) / (high - low))


def _histogram(title: str, bins: list[Bin]) -> Chart:
    total = sum(entry.tokens for entry in bins) or 1
    values = [
        Value(
            entry.tokens / total or None,
            f"score − τ {_range(entry)}: {entry.tokens:,} tokens, {percent(entry.tokens / total)}",
            "above" if entry.low is not None and entry.low >= 0 else "below",
        )
        for entry in bins
    ]
    edges = [entry.low for entry in bins[1:]]
    middle = len(edges) // 2
    chosen = sorted({0, middle // 2, middle, len(edges) - 1 - middle // 2, len(edges) - 1}) if edges else []
    ticks = [((index + 1) / len(bins), number(edges[index]) if edges[index] else "τ") for index in chosen]
    return _chart(title, "score − τ", "share of tokens (log)", values, ticks, logarithmic_axis)


def _by_bin(title: str, x_label: str, bins: list[BinShare], write: Callable[[float], str]) -> Chart:
    values = [Value(entry.share, f"{write(entry.low)} to {write(entry.high)}: {_counts(entry)}") for entry in bins]
    edges = [*(entry.low for entry in bins), bins[-1].high] if bins else []
    every = math.ceil(len(edges) / MOST_TICKS)
    ticks = [(index / len(bins), write(edge)) for index, edge in enumerate(edges) if index % every == 0]
    return _chart(title, x_label, "share eased", values, ticks, linear_axis)


def _by_step(steps: list[StepShare]) -> Chart:
    values = [Value(entry.share, f"step {entry.step}: {_counts(entry)}") for entry in steps]
    every = math.ceil(len(steps) / MOST_TICKS)
    ticks = [((index + 0.5) / len(steps), str(entry.step)) for index, entry in enumerate(steps) if index % every == 0]
    return _chart("Eased in training", "training step", "share eased", values, ticks, linear_axis, line=True)


def _chart(
    title: str,
    x_label: str,
    y_label: str,
    values: list[Value],
    ticks: list[tuple[float, str]],
    make_axis: Callable[[list[float]], Axis],
    line: bool = False,
) -> Chart:
    heights = [value.height for value in values if value.height is not None]
    if not heights:
        return Chart(title, x_label, y_label, [], [], [])
    axis = make_axis(heights)
    inner_width, inner_height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    slot = inner_width / len(values)
    bars = []
    for index, value in enumerate(values):
        if value.height is not None:
            height = inner_height * axis.fraction(value.height)
            bars.append(Bar(LEFT + index * slot, TOP + inner_height - height, slot, height, value.tone, value.hint))
    x_ticks = [Tick(LEFT + inner_width * fraction, text) for fraction, text in ticks]
    y_ticks = [
        Tick(TOP + inner_height * (1 - index / (len(axis.levels) - 1)), f"{100 * level:.3g} %")
        for index, level in enumerate(axis.levels)
    ]
    return Chart(title, x_label, y_label, bars, x_ticks, y_ticks, line)


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"


def _two_digits(value: float) -> str:
    return f"{value:.2g}".replace("-", "−")


def _counts(share: Share) -> str:
    return f"{share.eased:,} of {share.tokens:,} tokens eased, {percent(share.share)}"


def _range(entry: Bin) -> str:
    if entry.low is None:
        return f"at most {number(entry.high)}"
    return f"above {number(entry.low)}" if entry.high is None else f"{number(entry.low)} to {number(entry.high)}"
