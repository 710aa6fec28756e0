"""Parts of the GPU suite: commands with time limits, none of which stops the others."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
TAIL = 4000
"""Characters kept of what a part printed last."""


@dataclass(frozen=True)
class Part:
    """One command, and the file that it leaves."""

    name: str

    arguments: tuple[str, ...]
    """Of Python; the path of the file follows them."""

    limit: float
    """Seconds after which it is stopped."""

    suffix: str = ".json"
    """Of the file: a benchmark's JSON, or pytest's ``.xml``."""


def run_part(part: Part, left: float, folder: Path) -> dict[str, Any]:
    """Run a part for at most the shorter of its limit and ``left`` seconds.

    Args:
        part: what to run.
        left: seconds that are left of all parts' time.
        folder: for its file.

    Returns:
        ``command``, ``outcome`` ("passed", "failed" or "not run"), ``seconds``, ``reason`` unless it passed, the end of
        what it printed as ``output``, and ``result``, None if it left no file.
    """
    path = folder / f"{part.name}{part.suffix}"
    command = [sys.executable, *part.arguments, str(path)]
    found: dict[str, Any] = {
        "command": shlex.join(["python", *command[1:]]),
        "seconds": 0.0,
        "output": "",
        "result": None,
    }
    allowed = min(part.limit, left)
    if allowed <= 0:
        return found | {"outcome": "not run", "reason": "out of time"}
    start = time.monotonic()
    log = path.with_suffix(".log")
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=ROOT, start_new_session=True)
        try:
            code: int | None = process.wait(timeout=allowed)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end(process)
    found["seconds"] = round(time.monotonic() - start, 1)
    found["output"] = log.read_text(encoding="utf-8", errors="replace")[-TAIL:]
    if path.exists():
        found["result"] = json.loads(path.read_bytes()) if part.suffix == ".json" else outcomes_of_tests(path)
    if code is None:
        return found | {"outcome": "not run", "reason": f"out of time: stopped after {allowed:.0f} s"}
    if code:
        return found | {"outcome": "failed", "reason": f"exit code {code}"}
    return found | {"outcome": "passed"}


def outcomes_of_tests(path: Path) -> dict[str, Any]:
    """Counts by outcome, and every test with its seconds and reason, of a file of ``pytest --junitxml``."""
    tests = []
    for case in ElementTree.parse(path).iter("testcase"):
        outcome, reason = "passed", None
        for kind in ("failure", "error", "skipped"):
            if (child := case.find(kind)) is not None:
                outcome, reason = kind, child.get("message")
        name = f"{case.get('classname')}::{case.get('name')}"
        tests.append({"name": name, "outcome": outcome, "seconds": float(case.get("time", 0)), "reason": reason})
    return {"counts": dict(Counter(test["outcome"] for test in tests)), "tests": tests}


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a part with all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
