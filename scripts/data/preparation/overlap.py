"""Normalised problems, and those of the training data that an evaluation set has too."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from verl_nthr.errors import InputError

from . import columns
from .reading import read_file
from .sets import QUESTION

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
"""A figure of MATH, as program text; contains no other figure."""

WORD = re.compile(r"[^\W_]+")


@functools.lru_cache(maxsize=16)  # a row is normalised by each check in turn
def normalise(problem: str) -> str:
    """Return the problem's tokens, lower-cased and without typesetting, one space apart; operators and signs stay."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", problem).casefold())
    plain = FRACTION.sub(r"\\frac", TYPESETTING.sub(r"\1 ", folded))
    return " ".join(TOKEN.findall(plain)).rstrip(" .?!")


def ngrams(problem: str, size: int) -> set[tuple[str, ...]]:
    """Return all runs of ``size`` words and numbers of the normalised problem, without its figures."""
    words = WORD.findall(normalise(FIGURE.sub(" ", problem)))
    return {tuple(words[start : start + size]) for start in range(len(words) - size + 1)} if size else set()


class Evaluation:
    """The problems of evaluation sets."""

    def __init__(self, problems: Iterable[tuple[str, str]], size: int) -> None:
        """Index them.

        Args:
            problems: where each is from, and the problem.
            size: words of an n-gram; 0 compares whole problems only.
        """
        self._size = size
        self._whole: dict[str, str] = {}
        self._ngrams: dict[tuple[str, ...], str] = {}
        for where, problem in problems:
            self._whole.setdefault(normalise(problem), where)
            for ngram in ngrams(problem, size):
                self._ngrams.setdefault(ngram, where)

    def find(self, problem: str) -> tuple[str, str] | None:
        """Find a problem that is the same after normalisation, or has ``size`` consecutive words in common.

        Returns:
            ``overlap_exact`` or ``overlap_ngram``, and the problem that it overlaps with; None without an overlap.
        """
        if where := self._whole.get(normalise(problem)):
            return "overlap_exact", f"the same as {where}"
        shared = min(ngrams(problem, self._size) & self._ngrams.keys(), default=None)
        return ("overlap_ngram", f"{' '.join(shared)!r} is in {self._ngrams[shared]}") if shared else None


def read_problems(paths: Sequence[Path]) -> Iterator[tuple[str, str]]:
    """Yield place and text of each problem in the files of ``--against``, and in all parquet files below its folders.

    Raises:
        InputError: there is none, or a row has no column for it.
    """
    empty = True
    for path in paths:
        files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
        if not path.exists() or not files:
            raise InputError(f"--against {path} is neither a file nor a folder with parquet files")
        for file in files:
            for index, row in enumerate(read_file(file)):
                yield f"{file}, row {index}", _problem(row, file)
                empty = False
    if empty:
        raise InputError(f"--against {', '.join(map(str, paths))} holds no problem")


def _problem(row: Mapping[str, Any], file: Path) -> str:
    extra_info = row.get("extra_info")
    if isinstance(extra_info, dict) and extra_info.get("problem"):
        return columns.text(extra_info["problem"])
    if isinstance(row.get("prompt"), list):
        return columns.dapo_problem(row["prompt"])
    if found := next((columns.text(row[name]) for name in QUESTION if row.get(name)), ""):
        return found
    raise InputError(
        f"--against {file} has a row with no problem: none in extra_info.problem, prompt, {', '.join(QUESTION)}"
    )
