"""The pages that are read off the code are those that the code gives, and leave nothing out."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

import verl_nthr
import write_reference
from tests.docs.pages import read


def test_the_pages_are_what_the_code_says(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(sys, "argv", ["write_reference.py", "--check"])
    assert write_reference.main() == 0, capsys.readouterr().err


def test_a_stale_page_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(write_reference, "FOLDER", tmp_path)
    monkeypatch.setattr(sys, "argv", ["write_reference.py"])
    assert write_reference.main() == 0
    (tmp_path / "options.md").write_text("old")
    monkeypatch.setattr(sys, "argv", ["write_reference.py", "--check"])
    assert write_reference.main() == 1
    assert capsys.readouterr().err.startswith("options.md: not what the code says")
    assert (tmp_path / "options.md").read_text() == "old"


def test_every_option_says_what_it_means() -> None:
    rows = re.findall(r"^\| `[\w.]+` \| .* \| .* \| (.*) \|$", read("reference/options.md"), flags=re.MULTILINE)
    assert len(rows) > 20
    assert all(len(meaning) > 10 for meaning in rows)


def test_the_public_functions_are_all_there() -> None:
    named = set(re.findall(r"^::: verl_nthr\.(\w+)$", read("reference/python.md"), flags=re.MULTILINE))
    assert named == set(verl_nthr.__all__) - {"__version__"}
