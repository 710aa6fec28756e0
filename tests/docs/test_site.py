"""The site builds without a warning, and asks no other host for anything."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.docs.pages import DOCS, ROOT

FETCHED = r'<(?:link|script|img|iframe)\b[^>]*?(?:href|src)="((?:https?:)?//[^"]*)"'


def test_the_site_builds_and_needs_no_network(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "https_proxy": "http://127.0.0.1:9"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {path.relative_to(tmp_path / "site").with_suffix(".md"): path for path in tmp_path.rglob("*.html")}
    assert {path.relative_to(DOCS) for path in DOCS.rglob("*.md")} == pages.keys() - {Path("404.md")}
    for path in pages.values():
        assert not re.findall(FETCHED, path.read_text(encoding="utf-8")), path.name
    assert "anchor_includes_self" in pages[Path("reference/python.md")].read_text(encoding="utf-8")


def test_every_picture_says_what_it_shows() -> None:
    for path in DOCS.rglob("*.md"):
        for text in re.findall(r"!\[(.*?)\]\(", path.read_text(encoding="utf-8")):
            assert len(text) > 10, path.name
