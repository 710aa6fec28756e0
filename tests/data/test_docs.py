"""The tables of docs/data.md hold what the code holds."""

from __future__ import annotations

import re

import pytest

from data.preparation.selection import KEPT_BY
from data.preparation.sets import DAPO17K, DEEPSCALER, EVALUATION, GSM8K, MATH
from data.preparation.writing import BOXED, SYSTEM_MESSAGE
from tests.data.commands import ROOT
from tests.data.test_reward import VERLS_SCORER

pytestmark = pytest.mark.docs

PAGE = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
TRAINING = {"math_levels": MATH, "deepscaler": DEEPSCALER, "dapo17k": DAPO17K, "gsm8k": GSM8K}


def rows(section: str) -> list[list[str]]:
    """The cells of a section's table."""
    lines = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0].splitlines()
    table = [line for line in lines if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


def test_every_set_with_its_place_and_scorer() -> None:
    expected = {
        each.name: (
            [each.hub, *filter(None, [each.config])],
            list(each.splits.values()),
            [each.data_source],
            VERLS_SCORER.get(name, "none"),
        )
        for name, each in (TRAINING | EVALUATION).items()
    }
    found = {
        name.strip("`"): (re.findall("`(.*?)`", hub), split.split(", "), re.findall("`(.*?)`", source), scorer)
        for name, hub, split, _, _, source, scorer in rows("Sets")
    }
    assert found == expected


def test_every_column_is_one_that_is_read() -> None:
    sets = {each.name: each for each in (*TRAINING.values(), *EVALUATION.values())}
    for name, _, _, problem, answer, _, _ in rows("Sets"):
        each = sets[name.strip("`")]
        assert set(re.findall(r"`(\w+)`", problem)) <= {*each.problem, each.context}
        assert set(re.findall(r"`(\w+)`", answer)) <= each.answer.keys()


def test_every_template_and_reason() -> None:
    assert [re.findall("`(.*?)`", row[0]) for row in rows("Templates")] == [[name] for name in SYSTEM_MESSAGE]
    assert f'The instruction is "{BOXED}"' in PAGE
    reasons = {reason: row[2] for row in rows("Checks") for reason in re.findall(r"`(\w+)`", row[0])}
    assert {reason for reason, kept_by in reasons.items() if "--keep-" in kept_by} == KEPT_BY.keys()
    for reason, what in KEPT_BY.items():
        assert f"`--keep-{what}`" in reasons[reason]
