"""The models and rows that all cuts are tried on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.models import make_model
from tests.integration.passes import Rows, make_rows


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the models "tied" and "untied", of four layers."""
    folder = tmp_path_factory.mktemp("models")
    make_model(folder / "tied", tied=True, layers=4)
    make_model(folder / "untied", tied=False, layers=4)
    return folder


@pytest.fixture(scope="session")
def rows() -> Rows:
    return make_rows(0, vocab_size=70)
