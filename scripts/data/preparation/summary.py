"""The counts of rows and the lengths of prompts, as a dictionary and as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from verl_nthr.errors import InputError
from verl_nthr.text import on_one_line

from .selection import Selection
from .writing import Messages

QUANTILES = {"min": 0.0, "median": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}


def token_counter(tokenizer: str) -> Callable[[Messages], int]:
    """Return a function that counts a prompt's tokens as verl does: in the chat template, with the generation prompt.

    Raises:
        InputError: the tokenizer cannot be loaded, or has no chat template.
    """
    from transformers import AutoTokenizer

    try:
        loaded: Any = AutoTokenizer.from_pretrained(tokenizer, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise InputError(f"--tokenizer {tokenizer} cannot be loaded ({error})") from error
    if not loaded.chat_template:
        raise InputError(f"--tokenizer {tokenizer} has no chat template; give that of an instruction-tuned model")

    def count(messages: Messages) -> int:
        text = loaded.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        return len(loaded(text, add_special_tokens=False)["input_ids"])

    return count


def summary(
    selection: Selection, prompts: Sequence[Messages], count_tokens: Callable[[Messages], int] | None
) -> dict[str, Any]:
    """Return the counts and lengths of one split, whose rows have these prompts."""
    characters = [sum(len(message["content"]) for message in prompt) for prompt in prompts]
    return {
        "read": selection.read,
        "kept": len(selection.kept),
        "dropped": dict(Counter(finding.reason for finding in selection.dropped)),
        "found_but_kept": dict(Counter(finding.reason for finding in selection.tolerated)),
        "prompt_characters": quantiles(characters),
        "prompt_tokens": quantiles([count_tokens(prompt) for prompt in prompts]) if count_tokens else None,
    }


def quantiles(lengths: Sequence[int]) -> dict[str, int]:
    """Return for each share the smallest length that at least this share of the prompts does not exceed."""
    found = np.quantile(lengths, list(QUANTILES.values()), method="inverted_cdf")
    return dict(zip(QUANTILES, found.tolist(), strict=True))


def print_summaries(summaries: dict[str, dict[str, Any]]) -> None:
    """Print a table with a row for each file, and the files' paths."""
    lengths = [name for name in ("prompt_characters", "prompt_tokens") if next(iter(summaries.values()))[name]]
    headings = [name.replace("_", " ") for name in lengths]
    table = Table("set", "split", "read", "dropped", "found, but kept", "kept", *headings)
    for each in summaries.values():
        counts = _counts(each["dropped"]), _counts(each["found_but_kept"])
        shown = (" / ".join(map(str, each[name].values())) for name in lengths)
        table.add_row(each["set"], each["split"], str(each["read"]), *counts, str(each["kept"]), *shown)
    table.caption = f"prompt lengths: {' / '.join(QUANTILES)}"
    console = Console()
    console.print(table)
    for path in summaries:
        console.print(Text(f"wrote {on_one_line(path)}"), soft_wrap=True)


def _counts(counts: dict[str, int]) -> str:
    return "\n".join(f"{reason} {number}" for reason, number in counts.items()) or "–"
