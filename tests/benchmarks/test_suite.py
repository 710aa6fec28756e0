"""The GPU suite: parts that pass, fail and do not fit, and a rehearsal of all of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.suite import Part, parts, run

ROOT = Path(__file__).parents[2]


def python(name: str, code: str, limit: float = 60) -> Part:
    return Part(name, ("-c", code, "--json"), limit)


def test_a_part_that_fails_or_does_not_fit_is_named_and_the_others_run(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    bad = python("bad", "print('why'); raise SystemExit(3)")
    slow = python("slow", "import time; time.sleep(600)", 1)
    good = python("good", "import sys; print('said'); open(sys.argv[2], 'w').write('{\"value\": 1}')")
    assert run([bad, slow, good], 120, out, {"date": "today"}) == 1
    report = json.loads(out.read_bytes())
    found = report["parts"]
    assert report["date"] == "today"
    assert {name: part["outcome"] for name, part in found.items()} == {
        "bad": "failed",
        "slow": "not run",
        "good": "passed",
    }
    assert "exit code 3" in found["bad"]["reason"]
    assert "out of time" in found["slow"]["reason"]
    assert (found["bad"]["output"], found["good"]["output"], found["good"]["result"]) == (
        *("why\n", "said\n"),
        {"value": 1},
    )
    assert run([good], 60, out, {}) == 0
    assert run([good], 0, out, {}) == 1
    assert json.loads(out.read_bytes())["parts"]["good"]["outcome"] == "not run"


def test_the_rehearsal_leaves_out_nothing() -> None:
    kinds = [list(dict.fromkeys(part.name.split("-")[0] for part in parts(rehearse))) for rehearse in (False, True)]
    assert kinds[0] == kinds[1]


def test_the_pinned_packages_are_those_of_the_cpu() -> None:
    names = ("gpu-py312.txt", "cpu-py311.txt")
    gpu, cpu = (set(re.findall(r"^\S+==\S+", (ROOT / "requirements" / name).read_text(), re.M)) for name in names)
    assert gpu <= cpu


@pytest.mark.slow
def test_the_rehearsal(tmp_path: Path) -> None:
    out = tmp_path / "suite.json"
    command = ["bash", ROOT / "scripts" / "gpu_suite.sh", "--rehearse", "--out", out]
    environment = os.environ | {"PYTHON": sys.executable}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=560, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(out.read_bytes())
    assert set(report) == {"date", "command", "chip", "versions", "parts"}
    assert {part["outcome"] for part in report["parts"].values()} == {"passed"}
