"""Stored rollouts are read as they were written, and damage is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.families import wrong_refusals
from tests.probe.cases import ROLLOUT
from verl_nthr.probe.rollouts import read_rollouts


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.jsonl"
    path.write_text(json.dumps(ROLLOUT.model_dump()) + "\n" + '{"name": "cut o', encoding="utf-8")
    assert read_rollouts(path) == [ROLLOUT]
    assert read_rollouts(tmp_path / "none") == []


def test_damage_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.jsonl"

    def read(changes: dict[str, Any]) -> None:
        path.write_text(json.dumps(ROLLOUT.model_dump() | changes) + "\n", encoding="utf-8")
        read_rollouts(path)

    cases: list[tuple[dict[str, Any], tuple[str, ...]]] = [
        ({"name": 7}, ("'name'", "7")),
        ({"prompt": [0.5]}, ("'prompt'[0]", "0.5")),
        ({"responses": [1]}, ("'responses'[0]", "1")),
        ({"rewards": [1.0, float("nan"), 0.0, 0.0]}, ("'rewards'[1]", "finite", "nan")),
        ({"rewards": [1.0]}, ("'rewards'", "1 entries", "4 responses")),
        ({"more": 1}, ("'more'",)),
    ]
    assert wrong_refusals(read, [(changes, ("rollouts.jsonl:1", *facts)) for changes, facts in cases]) == []
