"""The whole demo, and what it does when the training fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import psutil
import pytest
from rich.console import Console

from verl_nthr.demo import demo
from verl_nthr.demo.settings import Settings
from verl_nthr.demo.toy import Toy
from verl_nthr.heatmap.token_dump import read_step
from verl_nthr.supported import versions

STEPS = 2


def fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, stall_limit: float = 60) -> str:
    """Train with a stand-in for verl; the message of the error."""
    monkeypatch.setattr(demo, "training_command", lambda *_: [sys.executable, "-c", code])
    settings = Settings("grpo", 2, 0, 1, tmp_path, 60, stall_limit)
    with pytest.raises(demo.DemoError) as error:
        demo.train(settings, Toy(tmp_path, tmp_path, tmp_path), Console(quiet=True))
    return str(error.value)


def test_a_training_that_fails_shows_its_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    message = fail(tmp_path, monkeypatch, "print('starting', flush=True); raise ValueError('the cause')")
    assert "exit code 1" in message
    assert "  ValueError: the cause" in message
    assert str(tmp_path / "logs" / "train.log") in message


def test_a_training_that_stalls_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    message = fail(tmp_path, monkeypatch, "import time; print('hm', flush=True); time.sleep(600)", stall_limit=2)
    assert "no progress" in message
    assert "  hm" in message
    children = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    assert not any("time.sleep(600)" in " ".join(child.cmdline()) for child in children)


def test_what_an_earlier_demo_wrote_is_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "tokens").mkdir()
    for name in ("tokens/1.jsonl", "metrics.jsonl", "notes.txt"):
        (tmp_path / name).touch()
    demo.clear(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_whole_demo(tmp_path: Path) -> None:
    out = tmp_path / "out folder"
    done = subprocess.run(
        [sys.executable, "-m", "verl_nthr.cli.main", "demo", f"--steps={STEPS}", "--seed=1", "--out", str(out)],
        capture_output=True,
        text=True,
        timeout=1700,
        env={**os.environ, "COLUMNS": "120"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert (summary["estimator"], summary["seed"], summary["steps"], summary["workers"]) == ("nthr", 1, STEPS, 1)
    assert 0.25 <= summary["accuracy_before"] <= 0.65
    assert 0.0 <= summary["accuracy_after"] <= 1.0
    assert summary["versions"] == versions()
    seconds = dict(summary["seconds"])
    assert seconds.pop("total") == pytest.approx(sum(seconds.values()), abs=0.1)
    assert all(seconds[phase] > 0 for phase in ("warm-up", "start-up", "generation", "log-prob", "update"))
    assert 1 < summary["peak_memory_gb"] < 12
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["step"] for line in lines] == list(range(STEPS + 1))
    assert "nthr/eased_fraction" in lines[1]["data"]
    assert matplotlib.image.imread(out / "reward.png").shape[2] == 4
    page = (out / "tokens.html").read_text(encoding="utf-8")
    for step in (1, STEPS):
        groups = read_step(out / "tokens" / f"{step}.jsonl")
        assert len(groups) == 32
        assert all(len(group.responses) == 8 for group in groups)
        assert f'<option value="{step}">' in page
    assert f"{summary['accuracy_before']:.1%}" in done.stdout
    assert f"step {STEPS}/{STEPS}" in done.stdout
    assert (out / "logs" / "train.log").stat().st_size > 0
