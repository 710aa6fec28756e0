"""``verl-nthr doctor`` as people run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

SECONDS = 550


def doctor(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VERL_")}
    return subprocess.run(
        [sys.executable, "-m", "verl_nthr.cli.main", "doctor", *arguments],
        env={**environment, **variables},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


def checks(report: dict[str, Any], name: str) -> list[bool | None]:
    return [check["ok"] for check in report["checks"] if check["name"] == name]


@pytest.mark.timeout(SECONDS + 30)
def test_everything_in_place() -> None:
    done = doctor("--json", "--ray-seconds", "500", VERL_PLATFORM="cpu")
    report = json.loads(done.stdout)
    assert (done.returncode, report["ok"]) == (0, True), done.stdout + done.stderr
    assert report["versions"]["torch"] == version("torch")
    assert report["versions"]["verl"] == version("verl")
    for process in ("here", "ray_actor"):
        assert report[process]["loaded"] == {"nthr": True, "nthr_cpu_platform": True}
        assert report[process]["platform"] == "cpu"
        status = report[process]["status"]
        assert all(status.values())
        for registry in ("ADV_ESTIMATOR_REGISTRY", "PlatformRegistry"):
            assert any(registry in name for name in status)
    assert checks(report, "plugin nthr") == [True, True]


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 30)
def test_disabled_plugins() -> None:
    done = doctor("--json", "--ray-seconds", "500", VERL_USE_EXTERNAL_PLUGINS="none")
    report = json.loads(done.stdout)
    assert (done.returncode, report["ok"]) == (1, False)
    assert checks(report, "plugin nthr") == [False, False]
    assert report["here"]["status"] == {}
    assert report["ray_actor"]["loaded"]["nthr"] is False
    (remedy,) = {c["remedy"] for c in report["checks"] if c["name"] == "VERL_USE_EXTERNAL_PLUGINS for nthr"}
    assert remedy.startswith("unset VERL_USE_EXTERNAL_PLUGINS")


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 30)
def test_ray_that_does_not_answer_is_ended() -> None:
    done = doctor("--ray-seconds", "0.5")
    assert done.returncode == 1
    assert "Something is missing" in done.stdout
    assert "Ray worker" in done.stdout


def test_without_verl(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.metadata as m, importlib.util as u\n"
        "find, version = u.find_spec, m.version\n"
        "u.find_spec = lambda name, *rest: None if name == 'verl' else find(name, *rest)\n"
        "def without_verl(name):\n"
        "    if name == 'verl':\n"
        "        raise m.PackageNotFoundError(name)\n"
        "    return version(name)\n"
        "m.version = without_verl\n",
        encoding="utf-8",
    )
    done = doctor(PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert 'pip install "verl' in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
