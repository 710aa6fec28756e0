"""Small data sets of our own, in the columns that the published ones have, and what must become of their first row."""

from __future__ import annotations

from typing import Any, NamedTuple

DAPO_PROMPT = (
    "Solve the following math problem step by step. The last line of your response should be of the form Answer: "
    "$Answer (without quotes) where $Answer is the answer to the problem.\n\n{}\n\n"
    'Remember to put your answer on its own line after "Answer:".'
)


def math_row(problem: str, solution: str, level: str = "Level 4") -> dict[str, Any]:
    return {"problem": problem, "level": level, "type": "Algebra", "solution": solution}


def dapo_row(problem: str, answer: str, index: str = "9a9b") -> dict[str, Any]:
    return {
        "data_source": "math_dapo",
        "prompt": [{"content": DAPO_PROMPT.format(problem), "role": "user"}],
        "ability": "MATH",
        "reward_model": {"ground_truth": answer, "style": "rule-lighteval/MATH_v2"},
        "extra_info": {"index": index},
    }


TRAINING: dict[str, list[dict[str, Any]]] = {
    "math_levels": [
        math_row(r"What is $\frac12$ of $x$ if $x^2 = 9$ and $x > 0$?", r"As $x = 3$, it is $\boxed{\dfrac{3}{2}}$."),
        math_row("Add 2 and 2.", r"It is $\boxed{4}$.", level="Level 1"),
        math_row("Multiply 6 by 7.", r"Six sevens are $\boxed{42}$.", level="Level 5"),
    ],
    "deepscaler": [
        {"problem": "Find the slope of $y = -4x$.", "answer": "$-4$", "solution": "Read it off."},
        {"problem": "Evaluate $3^4$.", "answer": "81", "solution": "81"},
    ],
    "dapo17k": [dapo_row("How many primes lie below 20?", "8"), dapo_row("Compute $17^2$.", "289")],
    "gsm8k": [
        {"question": "Ann bakes 600 rolls a day. How many in two days?", "answer": "<<600*2=1200>>\n#### 1,200"},
        {"question": "Tom has 3 pens and loses one. How many remain?", "answer": "3 - 1 = 2\n#### 2"},
    ],
}
"""By script, without its ending."""

EVALUATION: dict[str, list[dict[str, Any]]] = {
    "aime24": [{"id": 60, "problem": "Find $5^2$.", "solution": "…", "answer": "025", "url": "…", "year": "2024"}],
    "amc23": [{"id": 0, "question": "A train goes 27 miles an hour. How far does it go in one?", "answer": 27.0}],
    "math500": [
        {
            "problem": r"Write $(0, 3)$ in polar coordinates $(r, \theta)$.",
            "solution": "…",
            "answer": r"\left( 3, \frac{\pi}{2} \right)",
            "subject": "Precalculus",
            "level": 2,
            "unique_id": "test/precalculus/807.json",
        }
    ],
    "minerva": [{"question": "A source radiates 2 watts. How many joules in 0.8 seconds?", "answer": "1.6"}],
    "olympiadbench": [
        {
            "id": 1606,
            "subfield": "Combinatorics",
            "context": "Let $S$ be the set of roots of $x^2 = 4$.",
            "question": "Find all elements of $S$.",
            "solution": ["…"],
            "final_answer": ["$-2$", "$2$"],
            "is_multiple_answer": True,
            "unit": None,
            "answer_type": "Numerical",
            "error": None,
        }
    ],
    "aime25": [{"problem": "How many days has June?", "answer": 30, "id": "0"}],
}
"""By set."""


class Golden(NamedTuple):
    """A row as verl reads it."""

    data_source: str
    question: str
    ground_truth: str
    source: str
    level: int | None = None
    subject: str | None = None


GOLDEN = {
    "math_levels": Golden(
        "DigitalLearningGmbH/MATH-lighteval",
        *(r"What is $\frac12$ of $x$ if $x^2 = 9$ and $x > 0$?", r"\dfrac{3}{2}", "math", 4, "Algebra"),
    ),
    "deepscaler": Golden("deepscaler", "Find the slope of $y = -4x$.", "-4", "deepscaler"),
    "dapo17k": Golden("math_dapo", "How many primes lie below 20?", "8", "dapo17k"),
    "gsm8k": Golden("gsm8k", "Ann bakes 600 rolls a day. How many in two days?", "1200", "gsm8k"),
    "aime24": Golden("aime24", "Find $5^2$.", "25", "aime24"),
    "amc23": Golden("amc23", "A train goes 27 miles an hour. How far does it go in one?", "27", "amc23"),
    "math500": Golden(
        "HuggingFaceH4/MATH-500",
        r"Write $(0, 3)$ in polar coordinates $(r, \theta)$.",
        *(r"\left( 3, \frac{\pi}{2} \right)", "math500", 2, "Precalculus"),
    ),
    "minerva": Golden("minerva", "A source radiates 2 watts. How many joules in 0.8 seconds?", "1.6", "minerva"),
    "olympiadbench": Golden(
        "olympiadbench",
        "Let $S$ be the set of roots of $x^2 = 4$.\nFind all elements of $S$.",
        *("-2, 2", "olympiadbench", None, "Combinatorics"),
    ),
    "aime25": Golden("aime25", "How many days has June?", "30", "aime25"),
}
"""By script or set, what its first row becomes."""
