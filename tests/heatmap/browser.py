"""A headless Chromium, driven by the DevTools protocol."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SECONDS = 20
KEY_CODES = {"ArrowRight": 39, "ArrowLeft": 37, "ArrowDown": 40, "ArrowUp": 38, "Escape": 27, "End": 35, "Home": 36}


class Page:
    """One tab."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.events: list[dict[str, Any]] = []
        self._numbers = itertools.count(1)
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """A DevTools command; events that arrive before its answer are kept."""
        number = next(self._numbers)
        self.connection.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self.connection.recv(timeout=SECONDS))
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]
            self.events.append(message)

    def open(self, page: Path, address: str = "") -> None:
        """Load a file and wait until the filters are applied."""
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=f"{page.as_uri()}{address}")
        self.settle()

    def evaluate(self, expression: str) -> Any:
        """The JSON value of an expression, promises awaited."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def settle(self) -> None:
        """Wait until the filters are applied."""
        self.wait_for("document.querySelector('#list')?.ariaBusy === 'false'")

    def wait_for(self, condition: str) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + SECONDS
        while not self.evaluate(condition):
            assert time.monotonic() < end, f"never came true: {condition}"
            time.sleep(0.02)

    def press(self, *keys: str) -> None:
        """Press keys where the focus is."""
        for key in keys:
            text = {"text": key} if len(key) == 1 else {"windowsVirtualKeyCode": KEY_CODES[key]}
            self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
            self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def search(self, text: str) -> None:
        """Enter a text in the search field, instead of what stands there."""
        self.press("/")
        self.call("Input.insertText", text=text)
        self.settle()

    def choose(self, field: str, value: str | bool) -> None:
        """Set a filter as a person does."""
        target = f"document.querySelector('#filters [name={field}]')"
        change = f"{target}.checked = {json.dumps(value)}" if isinstance(value, bool) else f"{target}.value = '{value}'"
        self.evaluate(f"{change}; {target}.dispatchEvent(new Event('input', {{bubbles: true}})); null")
        self.settle()

    def point_at(self, selector: str) -> None:
        """Move the mouse onto an element."""
        box = f"document.querySelector('{selector}').getClientRects()[0]"
        x, y = self.evaluate(f"[{box}.x + {box}.width / 2, {box}.y + {box}.height / 2]")
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def click(self, selector: str) -> None:
        """Click on the middle of an element."""
        self.point_at(selector)
        box = f"document.querySelector('{selector}').getBoundingClientRect()"
        x, y = self.evaluate(f"[{box}.x + {box}.width / 2, {box}.y + {box}.height / 2]")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def text(self, selector: str) -> str:
        """The text of an element."""
        return self.evaluate(f"document.querySelector('{selector}').textContent")

    def texts(self, selector: str) -> list[str]:
        """The texts of all elements."""
        return self.evaluate(f"Array.from(document.querySelectorAll('{selector}'), (e) => e.textContent)")

    def resize(self, width: int, height: int) -> None:
        """Set the size of the window."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def screenshot(self, path: Path) -> None:
        """Write what is seen as PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))


@contextlib.contextmanager
def chromium() -> Iterator[Page]:
    """A browser of our own with a profile of its own, ended at the end."""
    assert CHROMIUM is not None
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        command = [CHROMIUM, "--headless=new", "--remote-debugging-port=0", f"--user-data-dir={profile}"]
        command += ["--no-sandbox", "--no-first-run", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
        command += ["--window-size=1400,900", "about:blank"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as browser:
            try:
                with connect(_address_of_tab(Path(profile) / "DevToolsActivePort"), max_size=None) as connection:
                    yield Page(connection)
            finally:
                browser.terminate()


def _address_of_tab(port_file: Path) -> str:
    end = time.monotonic() + SECONDS
    while not port_file.is_file() or len(lines := port_file.read_text().splitlines()) < 2:
        assert time.monotonic() < end, "Chromium did not start"
        time.sleep(0.05)
    port, path = lines
    with connect(f"ws://127.0.0.1:{port}{path}") as browser:
        browser.send(json.dumps({"id": 1, "method": "Target.getTargets"}))
        targets = json.loads(browser.recv(timeout=SECONDS))["result"]["targetInfos"]
    tab = next(target["targetId"] for target in targets if target["type"] == "page")
    return f"ws://127.0.0.1:{port}/devtools/page/{tab}"
