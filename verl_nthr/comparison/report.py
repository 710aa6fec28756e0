"""The tables of a comparison, in the terminal and in Markdown."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from verl_nthr.text import for_markdown, label

NAMES = {"grpo": "GRPO", "nthr": "GRPO+NTHR", "nthr_random": "GRPO+Random", "pos_only": "Pos-Only"}
MEASURES = (
    ("greedy_after", "greedy accuracy, %", 100),
    ("pass_at_k_after", "Pass@{k}, %", 100),
    ("share_negative", "correct responses that fell, %", 100),
    ("delta_logp", "Δ ln π(y⁺)·10³", 1000),
)
"""Keys of the summary, with their headings and the factors that they are shown by."""


def headings(pass_k: int) -> list[str]:
    """Of the columns of :func:`rows`."""
    return ["method", *(heading.format(k=pass_k) for _, heading, _ in MEASURES), "tokens eased, %"]


def rows(methods: dict[str, Any]) -> list[list[str]]:
    """A row of texts for each method of a task: means and, in brackets, differences from GRPO on the same seed."""
    first = next(iter(methods.values()))
    before = [f"{100 * first[name]:.1f}" for name in ("greedy_before", "pass_at_k_before")]
    table = [["before", *before, "", "", ""]]
    for method, found in methods.items():
        differences = found.get("minus_grpo", {})
        cells = [_cell(found[name], differences.get(name), factor) for name, _, factor in MEASURES]
        table.append([NAMES.get(method, label(method)), *cells, f"{100 * found['eased_fraction']['mean']:.1f}"])
    return table


def print_report(summary: dict[str, Any], pass_k: int, console: Console) -> None:
    """Print a table for each task."""
    for task, methods in summary["tasks"].items():
        table = Table(title=Text(_title(task, methods)), title_justify="left", title_style="bold")
        for heading in headings(pass_k):
            table.add_column(heading, justify="left" if heading == "method" else "right")
        for row in rows(methods):
            table.add_row(*map(Text, row))
        console.print(table)


def markdown(summary: dict[str, Any], pass_k: int) -> str:
    """The same tables for a page."""
    parts = []
    for task, methods in summary["tasks"].items():
        names = headings(pass_k)
        head, *body = ([for_markdown(cell) for cell in line] for line in (names, *rows(methods)))
        table = "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---", *["---:"] * (len(names) - 1)], *body))
        parts.append(f"**{for_markdown(_title(task, methods))}**\n\n{table}")
    return "\n\n".join(parts) + "\n"


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
