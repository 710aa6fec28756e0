"""The rehearsal of an upgrade: what it installs, compares and says, with stand-ins for pip, venv and pytest."""

from __future__ import annotations

import runpy
import shutil
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import try_newest
from tests.packaging.building import ROOT
from verl_nthr.supported import RANGES

PYTHON = """#!/bin/bash
echo "$@" >>CALLS
if [[ "$*" == *"pip --disable-pip-version-check list"* ]]; then
  printf 'verl==0.10.0\\nRay==2.60.0\\nnew.one==1\\npip==99\\n'
fi
if [[ "$*" == *FAIL* ]]; then exit 3; fi
"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Arguments of the new environment's Python and of this one, written down by a stand-in."""
    calls = tmp_path / "calls"
    stand_in = tmp_path / "python"
    stand_in.write_text(PYTHON.replace("CALLS", str(calls)), encoding="utf-8")
    stand_in.chmod(0o755)

    def unpack(folder: Path) -> Path:
        for name in ("pyproject.toml", "verl_nthr/supported.py"):
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / "source" / name)
        (folder / "environment" / "bin").mkdir(parents=True)
        shutil.copy(stand_in, folder / "environment" / "bin" / "python")
        return folder / "source"

    monkeypatch.setattr(try_newest, "unpack", unpack)
    monkeypatch.setattr(sys, "executable", str(stand_in))
    return calls


def test_pins_first_then_the_newest_then_contracts_and_tests(
    calls: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert try_newest.try_newest(tmp_path, "torch==2.13.0", ["verl", "ray"], ["-m", "fast"]) == 0
    made = calls.read_text(encoding="utf-8").splitlines()
    assert [line.split()[1] for line in made] == ["venv", *["pip"] * 5, "tests.integration.contracts", "pytest"]
    assert made[2].endswith(f"install --no-deps --requirement {try_newest.PINS}")
    assert made[3].endswith(f"--upgrade --upgrade-strategy eager --constraint {tmp_path / 'torch.txt'} verl ray")
    assert (tmp_path / "torch.txt").read_text(encoding="utf-8") == "torch==2.13.0\n"
    assert made[6] == "-m tests.integration.contracts 0.10.0"
    assert made[7].startswith("-m pytest -m fast --ignore=tests/test_supported.py")
    said = [line for line in capsys.readouterr().out.splitlines() if "pinned," in line]
    assert [line.split()[1:4:2] for line in said] == [["new-one:", "pinned,"], ["verl:", "pinned,"]]
    assert "0.10.0" in said[1]


def test_a_failed_test_is_a_result_and_a_failed_installation_the_end(
    calls: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, packages, tests, code in (("tried", ["verl"], ["FAIL"], 1), ("ended", ["FAIL"], [], 2)):
        (tmp_path / name).mkdir()
        assert try_newest.try_newest(tmp_path / name, "torch", packages, tests) == code
    assert "newest-packages.log" in capsys.readouterr().err


def test_the_copy_accepts_every_version(tmp_path: Path) -> None:
    (tmp_path / "verl_nthr").mkdir()
    for name in ("pyproject.toml", "verl_nthr/supported.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    try_newest.lift_ranges(tmp_path)
    lifted = runpy.run_path(str(tmp_path / "verl_nthr" / "supported.py"))
    assert lifted["RANGES"] == dict.fromkeys(RANGES, "")
    assert lifted["is_supported"]("verl", "99.0")
    assert '  "verl",\n' in (tmp_path / "pyproject.toml").read_text(encoding="utf-8")
    assert Requirement(lifted["requirement"]("torch")).specifier == ""


def test_a_folder_that_exists_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["try_newest.py", str(tmp_path)])
    assert try_newest.main() == 2
    assert str(tmp_path) in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
