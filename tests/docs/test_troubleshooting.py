"""The page of messages holds messages that the code has, and leaves out none of what its tables are about."""

from __future__ import annotations

import re

import pytest

from tests.docs.messages import said, templates
from tests.docs.pages import read

FOLDERS = [
    *("verl_nthr/integration", "verl_nthr/heatmap", "verl_nthr/probe", "verl_nthr/evaluation", "verl_nthr/generation"),
    *("verl_nthr/recipes", "verl_nthr/demo", "verl_nthr/comparison", "verl_nthr/cpu", "scripts/data"),
]
PAGE = read("troubleshooting.md")
ROWS = re.findall(r"^\| `(.+?)`(?: at .*?)? \| .* \| .* \|$", PAGE.split("## No message")[0], flags=re.MULTILINE)


def is_part(fragment: str, text: str) -> bool:
    """Whether a row's message is that text, or a part of it."""
    return fragment.removesuffix(" …").rstrip("…") in text


@pytest.mark.parametrize("fragment", ROWS)
def test_a_message_is_one_that_the_code_has(fragment: str) -> None:
    assert any(is_part(fragment, text) for text in templates("verl_nthr") | templates("scripts")), fragment


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_message_is_on_the_page(folder: str) -> None:
    headings = re.findall(r"`([^`]+:)`", PAGE)
    assert [text for text in said(folder) if not any(is_part(row, text) for row in (*ROWS, *headings))] == []


def test_the_sources_are_read() -> None:
    assert "beta=…: use a real number, or -inf to select every token of a wrong answer" in said("verl_nthr/influence")
    assert any(text.startswith("NTHR needs a linear output layer") for text in said("verl_nthr/integration"))
