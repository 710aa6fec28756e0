"""The tables of an evaluation, in the terminal and in Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from verl_nthr.text import for_markdown, label

AVERAGE = "Avg."


@dataclass(frozen=True)
class Grid:
    """A table as text."""

    title: str
    """Describes the numbers."""

    headings: list[str]
    """Of the columns; the first names the model."""

    rows: list[list[str]]
    """Cells."""


def grids(document: dict[str, Any]) -> list[Grid]:
    """Greedy accuracy in the paper's layout, and with samples Pass@K: the average and every benchmark.

    Args:
        document: of :func:`verl_nthr.evaluation.run.evaluate`.
    """
    tables = [_greedy(document)]
    if document["settings"]["samples"]:
        samples, temperature = document["settings"]["samples"], document["settings"]["temperature"]
        if len(document["benchmarks"]) > 1:
            estimates = [model["average"]["pass_at_k"] for model in document["models"]]
            title = f"Pass@K, %: average of {len(document['benchmarks'])} benchmarks"
            tables.append(_pass_at_k(title, document, estimates))
        for each in document["benchmarks"]:
            estimates = [model["benchmarks"][each["name"]]["sampled"]["pass_at_k"] for model in document["models"]]
            how = f"{each['prompts']} prompts, {samples} samples each at temperature {temperature:g}"
            tables.append(_pass_at_k(f"Pass@K, %: {label(each['title'])} ({how})", document, estimates))
    return tables


def print_report(document: dict[str, Any], console: Console) -> None:
    """Print all tables."""
    for grid in grids(document):
        table = Table(title=Text(grid.title), title_justify="left", title_style="bold")
        for place, heading in enumerate(grid.headings):
            table.add_column(Text(heading), justify="right" if place else "left", no_wrap=place == 0)
        for row in grid.rows:
            table.add_row(*map(Text, row))
        console.print(table)


def markdown(document: dict[str, Any]) -> str:
    """All tables for a page."""
    parts = []
    for grid in grids(document):
        rule = ["---", *["---:"] * (len(grid.headings) - 1)]
        head, *body = ([for_markdown(cell) for cell in line] for line in (grid.headings, *grid.rows))
        table = "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *body))
        parts.append(f"**{for_markdown(grid.title)}**\n\n{table}")
    return "\n\n".join(parts) + "\n"


def _greedy(document: dict[str, Any]) -> Grid:
    benchmarks = document["benchmarks"]
    headings = ["model", *(label(each["title"]) for each in benchmarks)]
    rows = []
    for model in document["models"]:
        estimates = [model["benchmarks"][each["name"]]["greedy"] for each in benchmarks]
        if len(benchmarks) > 1:
            estimates.append(model["average"]["greedy"])
        rows.append([row_label(model), *(_cell(estimate) for estimate in estimates)])
    return Grid("Greedy accuracy, % (95 % interval)", [*headings, AVERAGE][: len(rows[0])], rows)


def _pass_at_k(title: str, document: dict[str, Any], estimates: list[dict[str, Any]]) -> Grid:
    rows = [
        [row_label(model), *(f"{100 * each['value']:.1f}" for each in by_k.values())]
        for model, by_k in zip(document["models"], estimates, strict=True)
    ]
    return Grid(title, ["model", *(f"K={k}" for k in estimates[0])], rows)


def row_label(model: dict[str, Any]) -> str:
    """A model's name in tables and figures."""
    return label(model["name"]) if model["step"] is None else f"{label(model['name'])}, step {model['step']}"


def _cell(estimate: dict[str, Any]) -> str:
    value, low, high = (estimate[key] for key in ("value", "low", "high"))
    if low is None:
        return f"{100 * value:.1f}"
    return f"{100 * value:.1f} ({100 * low:.1f}–{100 * high:.1f})"
