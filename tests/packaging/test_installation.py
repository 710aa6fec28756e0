"""The wheel, installed into a clean environment beside the pinned packages, is found by verl and by its command."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.packaging.building import ROOT, build
from verl_nthr.version import __version__

MINUTES = 60


@pytest.mark.slow
@pytest.mark.timeout(2 * MINUTES * MINUTES)
def test_the_installed_wheel_passes_doctor(tmp_path: Path) -> None:
    wheel, environment = build("wheel", ROOT, tmp_path / "dist"), tmp_path / "environment"
    subprocess.run(["bash", ROOT / "scripts" / "setup.sh", environment, wheel], check=True, timeout=90 * MINUTES)
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("VERL_", "PYTHON"))}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [environment / "bin" / arguments[0], *arguments[1:]],
            cwd=tmp_path,
            env=variables | {"VERL_PLATFORM": "cpu"},
            capture_output=True,
            text=True,
            timeout=600,
        )

    place = run("python", "-c", "import verl_nthr; print(verl_nthr.__file__)").stdout.strip()
    assert Path(place).is_relative_to(environment)
    assert run("verl-nthr", "--version").stdout == f"verl-nthr {__version__}\n"
    doctor = run("verl-nthr", "doctor", "--json", "--ray-seconds", "400")
    report = json.loads(doctor.stdout)
    assert (doctor.returncode, report["ok"]) == (0, True), doctor.stdout + doctor.stderr
    assert report["versions"]["verl_nthr"] == __version__
    for process in ("here", "ray_actor"):
        assert report[process]["loaded"] == {"nthr": True, "nthr_cpu_platform": True}
