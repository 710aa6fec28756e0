from __future__ import annotations

import pytest

from tests.recipes.scripts import Recipes


@pytest.fixture(scope="session")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> Recipes:
    return Recipes(tmp_path_factory.mktemp("recipes"))
