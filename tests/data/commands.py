"""Running the scripts as their users do."""

from __future__ import annotations

import io
import json
import runpy
import sys
from collections.abc import Iterable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow.parquet as pq
import pytest

from data.preparation.command import prepare_training
from data.preparation.math_set import MathSet

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "scripts" / "data"


@dataclass(frozen=True)
class Finished:
    """How a script ended, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


def run(script: str, *arguments: object) -> Finished:
    """Run a script in this process."""
    path, out, err = SCRIPTS / f"{script}.py", io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", [str(path), *map(str, arguments)]),
        mock.patch.object(sys, "path", [str(SCRIPTS), *sys.path]),
        redirect_stdout(out),
        redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        runpy.run_path(str(path), run_name="__main__")
    assert isinstance(ended.value.code, int)
    return Finished(ended.value.code, out.getvalue(), err.getvalue())


def prepare(script: str, *arguments: object) -> str:
    """What the script prints; it must succeed."""
    finished = run(script, *arguments)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def prepare_here(math_set: MathSet, *arguments: object, levels: Sequence[int] | None = None) -> None:
    """What a script of a training set does, in this process; it must succeed."""
    with mock.patch.object(sys, "argv", ["script", *map(str, arguments)]):
        assert prepare_training(math_set, "", levels=levels) == 0


def refused(script: str, *arguments: object) -> str:
    """The one line that a script says when it refuses to run."""
    finished = run(script, *arguments)
    assert finished.returncode == 2, finished.stderr
    assert "Traceback" not in finished.stderr
    return finished.stderr.splitlines()[-1]


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    """Write rows, an object a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSONL file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a parquet file."""
    return pq.read_table(path).to_pylist()
