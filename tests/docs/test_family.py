"""docs/family.md names every estimator."""

from __future__ import annotations

import re

from tests.docs.pages import read
from verl_nthr.integration.config.estimators import ESTIMATORS

PAGE = read("family.md")
COMMANDS = re.findall(r"^python -m verl\.trainer\.main_ppo \.\.\. (.+)$", PAGE, flags=re.MULTILINE)


def test_every_estimator_has_a_row_and_a_command() -> None:
    rows = set(re.findall(r"^\| `(\w+)` \| .*arxiv|^\| `(\w+)` \| the same", PAGE, flags=re.MULTILINE))
    assert {first or second for first, second in rows} == set(ESTIMATORS)
    assert {name for command in COMMANDS for name in re.findall(r"adv_estimator=(\w+)", command)} >= set(ESTIMATORS)
