"""verl's functions are those that this package was written for."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.integration import contracts
from verl_nthr.integration.plugin import OVERRIDES


def installed() -> Path:
    spec = importlib.util.find_spec("verl")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]).parent


def test_the_installed_verl_keeps_every_contract() -> None:
    text = contracts.describe(installed())
    assert not text, f"look at these, then write down the new digests:\n{text}"


def test_every_override_has_a_contract() -> None:
    under_contract = {contract.name for contract in contracts.CONTRACTS}
    for path in OVERRIDES:
        parts = path.split(".")
        assert ".".join(parts[-2:] if parts[-2][0].isupper() else parts[-1:]) in under_contract


SOURCE = '''
class Engine:
    def run(self, data: dict, *, fast: bool = False) -> int:
        """Words."""
        return len(data)  # a comment
'''


@pytest.mark.parametrize(
    ("change", "kept", "kept_whole"),
    [
        (("Words.", "Other words."), True, True),
        (("  # a comment", ""), True, True),
        ((": dict", ""), True, True),
        (("len(data)", "len(data) + 1"), True, False),
        (("fast: bool = False", "fast: bool = True"), False, False),
        (("def run", "def go"), False, False),
    ],
)
def test_what_counts_as_a_change(tmp_path: Path, change: tuple[str, str], kept: bool, kept_whole: bool) -> None:
    def digests() -> list[str | None]:
        return [contracts.digest(tmp_path, "engine.py", "Engine.run", whole) for whole in (False, True)]

    (tmp_path / "engine.py").write_text(SOURCE)
    before = digests()
    (tmp_path / "engine.py").write_text(SOURCE.replace(*change))
    after = digests()
    assert [a == b for a, b in zip(before, after, strict=True)] == [kept, kept_whole]
