"""Groups are read as they were stored, and damage is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.families import wrong_refusals
from tests.probe.cases import GROUP
from verl_nthr.generation.records import Records
from verl_nthr.probe.groups import Group

MADE_WITH = {"model": "m"}


def test_what_is_stored_is_read(tmp_path: Path) -> None:
    path = tmp_path / "out" / "groups.jsonl"
    records = Records(path, Group, MADE_WITH)
    assert (records.entries, path.parent.exists()) == ([], False)
    records.append(GROUP)
    with path.open("a", encoding="utf-8") as file:
        file.write('{"name": "cut o')
    assert Records(path, Group, MADE_WITH).entries == [GROUP]


def test_damage_is_named(tmp_path: Path) -> None:
    path = tmp_path / "groups.jsonl"

    def read(changes: dict[str, Any]) -> None:
        path.write_text(f"{json.dumps(MADE_WITH)}\n{json.dumps(GROUP.model_dump() | changes)}\n", encoding="utf-8")
        Records(path, Group, MADE_WITH)

    cases: list[tuple[dict[str, Any], tuple[str, ...]]] = [
        ({"name": 7}, ("'name'", "7")),
        ({"prompt": [0.5]}, ("'prompt'[0]", "0.5")),
        ({"responses": [1]}, ("'responses'[0]", "1")),
        ({"rewards": [1.0, float("nan"), 0.0, 0.0]}, ("'rewards'[1]", "finite", "nan")),
        ({"rewards": [1.0]}, ("'rewards'", "1 entries", "4 responses")),
        ({"more": 1}, ("'more'",)),
    ]
    assert wrong_refusals(read, [(changes, ("groups.jsonl:2", *facts)) for changes, facts in cases]) == []
