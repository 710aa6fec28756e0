"""The page of messages holds messages that the code has, and leaves out none of the integration and of the dumps."""

from __future__ import annotations

import re

import pytest

from tests.docs.messages import said, templates
from tests.docs.pages import read

PAGE = read("troubleshooting.md")
ROWS = re.findall(r"^\| `(.+?)`(?: at .*?)? \| .* \| .* \|$", PAGE.split("## No message")[0], flags=re.MULTILINE)


def is_part(fragment: str, text: str) -> bool:
    """Whether a row's message is that text, or a part of it."""
    return fragment.removesuffix(" …").rstrip("…") in text


@pytest.mark.parametrize("fragment", ROWS)
def test_a_message_is_one_that_the_code_has(fragment: str) -> None:
    assert any(is_part(fragment, text) for text in templates(".")), fragment


@pytest.mark.parametrize("folder", ["integration", "heatmap"])
def test_every_message_is_on_the_page(folder: str) -> None:
    headings = re.findall(r"`([^`]+:)`", PAGE)
    assert [text for text in said(folder) if not any(is_part(row, text) for row in (*ROWS, *headings))] == []


def test_the_sources_are_read() -> None:
    assert "beta=…: use a real number, or -inf to select every token of a wrong answer" in said("influence")
    assert "FP8 is not covered yet; set it to null" in said("integration")
    assert "… has no effect without algorithm.filter_groups.enable=True" in said("integration")
