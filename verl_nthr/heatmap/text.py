"""Strings from a model made fit to be looked at."""

from __future__ import annotations

import re
import unicodedata

INVISIBLE = frozenset(("Cc", "Cf", "Co", "Cn", "Cs", "Zl", "Zp"))
"""Unicode categories without a glyph of their own: control, format (also bidirectional), unassigned, surrogates."""

LABEL_CHARACTERS = 120


def printable(text: str) -> str:
    """``text`` with every invisible character but spaces and line feeds replaced by a visible sign."""
    return text if text.isprintable() else "".join(map(_sign, text))


def on_one_line(text: str) -> str:
    """:func:`printable` with line feeds visible too."""
    return printable(text).replace("\n", "↵")


def labels(prompts: list[str]) -> list[str]:
    """What tells the prompts apart, shortened: without the words that all of them begin and end with."""
    begin = re.sub(r"\w+\Z", "", _common_prefix(prompts))
    rests = [prompt.removeprefix(begin) for prompt in prompts]
    end = re.sub(r"\A\w+", "", _common_prefix([rest[::-1] for rest in rests])[::-1])
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


def _shorten(text: str) -> str:
    line = on_one_line(text[:LABEL_CHARACTERS]).strip()
    return line if len(text) <= LABEL_CHARACTERS else f"{line}…"


def _sign(character: str) -> str:
    if character == "\n":
        return character
    if character < " ":
        return chr(0x2400 + ord(character))
    if character == "\x7f":
        return "␡"
    return f"⟨U+{ord(character):04X}⟩" if unicodedata.category(character) in INVISIBLE else character
