"""The commands of the pages can be given: arguments are parsed, configurations composed and checked, files there.

None is carried out here. A command that no test can look at says so on the page: "not run by a test".
"""

from __future__ import annotations

import importlib.util
import re
import runpy
import shlex
import subprocess
import sys
import warnings
from pathlib import Path
from unittest import mock

import pytest
from hydra import compose, initialize_config_module

from tests.docs.pages import ROOT, commands
from verl_nthr.cli.main import make_parser
from verl_nthr.integration.checks import check_run

PAGES = (
    "quickstart.md",
    "concepts.md",
    "troubleshooting.md",
    "compatibility.md",
    "design.md",
    "../CONTRIBUTING.md",
)
COMMANDS = sorted({(page, command) for page in PAGES for command in commands(page)})
MARKERS = re.findall(r'^  "(\w+)[:(]', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)


def check_training(overrides: list[str]) -> None:
    with initialize_config_module("verl.trainer.config", version_base=None):
        config = compose("ppo_trainer", [each for each in overrides if each != "..."])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_run(config)


def check_shell_script(script: str, arguments: list[str]) -> None:
    subprocess.run(["bash", "-n", ROOT / script], check=True, timeout=60)
    if script == "scripts/demo.sh":
        make_parser().parse_args(["demo", *arguments])
    elif script == "scripts/test.sh":
        marked = arguments[1:] if arguments[:1] == ["-m"] else []
        assert set(marked) <= set(MARKERS)
        assert all((ROOT / path).exists() for path in arguments[len(marked) + bool(marked) :])
    else:
        assert not arguments, script


def check(command: str) -> None:
    """Raise if a command cannot be given as it stands."""
    program, *arguments = shlex.split(command)
    name = Path(program).name
    if name == "verl-nthr":
        make_parser().parse_args(arguments)
    elif name == "bash":
        check_shell_script(arguments[0], arguments[1:])
    elif name == "python" and arguments[:2] == ["-m", "verl.trainer.main_ppo"]:
        check_training(arguments[2:])
    elif name == "python" and arguments[0] == "-m":
        assert importlib.util.find_spec(arguments[1]) is not None
        assert not arguments[2:]
    elif name == "python":
        with mock.patch.object(sys, "argv", [*arguments, "--help"]), pytest.raises(SystemExit, match=r"^0$"):
            runpy.run_path(str(ROOT / arguments[0]), run_name="__main__")
    else:
        raise AssertionError(f"{command}: say on the page that it is not run by a test")


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_a_command_can_be_given(page: str, command: str) -> None:
    check(command)


@pytest.mark.parametrize(
    "command",
    [
        "verl-nthr docter",
        "verl-nthr heatmap tokens --step 1,x",
        "bash scripts/demos.sh",
        "bash scripts/test.sh -m fast",
        "python -m verl.trainer.main_ppo ... algorithm.adv_estimator=nthr +algorithm.nthr.betta=0",
        "python scripts/draw.py",
        "pip install .",
    ],
)
def test_a_command_that_cannot_be_given(command: str) -> None:
    with pytest.raises((Exception, SystemExit)):
        check(command)


def test_the_pages_have_commands() -> None:
    assert {"bash", "python", "verl-nthr"} <= {Path(command.split()[0]).name for _, command in COMMANDS}
