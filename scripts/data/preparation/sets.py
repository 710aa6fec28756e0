"""The data sets: where each is, and which of its columns hold what."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from verl_nthr.errors import InputError

from . import columns

Reader = Callable[[Any], str]
Row = Mapping[str, Any]

QUESTION: Mapping[str, Reader] = dict.fromkeys(("problem", "question", "Problem", "Question"), columns.text)
ANSWER: Mapping[str, Reader] = dict.fromkeys(("answer", "Answer"), columns.answer)
INTEGER: Mapping[str, Reader] = dict.fromkeys(ANSWER, columns.integer)


@dataclass(frozen=True)
class Problem:
    """A row of a set; a text is empty if the row has none."""

    index: int
    """Of the row in the source, from 0."""

    problem: str
    """Without any instruction."""

    answer: str
    """The ground truth."""

    level: int | None
    """Of difficulty."""

    subject: str | None
    """Field of mathematics."""


@dataclass(frozen=True, eq=False, kw_only=True)
class MathSet:
    """One data set."""

    name: str
    """In ``--sets`` and ``extra_info.source``."""

    hub: str
    """Name on the Hugging Face hub."""

    config: str | None = None
    """Configuration on the hub, where there are several."""

    splits: Mapping[str, str]
    """Split that is written (``train``, ``test``) → split on the hub."""

    data_source: str
    """verl's key of validation metrics, and of its own scorer if it has one for this set."""

    problem: Mapping[str, Reader] = field(default_factory=lambda: QUESTION)
    """Columns that may hold the problem, the best first → how each is read."""

    answer: Mapping[str, Reader] = field(default_factory=lambda: ANSWER)
    """Columns that may hold the answer, the best first → how each is read."""

    context: str | None = None
    """Column of a text that goes before the problem."""

    level: str | None = None
    """Column of the level of difficulty: a number, or MATH's "Level 3"."""

    subject: str | None = None
    """Column of the field of mathematics."""

    def check_columns(self, row: Row, where: str) -> None:
        """Check that ``row`` has a column for the problem and one for the answer.

        Raises:
            InputError: with the columns that are there and those that are sought.
        """
        for what, readers in (("problem", self.problem), ("answer", self.answer)):
            if not readers.keys() & row.keys():
                raise InputError(
                    f"{where} has no column for the {what} of {self.name}: it has {', '.join(row)}; name the one that "
                    f"holds it {' or '.join(readers)}, or give another --source"
                )

    def read(self, index: int, row: Row) -> Problem:
        """Read row number ``index`` of the source."""
        problem, context = _first(row, self.problem), columns.text(row.get(self.context))
        level = re.search(r"(?<!\d)\d{1,9}(?!\d)", columns.text(row.get(self.level)))
        return Problem(
            index,
            f"{context}\n{problem}" if context and problem else problem,
            _first(row, self.answer),
            int(level.group()) if level else None,
            columns.text(row.get(self.subject)) or None,
        )


def _first(row: Row, readers: Mapping[str, Reader]) -> str:
    return next((reader(row[name]) for name, reader in readers.items() if row.get(name) is not None), "")


MATH = MathSet(
    name="math",
    hub="DigitalLearningGmbH/MATH-lighteval",
    splits={"train": "train", "test": "test"},
    data_source="DigitalLearningGmbH/MATH-lighteval",
    answer={"solution": columns.boxed},
    level="level",
    subject="type",
)
DEEPSCALER = MathSet(
    name="deepscaler",
    hub="agentica-org/DeepScaleR-Preview-Dataset",
    splits={"train": "train"},
    data_source="deepscaler",
)
DAPO17K = MathSet(
    name="dapo17k",
    hub="BytedTsinghua-SIA/DAPO-Math-17k",
    splits={"train": "train"},
    data_source="math_dapo",
    problem={"prompt": columns.dapo_problem},
    answer={"reward_model": columns.ground_truth, "solution": columns.answer},
)
GSM8K = MathSet(
    name="gsm8k",
    hub="openai/gsm8k",
    config="main",
    splits={"train": "train", "test": "test"},
    data_source="gsm8k",
    answer={"answer": columns.after_hashes},
)

AIME24 = MathSet(
    name="aime24", hub="HuggingFaceH4/aime_2024", splits={"test": "train"}, data_source="aime24", answer=INTEGER
)
AMC23 = MathSet(name="amc23", hub="math-ai/amc23", splits={"test": "test"}, data_source="amc23", answer=INTEGER)
MATH500 = MathSet(
    name="math500",
    hub="HuggingFaceH4/MATH-500",
    splits={"test": "test"},
    data_source="HuggingFaceH4/MATH-500",
    level="level",
    subject="subject",
)
MINERVA = MathSet(
    name="minerva",
    hub="math-ai/minervamath",
    splits={"test": "test"},
    data_source="minerva",
    answer={**ANSWER, "solution": columns.boxed},
    subject="type",
)
OLYMPIADBENCH = MathSet(
    name="olympiadbench",
    hub="Hothan/OlympiadBench",
    config="OE_TO_maths_en_COMP",
    splits={"test": "train"},
    data_source="olympiadbench",
    answer={"final_answer": columns.answer},
    context="context",
    subject="subfield",
)
AIME25 = MathSet(name="aime25", hub="math-ai/aime25", splits={"test": "test"}, data_source="aime25", answer=INTEGER)

EVALUATION = {each.name: each for each in (AIME24, AMC23, MATH500, MINERVA, OLYMPIADBENCH, AIME25)}
"""The evaluation sets by name."""
