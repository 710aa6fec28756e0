"""verl's functions are those that this package was written for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration import contracts
from tests.integration.contracts import Contract
from verl_nthr.integration.plugin import PATCHES
from verl_nthr.patching import FunctionPatch


def test_the_installed_verl_keeps_every_contract() -> None:
    text = contracts.describe(contracts.installed())
    assert not text, f"look at these, then write down the new digests:\n{text}"


def test_every_override_has_a_contract() -> None:
    under_contract = {contract.name for contract in contracts.CONTRACTS}
    changed = {p.target.removeprefix(f"{p.module}.") for p in PATCHES if isinstance(p, FunctionPatch)}
    assert changed <= under_contract


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


KNOWN = Contract("verl/engine.py", "Engine.run", True, ("known",), "integration/worker.py wraps it.")


@pytest.fixture
def versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A known version and one to compare with it, which are alike."""
    for name in ("known", "new"):
        (tmp_path / name / "verl").mkdir(parents=True)
        (tmp_path / name / "verl" / "engine.py").write_text(SOURCE)
    digest = contracts.digest(tmp_path / "known", KNOWN.file, KNOWN.name, True)
    assert digest is not None
    monkeypatch.setattr(contracts, "CONTRACTS", (replace(KNOWN, digests=(digest,)),))
    return tmp_path / "known", tmp_path / "new"


def test_nothing_is_said_of_what_is_alike(versions: tuple[Path, Path]) -> None:
    known, new = versions
    assert contracts.describe(new, known) == ""


def test_a_change_is_shown_with_its_file_its_function_and_what_to_look_at(versions: tuple[Path, Path]) -> None:
    known, new = versions
    (new / KNOWN.file).write_text(SOURCE.replace("len(data)", "len(data) + 1"))
    first, look_at, *diff = contracts.describe(new, known).splitlines()
    assert first.startswith("verl/engine.py: Engine.run has changed (")
    assert look_at.strip() == KNOWN.look_at
    assert [line.strip() for line in diff if "return" in line] == ["-return len(data)", "+return len(data) + 1"]


def test_what_moved_is_found_where_it_is_now(versions: tuple[Path, Path]) -> None:
    known, new = versions
    (new / KNOWN.file).rename(new / "verl" / "machine.py")
    text = contracts.describe(new, known)
    assert text.startswith("verl/engine.py: Engine.run is gone; one of that name is in verl/machine.py.")
    (new / "verl" / "machine.py").unlink()
    assert contracts.describe(new, known).startswith("verl/engine.py: Engine.run is gone.")
