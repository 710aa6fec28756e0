"""The command line: arguments, exit codes, errors."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from verl_nthr.cli.main import main
from verl_nthr.version import __version__


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"verl-nthr {__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_help_names_the_commands_and_loads_no_torch(arguments: list[str]) -> None:
    code = (
        "import sys; from verl_nthr.cli.main import main\n"
        f"try: main({arguments})\nfinally: print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    *shown, has_torch = done.stdout.splitlines()
    assert all(f"    {command} " in "\n".join(shown) for command in ("demo", "doctor", "eval", "heatmap", "probe"))
    assert has_torch == "False"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["fly"], "fly"),
        (["demo", "--estimator", "ntrh"], "ntrh"),
        (["demo", "--steps", "0"], "0 is below 1"),
        (["demo", "--steps", "1.5"], "--steps"),
        (["demo", "--workers", "-1"], "-1 is below 1"),
        (["demo", "--seed", "-1"], "-1 is not between"),
        (["demo", "--time-limit", "0"], "0 is not a positive number"),
        (["demo", "--stall-limit", "inf"], "inf is not a positive number"),
        (["doctor", "--yaml"], "--yaml"),
        (["doctor", "--ray-seconds", "nan"], "nan is not a positive number"),
    ],
)
def test_wrong_arguments_end_with_2(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert complaint in capsys.readouterr().err


def test_a_missing_package_ends_with_1(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'vllm' else find(name, *rest)\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, "-m", "verl_nthr.cli.main", "demo", "--out", str(tmp_path / "out")],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1
    assert "not installed: vllm" in done.stderr
    assert "setup.sh" in done.stderr
    assert "Traceback" not in done.stderr
