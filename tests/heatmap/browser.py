"""A page of the heatmap in headless Chromium, driven by Playwright."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
IN_CHROMIUM = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None and "CI" not in os.environ, reason="Chromium is missing: apt install chromium"),
]
"""Marks of a test; a missing Chromium is an error in CI."""
MILLISECONDS = 60_000
expect.set_options(timeout=MILLISECONDS)


class Tab:
    """One tab, with the things that go wrong in it and the addresses that it asks for."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        self.requests: list[str] = []
        page.set_default_timeout(MILLISECONDS)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda message: self.errors.append(message.text))
        page.on("dialog", lambda dialog: (self.errors.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: self.requests.append(request.url))

    def open(self, page: Path, address: str = "") -> None:
        """Load a file and wait until the filters are applied."""
        self.page.goto("about:blank")
        self.page.goto(f"{page.as_uri()}{address}")
        self.settle()

    def settle(self) -> None:
        """Wait until the filters are applied."""
        expect(self.page.locator("#list")).to_have_attribute("aria-busy", "false")

    def evaluate(self, expression: str) -> Any:
        """The JSON value of an expression, promises awaited."""
        return self.page.evaluate(expression)

    def wait_for(self, selector: str, text: str | None = None) -> None:
        """Wait until there is an element, and its text is ``text``."""
        self.page.wait_for_selector(selector, state="attached")
        if text is not None:
            expect(self.page.locator(selector)).to_have_text(text)

    def press(self, *keys: str) -> None:
        """Press keys where the focus is."""
        for key in keys:
            self.page.keyboard.press(key)

    def search(self, text: str) -> None:
        """Enter a text in the search field, instead of what stands there."""
        self.press("/")
        self.page.keyboard.insert_text(text)
        self.settle()

    def choose(self, field: str, value: str | bool) -> None:
        """Set a filter as a person does."""
        control = self.page.locator(f"#filters [name={field}]")
        if isinstance(value, bool):
            control.set_checked(value)
        else:
            control.select_option(value)
        self.settle()

    def text(self, selector: str) -> str | None:
        """The text of the first element."""
        return self.page.locator(selector).first.text_content()

    def texts(self, selector: str) -> list[str]:
        """The texts of all elements."""
        return self.page.locator(selector).all_text_contents()

    def resize(self, width: int, height: int) -> None:
        """Set the size of the window."""
        self.page.set_viewport_size({"width": width, "height": height})


@contextlib.contextmanager
def chromium() -> Iterator[Tab]:
    """A browser with a profile of its own, closed at the end."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, timeout=MILLISECONDS)
        try:
            yield Tab(browser.new_page())
        finally:
            browser.close()
