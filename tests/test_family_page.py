"""docs/family.md names every estimator."""

from __future__ import annotations

import re
from pathlib import Path

from verl_nthr.integration.config.estimators import ESTIMATORS

PAGE = (Path(__file__).parents[1] / "docs" / "family.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^python -m verl\.trainer\.main_ppo \.\.\. (.+)$", PAGE, flags=re.MULTILINE)


def test_every_estimator_has_a_row_and_a_command() -> None:
    rows = set(re.findall(r"^\| `(\w+)` \| .*arxiv|^\| `(\w+)` \| the same", PAGE, flags=re.MULTILINE))
    assert {first or second for first, second in rows} == set(ESTIMATORS)
    assert {name for command in COMMANDS for name in re.findall(r"adv_estimator=(\w+)", command)} >= set(ESTIMATORS)
