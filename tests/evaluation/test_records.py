"""Stored answers: damage is named before anything is computed from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from verl_nthr.errors import InputError
from verl_nthr.evaluation.records import Answer, Records

MADE_WITH = {"model": "m"}
ANSWER = {"responses": ["so 3", "4"], "tokens": [3, 1], "rewards": [1.0, 0.0]}


def stored(folder: Path, *lines: Any) -> Path:
    path = folder / "answers.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in (MADE_WITH, *lines)), encoding="utf-8")
    return path


def test_answers_are_read(tmp_path: Path) -> None:
    assert Records(stored(tmp_path, ANSWER), MADE_WITH).answers == [Answer(**ANSWER)]


@pytest.mark.parametrize(
    "changes",
    [
        {"tokens": None},
        {"rewards": None},
        {"rewards": [1.0]},
        {"rewards": [1.0, 10**400]},
        {"tokens": [1, "2"]},
        {"x": 1},
    ],
)
def test_damage_is_named(changes: dict[str, Any], tmp_path: Path) -> None:
    path = stored(tmp_path, ANSWER, ANSWER | changes)
    with pytest.raises(InputError, match="is damaged, its line 3 holds no responses; remove it"):
        Records(path, MADE_WITH)


def test_a_question_without_responses_is_damage(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="its line 2"):
        Records(stored(tmp_path, {"responses": [], "tokens": [], "rewards": []}), MADE_WITH)
