"""What the tests of the FSDP engines share."""

from __future__ import annotations

from pathlib import Path

import pytest
import verl  # noqa: F401 - before a test fakes its version, by which the plugin decides what to patch

from tests.integration.models import make_adapters, make_model


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the models "tied" and "untied", and the adapters with the models that they are merged into."""
    folder = tmp_path_factory.mktemp("models")
    make_model(folder / "tied", tied=True)
    make_model(folder / "untied", tied=False)
    make_adapters(folder)
    return folder
