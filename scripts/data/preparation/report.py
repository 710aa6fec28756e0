"""What was read, dropped, found and kept."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from verl_nthr.text import on_one_line

from .selection import Selection

QUANTILES = {"min": 0.0, "median": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}


def summary(selection: Selection, characters: Sequence[int], tokens: Sequence[int] | None) -> dict[str, Any]:
    """The counts and lengths of one split.

    Args:
        selection: its rows.
        characters: of each prompt's messages.
        tokens: of each prompt in the chat template, or None.
    """
    return {
        "read": selection.read,
        "kept": len(selection.kept),
        "dropped": dict(Counter(finding.reason for finding in selection.dropped)),
        "found_but_kept": dict(Counter(finding.reason for finding in selection.tolerated)),
        "prompt_characters": quantiles(characters),
        "prompt_tokens": None if tokens is None else quantiles(tokens),
    }


def quantiles(lengths: Sequence[int]) -> dict[str, int]:
    """The smallest length that at least the given share of the prompts does not exceed."""
    ordered = sorted(lengths)
    return {name: ordered[max(0, math.ceil(share * len(ordered)) - 1)] for name, share in QUANTILES.items()}


def print_summaries(summaries: dict[str, dict[str, Any]], console: Console) -> None:
    """A table with a row for each file, and what these files are."""
    lengths = [name for name in ("prompt_characters", "prompt_tokens") if next(iter(summaries.values()))[name]]
    headings = [name.replace("_", " ") for name in lengths]
    table = Table("set", "split", "read", "dropped", "found, but kept", "kept", *headings)
    for each in summaries.values():
        counts = _counts(each["dropped"]), _counts(each["found_but_kept"])
        shown = (" / ".join(map(str, each[name].values())) for name in lengths)
        table.add_row(each["set"], each["split"], str(each["read"]), *counts, str(each["kept"]), *shown)
    table.caption = f"prompt lengths: {' / '.join(QUANTILES)}"
    console.print(table)
    for path in summaries:
        console.print(Text(f"wrote {on_one_line(path)}"), soft_wrap=True)


def _counts(counts: dict[str, int]) -> str:
    return "\n".join(f"{reason} {number}" for reason, number in counts.items()) or "–"
