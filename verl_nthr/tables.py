"""Tables of text for the terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from verl_nthr.text import for_markdown


@dataclass(frozen=True)
class Grid:
    """A table: names in the first column, numbers in the others."""

    title: str
    """Describes the numbers."""

    headings: list[str]
    """Of the columns."""

    rows: list[list[str]]
    """Cells, as many as headings."""


def print_grids(grids: Iterable[Grid], console: Console) -> None:
    """Print tables; nothing in them is taken for rich's markup."""
    for grid in grids:
        table = Table(title=Text(grid.title), title_justify="left", title_style="bold")
        for place, heading in enumerate(grid.headings):
            table.add_column(Text(heading), justify="right" if place else "left", no_wrap=place == 0)
        for row in grid.rows:
            table.add_row(*map(Text, row))
        console.print(table)


def markdown(grids: Iterable[Grid]) -> str:
    """The tables for a page; nothing in them is taken for Markdown's markup."""
    parts = []
    for grid in grids:
        rule = ["---", *["---:"] * (len(grid.headings) - 1)]
        head, *body = ([for_markdown(cell) for cell in line] for line in (grid.headings, *grid.rows))
        table = "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *body))
        parts.append(f"**{for_markdown(grid.title)}**\n\n{table}")
    return "\n\n".join(parts) + "\n"
