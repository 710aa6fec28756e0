"""Every wrong configuration of the page gets the message that the page has, word for word."""

from __future__ import annotations

import contextlib
import io

import pytest

from tests.docs.pages import read
from tests.integration.wrong_configurations import CASES, HEAD, PAGE, RIGHT, Case, composed, findings, section
from verl_nthr.cli.run_config import check, compose_run
from verl_nthr.cli.training_command import VERLS_CONFIG

GOLDEN = PAGE.read_text(encoding="utf-8").split("\n## ")
SECTIONS = {f"## {text}".rstrip().partition("\n")[0]: f"## {text}".rstrip() for text in GOLDEN[1:]}


@pytest.mark.parametrize("each", CASES, ids=[each.title for each in CASES])
def test_the_whole_message_is_that_of_the_page(each: Case) -> None:
    assert section(each).rstrip() == SECTIONS[f"## {each.title}"]


def test_the_page_has_these_cases_and_no_others() -> None:
    assert GOLDEN[0] == HEAD.format(right="\n    ".join(RIGHT))
    assert list(SECTIONS) == [f"## {each.title}" for each in CASES]
    assert f"a table of {len(SECTIONS)} wrong configurations" in read("reliability.md")
    assert all("\n    refused: " in text or "\n    warning: " in text for text in SECTIONS.values())


def test_without_them_nothing_is_wrong() -> None:
    assert findings(Case(())) == ([], [])


@pytest.mark.parametrize("changes", [["+algorithm.nthr.beta=high"], ["model_engine=megatron", "trainer.use_v1=False"]])
def test_composing_by_parts_is_composing(changes: list[str]) -> None:
    overrides = [*RIGHT, *changes]
    whole = compose_run(overrides, *VERLS_CONFIG)
    assert composed(overrides, is_packaged=False) == whole
    with contextlib.redirect_stdout(io.StringIO()):
        assert check(whole).problems == findings(Case(tuple(changes)))[0] != []
