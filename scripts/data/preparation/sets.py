"""The data sets."""

from __future__ import annotations

from . import columns
from .math_set import MathSet

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
    level="level",
    subject="type",
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
            level="level",
            subject="subject",
        ),
        MathSet(
            name="minerva",
            hub="math-ai/minervamath",
            splits={"test": "test"},
            problem=QUESTION,
            answer={**ANSWER, "solution": columns.boxed},
            data_source="minerva",
            subject="type",
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
            subject="subfield",
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
