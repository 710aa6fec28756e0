"""The tables of a comparison."""

from __future__ import annotations

from typing import Any

from verl_nthr.tables import Grid
from verl_nthr.text import label

NAMES = {"grpo": "GRPO", "nthr": "GRPO+NTHR", "nthr_random": "GRPO+Random", "pos_only": "Pos-Only"}
MEASURES = (
    ("greedy_after", "greedy accuracy, %", 100),
    ("pass_at_k_after", "Pass@{k}, %", 100),
    ("share_negative", "correct responses that fell, %", 100),
    ("delta_logp", "Δ ln π(y⁺)·10³", 1000),
)
"""Keys of the summary, with their headings and the factors that they are shown by."""


def grids(summary: dict[str, Any], pass_k: int) -> list[Grid]:
    """A table for each task: means of each method and, in brackets, differences from GRPO on the same seed."""
    headings = ["method", *(heading.format(k=pass_k) for _, heading, _ in MEASURES), "tokens eased, %"]
    return [Grid(_title(task, methods), headings, _rows(methods)) for task, methods in summary["tasks"].items()]


def _rows(methods: dict[str, Any]) -> list[list[str]]:
    first = next(iter(methods.values()))
    before = [f"{100 * first[name]:.1f}" for name in ("greedy_before", "pass_at_k_before")]
    table = [["before", *before, "", "", ""]]
    for method, found in methods.items():
        differences = found.get("minus_grpo", {})
        cells = [_cell(found[name], differences.get(name), factor) for name, _, factor in MEASURES]
        table.append([NAMES.get(method, label(method)), *cells, f"{100 * found['eased_fraction']['mean']:.1f}"])
    return table


def _title(task: str, methods: dict[str, Any]) -> str:
    seeds = max(found["seeds"] for found in methods.values())
    return f"{label(task)} task: means over {seeds} seeds (difference from GRPO by seed ± half of the 95 % interval)"


def _cell(value: dict[str, Any], difference: dict[str, Any] | None, factor: float) -> str:
    if value["mean"] is None:
        return "–"
    text = f"{factor * value['mean']:.1f}"
    if difference is not None and difference["mean"] is not None:
        text += f" ({factor * difference['mean']:+.1f}"
        if difference["low"] is not None:
            text += f" ± {factor * (difference['high'] - difference['low']) / 2:.1f}"
        text += ")"
    return text.replace("-", "−")
