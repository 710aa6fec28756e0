"""Problems in a form in which the same problem, typeset otherwise, is the same text."""

from __future__ import annotations

import re
import unicodedata

TYPESETTING = re.compile(
    r"\\\\"  # line breaks
    r"|\\(?:left|right|displaystyle|quad|qquad|bigl?|bigr?)(?![a-z])"  # sizes, and spaces by name
    r"|\\[,;:!()\[\]\s]"  # spaces by sign, and the delimiters of mathematics
    r"|(\\[$~])"  # the signs themselves, which stay
    r"|[$~]"
)
FRACTION = re.compile(r"\\[dtc]frac(?![a-z])")
TOKEN = re.compile(r"\\[a-z]+|\\.|[^\W_]+|\S")
FIGURE = re.compile(r"\[asy\](?:(?!\[asy\]).)*?\[/asy\]", re.DOTALL)
"""A figure as program text, which MATH writes into problems; it holds no other one."""

WORD = re.compile(r"[^\W_]+")


def normalise(problem: str) -> str:
    """The problem's tokens: one case, one space between them, no typesetting; operators and signs stay."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", problem).casefold())
    plain = FRACTION.sub(r"\\frac", TYPESETTING.sub(r"\1 ", folded))
    return " ".join(TOKEN.findall(plain)).rstrip(" .?!")


def ngrams(problem: str, size: int) -> set[tuple[str, ...]]:
    """All runs of ``size`` words and numbers of the normalised problem, without its figures."""
    words = WORD.findall(normalise(FIGURE.sub(" ", problem)))
    return {tuple(words[start : start + size]) for start in range(len(words) - size + 1)}
