"""The data sets: where each is, and which of its columns hold what."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from . import columns
from .errors import DataError

Reader = Callable[[Any], str]
Row = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class MathSet:
    """One data set."""

    name: str
    """As ``--sets`` and ``extra_info.source`` write it."""

    hub: str
    """Name on the Hugging Face hub."""

    splits: Mapping[str, str]
    """By split that is written (``train``, ``test``), the split on the hub."""

    problem: Mapping[str, Reader]
    """Columns that may hold the problem, the best first, and how each is read."""

    answer: Mapping[str, Reader]
    """Columns that may hold the answer, the best first, and how each is read."""

    data_source: str
    """verl's key of metrics in validation, and of its own scorer where it has one for this set."""

    config: str | None = None
    """Configuration on the hub, where there are several."""

    context: str | None = None
    """Column of a text that goes before the problem where it is not empty."""

    labels: Mapping[str, str] = field(default_factory=dict)
    """By ``level`` and ``subject`` of ``extra_info``, the column that holds it, where there is one."""

    def check_columns(self, row: Row, where: str) -> None:
        """Raise where a row has no column for the problem or the answer.

        Raises:
            DataError: with the columns that are there and those that are sought.
        """
        for what, readers in (("problem", self.problem), ("answer", self.answer)):
            if not readers.keys() & row.keys():
                raise DataError(
                    f"{where} has no column for the {what} of {self.name}: it has {', '.join(row)}; name the one that "
                    f"holds it {' or '.join(readers)}, or give another --source"
                )

    def read_problem(self, row: Row) -> str:
        """The problem with its context, or an empty text."""
        problem = _read(row, self.problem)
        context = columns.text(row.get(self.context)) if self.context else ""
        return f"{context}\n{problem}" if context and problem else problem

    def read_answer(self, row: Row) -> str:
        """The answer, or an empty text."""
        return _read(row, self.answer)

    def read_level(self, row: Row) -> int | None:
        """The level of difficulty, which MATH writes "Level 3" and MATH-500 writes 3."""
        digits = re.search(r"\d+", self._label(row, "level"))
        return int(digits.group()) if digits else None

    def read_subject(self, row: Row) -> str | None:
        """The field of mathematics."""
        return self._label(row, "subject") or None

    def _label(self, row: Row, name: str) -> str:
        return columns.text(row.get(self.labels.get(name, "")))


def _read(row: Row, readers: Mapping[str, Reader]) -> str:
    return next((reader(row[name]) for name, reader in readers.items() if row.get(name) is not None), "")


QUESTION = dict.fromkeys(("problem", "question", "Problem", "Question"), columns.text)
ANSWER = dict.fromkeys(("answer", "Answer"), columns.answer)
INTEGER = dict.fromkeys(("answer", "Answer"), columns.integer)

MATH = MathSet(
    name="math",
    hub="DigitalLearningGmbH/MATH-lighteval",
    splits={"train": "train", "test": "test"},
    problem=QUESTION,
    answer={"solution": columns.boxed},
    data_source="DigitalLearningGmbH/MATH-lighteval",
    labels={"level": "level", "subject": "type"},
)
DEEPSCALER = MathSet(
    name="deepscaler",
    hub="agentica-org/DeepScaleR-Preview-Dataset",
    splits={"train": "train"},
    problem=QUESTION,
    answer=ANSWER,
    data_source="deepscaler",
)
DAPO17K = MathSet(
    name="dapo17k",
    hub="BytedTsinghua-SIA/DAPO-Math-17k",
    splits={"train": "train"},
    problem={"prompt": columns.dapo_problem},
    answer={"reward_model": columns.ground_truth, "solution": columns.answer},
    data_source="math_dapo",
)
GSM8K = MathSet(
    name="gsm8k",
    hub="openai/gsm8k",
    config="main",
    splits={"train": "train", "test": "test"},
    problem=QUESTION,
    answer={"answer": columns.after_hashes},
    data_source="gsm8k",
)

EVALUATION = {
    each.name: each
    for each in (
        MathSet(
            name="aime24",
            hub="HuggingFaceH4/aime_2024",
            splits={"test": "train"},
            problem=QUESTION,
            answer=INTEGER,
            data_source="aime24",
        ),
        MathSet(
            name="amc23",
            hub="math-ai/amc23",
            splits={"test": "test"},
            problem=QUESTION,
            answer=INTEGER,
            data_source="amc23",
        ),
        MathSet(
            name="math500",
            hub="HuggingFaceH4/MATH-500",
            splits={"test": "test"},
            problem=QUESTION,
            answer=ANSWER,
            data_source="HuggingFaceH4/MATH-500",
            labels={"level": "level", "subject": "subject"},
        ),
        MathSet(
            name="minerva",
            hub="math-ai/minervamath",
            splits={"test": "test"},
            problem=QUESTION,
            answer={**ANSWER, "solution": columns.boxed},
            data_source="minerva",
            labels={"subject": "type"},
        ),
        MathSet(
            name="olympiadbench",
            hub="Hothan/OlympiadBench",
            config="OE_TO_maths_en_COMP",
            splits={"test": "train"},
            problem=QUESTION,
            answer={"final_answer": columns.answer},
            data_source="olympiadbench",
            context="context",
            labels={"subject": "subfield"},
        ),
        MathSet(
            name="aime25",
            hub="math-ai/aime25",
            splits={"test": "test"},
            problem=QUESTION,
            answer=INTEGER,
            data_source="aime25",
        ),
    )
}
"""The evaluation sets by name."""
