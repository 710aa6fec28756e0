"""Problems of the training data that are in an evaluation set too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import columns
from .errors import DataError
from .normalisation import ngrams, normalise
from .reading import read_file
from .sets import QUESTION


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
            for ngram in self._ngrams_of(problem):
                self._ngrams.setdefault(ngram, where)

    def find(self, problem: str) -> tuple[str, str] | None:
        """``overlap_exact`` or ``overlap_ngram``, and with what; None where there is no overlap.

        Two problems overlap if they are the same after normalisation, or have ``size`` consecutive words in common.
        """
        if where := self._whole.get(normalise(problem)):
            return "overlap_exact", f"the same as {where}"
        shared = next((ngram for ngram in sorted(self._ngrams_of(problem)) if ngram in self._ngrams), None)
        return ("overlap_ngram", f"{' '.join(shared)!r} is in {self._ngrams[shared]}") if shared else None

    def _ngrams_of(self, problem: str) -> set[tuple[str, ...]]:
        return ngrams(problem, self._size) if self._size else set()


def read_problems(paths: Sequence[Path]) -> list[tuple[str, str]]:
    """The problems in files of ``--against``, or in all parquet files below its folders, each with its place.

    Raises:
        DataError: there is none, or a file has no column for it.
    """
    problems = []
    for path in paths:
        files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
        if not path.exists() or not files:
            raise DataError(f"--against {path} is no file, and no folder with parquet files")
        for file in files:
            problems += [(f"{file}, row {index}", _problem(row, file)) for index, row in enumerate(read_file(file))]
    if not problems:
        raise DataError(f"--against {', '.join(map(str, paths))} holds no problem")
    return problems


def _problem(row: Mapping[str, Any], file: Path) -> str:
    extra_info = row.get("extra_info")
    if isinstance(extra_info, dict) and extra_info.get("problem"):
        return columns.text(extra_info["problem"])
    if isinstance(row.get("prompt"), list):
        return columns.dapo_problem(row["prompt"])
    if found := next((columns.text(row[name]) for name in QUESTION if row.get(name)), ""):
        return found
    raise DataError(
        f"--against {file} has a row with no problem: none in extra_info.problem, prompt, {', '.join(QUESTION)}"
    )
