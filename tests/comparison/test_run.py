"""Whole comparisons with an untrained toy in the place of a warmed-up one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import compare_estimators
from tests.comparison.cases import save_untrained_toy
from verl_nthr.comparison.run import run_all
from verl_nthr.comparison.settings import Settings
from verl_nthr.errors import InputError

ROOT = Path(__file__).parents[2]


def settings(method: str, **changes: object) -> Settings:
    return Settings("demo", method, 0, steps=2, **{"prompts": 2, "responses": 3, "pass_k": 1, **changes})


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder whose toys exist already."""
    save_untrained_toy(tmp_path / "toys" / "demo-seed0")
    return tmp_path


@pytest.mark.slow
def test_runs_side_by_side_and_again(out: Path) -> None:
    lines: list[str] = []
    wanted = [settings("grpo"), settings("nthr")]
    results = run_all(wanted, out, 2, lines.append)
    assert [result["settings"]["method"] for result in results] == ["grpo", "nthr"]
    assert [step for step, _ in results[0]["greedy"]] == [0, 2]
    assert len(results[0]["steps"]) == 2
    assert sorted(lines)[0] == "demo, seed 0: grpo trained"
    before = results[0]["steps"][0], results[1]["steps"][0]
    assert before[0]["entropy"] == before[1]["entropy"]

    again: list[str] = []
    assert run_all(wanted, out, 2, again.append) == results
    assert not again

    with pytest.raises(InputError, match=r"demo-nthr-seed0.json was made with prompts=2; pass another --out"):
        run_all([settings("nthr", prompts=3)], out, 1, again.append)
    broken = out / "runs" / "demo-grpo-seed0.json"
    broken.write_text(broken.read_text()[:50])
    with pytest.raises(InputError, match=r"demo-grpo-seed0.json is not a result of a run .*remove it"):
        run_all([settings("grpo")], out, 1, again.append)


@pytest.mark.slow
def test_the_command(out: Path) -> None:
    arguments = ["--tasks", "demo", "--seeds", "1", "--steps", "1", "--estimators", "grpo", "pos_only", "--jobs", "2"]
    command = [sys.executable, ROOT / "scripts" / "compare_estimators.py", *arguments, "--out", out, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert set(summary["tasks"]["demo"]) == {"grpo", "pos_only"}
    assert summary == json.loads((out / "comparison.json").read_text())
    assert (out / "demo.png").read_bytes().startswith(b"\x89PNG")
    assert "Pos-Only" in (out / "comparison.md").read_text()


def test_the_command_refuses_what_it_does_not_know(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare_estimators.main(["--estimators", "ntrh", "--out", str(tmp_path / "x")]) == 1
    assert "--estimators ntrh" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
