"""Small data sets of our own, in the columns that the published ones have, and what must become of their first row."""

from __future__ import annotations

from typing import Any

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
        {
            "question": "Ann bakes 600 rolls a day. How many in two days?",
            "answer": "She bakes <<600*2=1200>>.\n#### 1,200",
        },
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

GOLDEN: dict[str, dict[str, Any]] = {
    "math_levels": {
        "data_source": "DigitalLearningGmbH/MATH-lighteval",
        "question": r"What is $\frac12$ of $x$ if $x^2 = 9$ and $x > 0$?",
        "ground_truth": r"\dfrac{3}{2}",
        "extra_info": {"source": "math", "level": 4, "subject": "Algebra"},
    },
    "deepscaler": {
        "data_source": "deepscaler",
        "question": "Find the slope of $y = -4x$.",
        "ground_truth": "-4",
        "extra_info": {"source": "deepscaler", "level": None, "subject": None},
    },
    "dapo17k": {
        "data_source": "math_dapo",
        "question": "How many primes lie below 20?",
        "ground_truth": "8",
        "extra_info": {"source": "dapo17k", "level": None, "subject": None},
    },
    "gsm8k": {
        "data_source": "gsm8k",
        "question": "Ann bakes 600 rolls a day. How many in two days?",
        "ground_truth": "1200",
        "extra_info": {"source": "gsm8k", "level": None, "subject": None},
    },
    "aime24": {
        "data_source": "aime24",
        "question": "Find $5^2$.",
        "ground_truth": "25",
        "extra_info": {"source": "aime24", "level": None, "subject": None},
    },
    "amc23": {
        "data_source": "amc23",
        "question": "A train goes 27 miles an hour. How far does it go in one?",
        "ground_truth": "27",
        "extra_info": {"source": "amc23", "level": None, "subject": None},
    },
    "math500": {
        "data_source": "HuggingFaceH4/MATH-500",
        "question": r"Write $(0, 3)$ in polar coordinates $(r, \theta)$.",
        "ground_truth": r"\left( 3, \frac{\pi}{2} \right)",
        "extra_info": {"source": "math500", "level": 2, "subject": "Precalculus"},
    },
    "minerva": {
        "data_source": "minerva",
        "question": "A source radiates 2 watts. How many joules in 0.8 seconds?",
        "ground_truth": "1.6",
        "extra_info": {"source": "minerva", "level": None, "subject": None},
    },
    "olympiadbench": {
        "data_source": "olympiadbench",
        "question": "Let $S$ be the set of roots of $x^2 = 4$.\nFind all elements of $S$.",
        "ground_truth": "-2, 2",
        "extra_info": {"source": "olympiadbench", "level": None, "subject": "Combinatorics"},
    },
    "aime25": {
        "data_source": "aime25",
        "question": "How many days has June?",
        "ground_truth": "30",
        "extra_info": {"source": "aime25", "level": None, "subject": None},
    },
}
"""By script or set, what its first row becomes."""
