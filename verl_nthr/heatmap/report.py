"""The summaries in the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from verl_nthr.heatmap.summary import Summary
from verl_nthr.heatmap.text import percent
from verl_nthr.text import label

STRINGS_SHOWN = 8


def print_report(summary: Summary, console: Console) -> None:
    """Print the summary in short."""
    facts = Table(title="Token dump", title_justify="left", title_style="bold", show_header=False)
    facts.add_column()
    facts.add_column(justify="right")
    facts.add_row("responses", f"{summary.responses:,}")
    facts.add_row("groups", f"{summary.groups:,}")
    facts.add_row("groups with correct and wrong responses", f"{summary.mixed_groups:,}")
    facts.add_row("steps", f"{len(summary.steps):,}")
    facts.add_row("tokens of wrong responses in these groups", f"{summary.candidate_tokens:,}")
    facts.add_row("of them eased", f"{summary.eased_tokens:,}  ({percent(summary.eased_fraction)})")
    console.print(facts)
    if not summary.most_eased:
        return
    strings = Table(title="Strings eased most often", title_justify="left", title_style="bold")
    strings.add_column("token")
    for heading in ("eased", "seen", "share"):
        strings.add_column(heading, justify="right")
    for entry in summary.most_eased[:STRINGS_SHOWN]:
        shown = Text(repr(label(entry.text)), overflow="ellipsis", no_wrap=True)
        strings.add_row(shown, f"{entry.eased:,}", f"{entry.tokens:,}", percent(entry.share))
    console.print(strings)
