"""A browser for the tests of the page, and a small page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.heatmap.browser import Tab, chromium
from tests.heatmap.records import group, write_dump
from verl_nthr.heatmap.page import write_heatmap


@pytest.fixture(scope="package")
def browser() -> Iterator[Tab]:
    with chromium() as tab:
        yield tab


@pytest.fixture
def tab(browser: Tab) -> Iterator[Tab]:
    """A tab of 1400 by 900 pixels in which nothing may go wrong and from which nothing may be loaded but the page."""
    browser.resize(1400, 900)
    browser.errors.clear()
    browser.requests.clear()
    yield browser
    assert browser.errors == []
    assert [url for url in browser.requests if not url.endswith("/page.html")] == []


@pytest.fixture(scope="package")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Steps 7 and 8 of three groups each, two of them mixed; one response of step 8 says ``so 9``."""
    folder = tmp_path_factory.mktemp("small")
    odd = {"tokens": ["so", " ", "9"], "token_ids": [11, 12, 19], "response": "so 9"}
    eighth = [*group("ash", 1, step=8), *group("birch", 3, step=8), *group("cedar", 0, step=8)]
    eighth[1] |= odd | {"weights": [1.0] * 3, "scores": [0.0] * 3}
    files = [
        write_dump(folder / "7.jsonl", *group("ash", 2), *group("birch", 3), *group("cedar", 4)),
        write_dump(folder / "8.jsonl", *eighth),
    ]
    write_heatmap(files, folder / "page.html", "Small")
    return folder / "page.html"
