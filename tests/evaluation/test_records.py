"""Stored groups: damage is named before anything is computed from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.families import wrong_refusals
from verl_nthr.evaluation.summary import Group
from verl_nthr.generation.records import Records

MADE_WITH = {"model": "m"}
GROUP = {"responses": ["so 3", "4"], "tokens": [3, 1], "rewards": [1.0, 0.0]}


def stored(folder: Path, *lines: Any) -> Path:
    path = folder / "groups.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in (MADE_WITH, *lines)), encoding="utf-8")
    return path


def test_groups_are_read(tmp_path: Path) -> None:
    assert Records(stored(tmp_path, GROUP), Group, MADE_WITH).entries == [Group(**GROUP)]


def test_damage_is_named(tmp_path: Path) -> None:
    cases: list[tuple[dict[str, Any], tuple[str, ...]]] = [
        ({"tokens": None}, ("'tokens'", "None")),
        ({"rewards": None}, ("'rewards'", "None")),
        ({"rewards": [1.0]}, ("'rewards'",)),
        ({"rewards": [1.0, 10**400]}, ("'rewards'[1]",)),
        ({"tokens": [1, "2"]}, ("'tokens'[1]", "'2'")),
        ({"x": 1}, ("'x'",)),
        ({"responses": [], "tokens": [], "rewards": []}, ("at least one",)),
    ]
    assert (
        wrong_refusals(
            lambda changes: Records(stored(tmp_path, GROUP, GROUP | changes), Group, MADE_WITH),
            [(changes, ("groups.jsonl:3", "remove it", *facts)) for changes, facts in cases],
        )
        == []
    )
