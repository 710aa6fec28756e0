"""Prompts and numbers as the page and the terminal show them."""

from __future__ import annotations

import re

from verl_nthr.text import on_one_line

LABEL_CHARACTERS = 120


def labels(prompts: list[str]) -> list[str]:
    """The parts that tell the prompts apart, shortened: without the words that all begin and end with."""
    begin = _without_last_word(_common_prefix(prompts))
    rests = [prompt.removeprefix(begin) for prompt in prompts]
    end = _without_last_word(_common_prefix([rest[::-1] for rest in rests]))[::-1]
    return [_shorten(rest.removesuffix(end) or prompt) for prompt, rest in zip(prompts, rests, strict=True)]


def number(value: float | None) -> str:
    """Three significant digits with a real minus sign; a dash for None."""
    return "–" if value is None else f"{value:.3g}".replace("-", "−")


def percent(share: float | None) -> str:
    """With one decimal; a dash for None."""
    return "–" if share is None else f"{share:.1%}".replace("%", " %")


def _common_prefix(texts: list[str]) -> str:
    first, last = min(texts), max(texts)
    same = next((i for i, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first))
    return first[:same]


def _without_last_word(text: str) -> str:
    # from the end, character by character: a search for \w+\Z is quadratic in a long word
    end = len(text)
    while end and re.match(r"\w", text[end - 1]):
        end -= 1
    return text[:end]


def _shorten(text: str) -> str:
    line = on_one_line(text[:LABEL_CHARACTERS]).strip()
    return line if len(text) <= LABEL_CHARACTERS else f"{line}…"
