"""The tables of a comparison, in the terminal and in Markdown."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

NAMES = {"grpo": "GRPO", "nthr": "GRPO+NTHR", "nthr_random": "GRPO+Random", "pos_only": "Pos-Only"}
HEADINGS = (
    "method",
    "greedy accuracy, %",
    "− GRPO, pp",
    "Pass@{k}, %",
    "− GRPO, pp",
    "correct responses that fell, %",
    "mean Δ ln π(y⁺)",
    "tokens spared, %",
)


def rows(methods: dict[str, Any]) -> list[list[str]]:
    """A row of texts for each method of a task, under :data:`HEADINGS`."""
    first = next(iter(methods.values()))
    start = ["before training", f"{100 * first['greedy_before']:.1f}", "", f"{100 * first['pass_at_k_before']:.1f}"]
    table = [[*start, "", "", "", ""]]
    for method, found in methods.items():
        difference = found.get("minus_grpo", {})
        table.append(
            [
                NAMES.get(method, method),
                _interval(found["greedy_after"], 100),
                _interval(difference.get("greedy_after"), 100, sign="+"),
                _interval(found["pass_at_k_after"], 100),
                _interval(difference.get("pass_at_k_after"), 100, sign="+"),
                _interval(found["share_negative"], 100),
                _interval(found["delta_logp"], 1, digits=3),
                f"{100 * found['spared_fraction']['mean']:.1f}",
            ]
        )
    return table


def print_report(summary: dict[str, Any], pass_k: int, console: Console) -> None:
    """Print a table for each task."""
    for task, methods in summary["tasks"].items():
        table = Table(title=_title(task, methods), title_justify="left", title_style="bold")
        for heading in HEADINGS:
            table.add_column(heading.format(k=pass_k), justify="left" if heading == "method" else "right")
        for row in rows(methods):
            table.add_row(*row)
        console.print(table)


def markdown(summary: dict[str, Any], pass_k: int) -> str:
    """The same tables for a page."""
    parts = []
    for task, methods in summary["tasks"].items():
        lines = [[heading.format(k=pass_k) for heading in HEADINGS], ["---", *["---:"] * (len(HEADINGS) - 1)]]
        lines += rows(methods)
        parts.append(f"**{_title(task, methods)}**\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines))
    return "\n\n".join(parts) + "\n"


def _title(task: str, methods: dict[str, Any]) -> str:
    seeds = max(found["seeds"] for found in methods.values())
    return f"{task} task, {seeds} seeds: mean ± half of the 95 % confidence interval"


def _interval(value: dict[str, Any] | None, factor: float, digits: int = 1, sign: str = "") -> str:
    if value is None:
        return ""
    if value["mean"] is None:
        return "–"
    text = f"{factor * value['mean']:{sign}.{digits}f}"
    if value["low"] is not None:
        text += f" ± {factor * (value['high'] - value['low']) / 2:.{digits}f}"
    return text.replace("-", "−")
