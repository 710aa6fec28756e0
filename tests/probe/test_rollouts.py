"""Stored rollouts are read as they were written, and damage is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.probe.cases import ROLLOUT
from verl_nthr.errors import InputError
from verl_nthr.probe.rollouts import read_rollouts


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.jsonl"
    path.write_text(json.dumps(ROLLOUT.to_json()) + "\n" + '{"question": "cut o', encoding="utf-8")
    assert read_rollouts(path) == [ROLLOUT]
    assert read_rollouts(tmp_path / "none") == []


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"question": 7}, "'question' has to be a string"),
        ({"prompt": [0.5]}, "'prompt' has to be a list of integers"),
        ({"responses": [1]}, "'responses' has to be a list of lists"),
        ({"rewards": [1.0, float("nan"), 0.0, 0.0]}, "'rewards' has to be a list of finite numbers"),
        ({"rewards": [1.0]}, "not a reward for each response"),
        ({"more": 1}, "other fields"),
    ],
)
def test_damage_is_named(changes: dict[str, Any], complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "rollouts.jsonl"
    path.write_text(json.dumps(ROLLOUT.to_json() | changes) + "\n", encoding="utf-8")
    with pytest.raises(InputError, match=rf"rollouts\.jsonl, entry 1: .*{complaint}"):
        read_rollouts(path)
