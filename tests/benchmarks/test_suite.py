"""The GPU suite: what becomes of parts that pass, fail and do not fit, and a rehearsal of all of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.parts import Part, outcomes_of_tests
from benchmarks.suite import on_a_gpu, rehearsal, run

ROOT = Path(__file__).parents[2]
WRITES = "import sys; print('said'); open(sys.argv[1], 'w').write('{\"value\": 1}')"


def python(name: str, code: str, limit: float = 30) -> Part:
    return Part(name, ("-c", code), limit)


def test_a_failure_is_reported_and_the_others_run(tmp_path: Path) -> None:
    parts = [python("bad", "print('why'); raise SystemExit(3)"), python("good", WRITES)]
    assert run(parts, 60, tmp_path / "out.json", {"date": "today"}) == 1
    report = json.loads((tmp_path / "out.json").read_bytes())
    assert report["date"] == "today"
    bad, good = report["parts"]["bad"], report["parts"]["good"]
    assert (bad["outcome"], bad["reason"], bad["output"], bad["result"]) == ("failed", "exit code 3", "why\n", None)
    assert (good["outcome"], good["output"], good["result"]) == ("passed", "said\n", {"value": 1})
    assert run([python("good", WRITES)], 60, tmp_path / "out.json", {}) == 0


def test_a_part_that_does_not_fit_is_named(tmp_path: Path) -> None:
    sleeps = "import time; time.sleep(60)"
    start = time.monotonic()
    parts = [python("own limit", sleeps, 1), python("all of it", sleeps), python("late", WRITES)]
    assert run(parts, 4.2, tmp_path / "out.json", {}) == 1
    assert time.monotonic() - start < 20
    found = json.loads((tmp_path / "out.json").read_bytes())["parts"]
    assert {part["outcome"] for part in found.values()} == {"not run"}
    stopped = "out of time: stopped after"
    assert [part["reason"] for part in found.values()] == [f"{stopped} 1 s", f"{stopped} 3 s", "out of time"]


def test_the_outcomes_of_tests_are_read_from_pytest(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "def test_good(): pass\n"
        "def test_bad(): assert 1 == 2\n"
        "@pytest.mark.skip(reason='no chip')\n"
        "def test_left_out(): pass\n"
    )
    path = tmp_path / "junit.xml"
    command = [sys.executable, "-m", "pytest", "-q", "--rootdir", tmp_path, "--junitxml", path, tmp_path]
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, timeout=100)
    found = outcomes_of_tests(path)
    assert found["counts"] == {"passed": 1, "failure": 1, "skipped": 1}
    assert [test["reason"] for test in found["tests"]] == [None, "assert 1 == 2", "no chip"]


def test_the_rehearsal_leaves_out_nothing() -> None:
    kinds = [re.sub("-.*", "", part.name) for part in on_a_gpu()]
    assert list(dict.fromkeys(kinds)) == [re.sub("-.*", "", part.name) for part in rehearsal()]


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
    assert set(report["parts"]) == {part.name for part in rehearsal()}
    counts = report["parts"]["tests"]["result"]["counts"]
    assert set(counts) == {"passed"}
    for name, part in report["parts"].items():
        if name != "tests":
            assert {"device", "versions", "command"} <= set(part["result"]), name
