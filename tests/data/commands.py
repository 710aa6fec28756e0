"""Running the scripts as their users do."""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Iterable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "scripts" / "data"


class Finished(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def run(script: str, *arguments: object) -> Finished:
    """Run a script in this process."""
    path, out, err = SCRIPTS / f"{script}.py", StringIO(), StringIO()
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
    """Run a script that must succeed; returns what it prints."""
    finished = run(script, *arguments)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def refused(script: str, *arguments: object) -> str:
    """Run a script that must refuse its input; returns the line that says why."""
    finished = run(script, *arguments)
    assert finished.returncode == 2, finished.stderr
    assert "Traceback" not in finished.stderr
    return finished.stderr.splitlines()[-1]


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read a parquet file."""
    return pq.read_table(path).to_pylist()
