"""Many steps leave nothing behind, and what is left behind on purpose is found."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from pkgutil import resolve_name
from typing import Any
from unittest import mock

import pytest

from soaking.run import ALLOCATOR, run_soak, verdict
from soaking.state import COUNTS
from tests.processes import run_ranks

SCRIPT = Path(__file__).parents[2] / "scripts" / "soak.py"
LEAKS = {
    "hooks": ("torch.utils.hooks.RemovableHandle.remove", lambda _, __: lambda self: None),
    "tensors": ("verl_nthr.integration.recording.Recording.features", lambda kept, original: keeping(kept, original)),
    "temporary_files": ("verl_nthr.integration.trainer.Step.dump", lambda _, original: leaving_a_file(original)),
}
"""By what grows: a function, and what takes its place, given a list that is never emptied and the function."""


def soak(path: Path, *arguments: object) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, SCRIPT, *map(str, arguments), "--json", path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert path.exists(), done.stderr
    return done.returncode, json.loads(path.read_text())


def check_counts(result: dict[str, Any], ranks: int) -> None:
    assert len(result["verdicts"]) == ranks
    for found in result["verdicts"]:
        assert {name for name in COUNTS if not found[name]["flat"]} == set()
        assert (found["replaced"]["largest"], found["wrappers"]["largest"]) == (0, 3)
        assert found["hooks"]["largest"] == found["hooks"]["first"]
        assert found["seconds"]["mean"] > 0


def test_a_few_steps_leave_nothing_behind(tmp_path: Path) -> None:
    _, result = soak(tmp_path / "soak.json", "--steps", 5, "--dump-every", 2)
    check_counts(result, ranks=1)
    assert (result["warm_up"], result["dumps"], len(result["states"][0])) == (1, 2, 5)
    assert set(result["verdicts"][0]["rss"]) == {"first", "last", "slope", "error", "flat"}


@pytest.mark.slow
def test_two_ranks_leave_nothing_behind(tmp_path: Path) -> None:
    _, result = soak(tmp_path / "soak.json", "--steps", 8, "--ranks", 2)
    check_counts(result, ranks=2)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_five_hundred_steps_are_flat(tmp_path: Path) -> None:
    code, result = soak(tmp_path / "soak.json", "--steps", 500)
    check_counts(result, ranks=1)
    assert result["verdicts"][0]["rss"]["flat"], result["verdicts"][0]["rss"]
    assert (code, result["grew"]) == (0, [])


def test_too_few_steps_are_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "soak.json"
    done = subprocess.run(
        [sys.executable, SCRIPT, "--steps", "4", "--warm-up", "3", "--json", path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, path.exists()) == (1, False)
    assert done.stderr == ("soak: --steps 4 and --warm-up 3 leave 1 steps to judge; a trend takes at least 3\n")


def keeping(kept: list[Any], original: Callable[..., Any]) -> Callable[..., Any]:
    def features(self: Any, *args: Any) -> Any:
        kept.append(self._hidden)
        return original(self, *args)

    return features


def leaving_a_file(original: Callable[..., Any]) -> Callable[..., Any]:
    def dump(self: Any, batch: Any) -> None:
        tempfile.mkstemp()
        original(self, batch)

    return dump


def run_leaking(rank: int, folder: str) -> list[dict[str, Any]]:
    """The states of a soak in which nothing of :data:`LEAKS` is given back."""
    kept: list[Any] = []
    with ExitStack() as stack:
        for name, replacement in LEAKS.values():
            stack.enter_context(mock.patch(name, replacement(kept, resolve_name(name))))
        return run_soak(rank, 1, 8, 1, folder)


@pytest.mark.slow
def test_a_leak_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ALLOCATOR.items():
        monkeypatch.setenv(name, value)
    (states,) = run_ranks(run_leaking, 1, str(tmp_path), timeout=300)
    if isinstance(states, Exception):
        raise states
    found = verdict(states, warm_up=2)
    assert {name for name in COUNTS if not found[name]["flat"]} >= set(LEAKS)
    assert not found["rss"]["flat"]
    # the hidden states of a batch are about 3 MB
    assert found["rss"]["slope"] > 1e6
