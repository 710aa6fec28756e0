"""Reading a problem or an answer from a column; what holds none gives an empty text."""

from __future__ import annotations

import re
from typing import Any

DOLLAR = re.compile(r"(?<!\\)\$")
"""A dollar sign that opens or closes mathematics, unlike the price ``\\$5``."""

SURROGATE = re.compile("[\\ud800-\\udfff]")

DAPO_INSTRUCTIONS = (
    "Solve the following math problem step by step. The last line of your response should be of the form Answer: "
    "$Answer (without quotes) where $Answer is the answer to the problem.",
    'Remember to put your answer on its own line after "Answer:".',
)
"""What DAPO-17k writes before and after each problem."""


def text(value: Any) -> str:
    """The value as text, without the space around it; half a surrogate pair, which no file can hold, becomes U+FFFD."""
    return "" if value is None else SURROGATE.sub("\ufffd", str(value)).strip()


def answer(value: Any) -> str:
    """A final answer as it stands, without the dollar signs around mathematics; several are joined by commas."""
    several = value if isinstance(value, list) else [value]
    return ", ".join(DOLLAR.sub("", text(one)).strip() for one in several)


def integer(value: Any) -> str:
    """An answer that is an integer: 27, 27.0, "027" and "27^\\circ" are all "27"; any other is no answer."""
    number = re.fullmatch(r"(-?\d{1,100})(?:\.0)?(?:\^\{?\\circ\}?)?", answer(value))
    return str(int(number[1])) if number else ""


def after_hashes(value: Any) -> str:
    """The number behind ``####`` at the end of a solution of GSM8K, without commas between its digits."""
    return text(value).rpartition("####")[2].strip().replace(",", "") if "####" in text(value) else ""


def boxed(value: Any) -> str:
    """What stands in a solution's last ``\\boxed``, by verl's own extraction."""
    from verl.utils.reward_score.math_reward import last_boxed_only_string, remove_boxed

    box = last_boxed_only_string(text(value))
    return answer(remove_boxed(box)) if box and box.startswith((r"\boxed{", r"\boxed ")) else ""


def ground_truth(value: Any) -> str:
    """The answer in verl's column ``reward_model``."""
    return answer(value.get("ground_truth")) if isinstance(value, dict) else ""


def dapo_problem(value: Any) -> str:
    """The problem in DAPO-17k's column ``prompt``, without the instructions that ask for "Answer:"."""
    problem = user_message(value) if isinstance(value, list) else text(value)
    before, after = DAPO_INSTRUCTIONS
    return problem.removeprefix(before).removesuffix(after).strip()


def user_message(messages: list[dict[str, Any]]) -> str:
    """The last message of the user in a chat."""
    of_user = (each for each in reversed(messages) if isinstance(each, dict) and each.get("role") == "user")
    return text(next(of_user, {}).get("content"))
