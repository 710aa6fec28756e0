"""Progress that says what is being shown: a line for each folder of tests when the first of its tests ends."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest


class Progress:
    """Prints a folder's docstring before the dots of its tests."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._shown: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        folder = str(Path(report.location[0]).parent)
        if report.when != "setup" or folder in self._shown:
            return
        self._shown.add(folder)
        what = importlib.import_module(folder.replace("/", ".")).__doc__ or ""
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        reporter.write(f"\n{folder}: {what.strip()} ")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Progress(config), "progress of folders")
