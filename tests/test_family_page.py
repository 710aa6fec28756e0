"""docs/family.md names every estimator, and its command lines are configurations that pass the checks."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module

from verl_nthr.integration.checks import check_run
from verl_nthr.integration.estimators import ESTIMATORS

PAGE = (Path(__file__).parents[1] / "docs" / "family.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^python -m verl\.trainer\.main_ppo \.\.\. (.+)$", PAGE, flags=re.MULTILINE)


def test_every_estimator_has_a_row_and_a_command() -> None:
    rows = set(re.findall(r"^\| `(\w+)` \| .*arxiv|^\| `(\w+)` \| the same", PAGE, flags=re.MULTILINE))
    assert {first or second for first, second in rows} == set(ESTIMATORS)
    assert {name for command in COMMANDS for name in re.findall(r"adv_estimator=(\w+)", command)} >= set(ESTIMATORS)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_passes_the_checks_without_a_warning(command: str) -> None:
    with initialize_config_module("verl.trainer.config", version_base=None):
        config = compose("ppo_trainer", ["actor_rollout_ref.rollout.n=8", *command.split()])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_run(config)
