"""Escapes untrusted text for terminals, tables, figures and file names."""

from __future__ import annotations

import re
import sys
import unicodedata
from typing import TextIO

INVISIBLE = frozenset(("Cc", "Cf", "Co", "Cn", "Cs", "Zl", "Zp"))
"""Unicode categories without a glyph of their own: control, format (also bidirectional), unassigned, surrogates."""

MESSAGE_CHARACTERS, VALUE_CHARACTERS, LABEL_CHARACTERS, NAME_CHARACTERS = 20_000, 200, 60, 60
MARKDOWN = re.compile(r"[\\`*_\[\]<>!|~$&]")


def printable(text: str) -> str:
    """``text`` with every invisible character but spaces and line feeds replaced by a visible sign."""
    return text if text.isprintable() else text.translate(_SIGNS)


def on_one_line(text: str) -> str:
    """:func:`printable` with line feeds visible too."""
    return printable(text).replace("\n", "↵")


def shortened(text: str, limit: int = MESSAGE_CHARACTERS) -> str:
    """``text`` without its middle where it is longer than ``limit``; messages end with the fix."""
    half = limit // 2
    return text if len(text) <= limit else f"{text[:half]} … {text[-half:]}"


def label(text: str, limit: int = LABEL_CHARACTERS) -> str:
    """On one line, and short enough for a table or figure."""
    return on_one_line(text if len(text) <= limit else f"{text[: limit - 1]}…")


def quoted(value: object, limit: int = VALUE_CHARACTERS) -> str:
    """The ``repr`` of a value, short enough for a message."""
    try:
        return label(repr(value), limit)
    except (ValueError, RecursionError):
        # an integer of thousands of digits, or a list that is thousands of lists deep
        return f"a value of type {type(value).__name__}, too large to be shown"


def for_figure(text: str) -> str:
    """:func:`label` for matplotlib: a dollar sign starts no mathematics, and an underscore does not hide a legend."""
    return re.sub(r"\A_", " _", label(text)).replace("$", r"\$")


def for_markdown(text: str) -> str:
    """:func:`on_one_line` for a cell or paragraph of Markdown, in which nothing of it is markup."""
    return MARKDOWN.sub(lambda sign: f"&#{ord(sign[0])};", on_one_line(text))


def file_name(text: str) -> str:
    """A name of one file that stays in its folder: letters, digits and ``_.+-``, no dot at the beginning."""
    return re.sub(r"\A\.|[^\w.+-]", "_", text[:NAME_CHARACTERS]) or "_"


def print_error(command: str, error: object, file: TextIO | None = None) -> None:
    """Print one message on standard error, of bounded length, its invisible characters visible."""
    print(printable(shortened(f"{command}: {error}")), file=file or sys.stderr)


class _Signs(dict[int, str]):
    """Visible form of a character, by its code; found when it is first asked for."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        if character < " " and character != "\n":
            self[code] = chr(0x2400 + code)
        elif character != "\n" and unicodedata.category(character) in INVISIBLE:
            self[code] = "␡" if character == "\x7f" else f"⟨U+{code:04X}⟩"
        else:
            self[code] = character
        return self[code]


_SIGNS = _Signs()
