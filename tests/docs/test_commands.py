"""The commands of the pages can be given: arguments are parsed, configurations composed and checked, files there.

None is carried out here. A command that no test can look at says so on the page: "not run by a test".
"""

from __future__ import annotations

import argparse
import re
import runpy
import subprocess
import sys
import warnings
from pathlib import Path
from unittest import mock

import pytest
from hydra import compose, initialize_config_module

from tests.docs.pages import PAGES, ROOT, blocks, inline
from tests.docs.shell import Call, calls
from tests.families import failures
from tests.recipes.scripts import Recipes, composed
from verl_nthr.cli.main import make_parser
from verl_nthr.integration.config.validation import check_run
from verl_nthr.recipes.check import check as check_config

TEXTS = {page: (ROOT / page).read_text(encoding="utf-8") for page in PAGES}
SCRIPTS = [
    script for text in TEXTS.values() for script in filter(str.strip, [*blocks(text), *dict.fromkeys(inline(text))])
]
MARKERS = re.findall(r'^  "(\w+)[:(]', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)


class Parsed(Exception):
    """A command line was parsed; what it asks for is not done."""


def check_training(overrides: list[str]) -> None:
    named = [each for each in overrides if not each.startswith("--config-")]
    is_ours = "--config-path=pkg://verl_nthr.config" in overrides
    with initialize_config_module("verl_nthr.config" if is_ours else "verl.trainer.config", version_base=None):
        config = compose(
            "nthr_trainer" if is_ours else "ppo_trainer",
            ["actor_rollout_ref.rollout.n=8", *(each for each in named if each != "...")],
        )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_run(config)


def check_python(arguments: list[str]) -> None:
    """Run a script or module until it has parsed its command line."""
    is_module = arguments[0] == "-m"
    name, rest = (arguments[1], arguments[2:]) if is_module else (arguments[0], arguments[1:])
    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(parser: argparse.ArgumentParser, given: list[str] | None = None) -> None:
        parse(parser, given)
        raise Parsed

    run, target = (runpy.run_module, name) if is_module else (runpy.run_path, str(ROOT / name))
    with (
        mock.patch.object(sys, "argv", [name, *rest]),
        mock.patch.object(sys, "path", [str((ROOT / name).parent), str(ROOT / "scripts"), *sys.path]),
        mock.patch.object(argparse.ArgumentParser, "parse_args", parse_and_stop),
        warnings.catch_warnings(record=True),  # a module may have been imported before
        pytest.raises(Parsed),
    ):
        run(target, run_name="__main__")


def check_recipe(recipes: Recipes, name: str, arguments: list[str], knobs: dict[str, str]) -> None:
    known = {key: value for key, value in knobs.items() if key not in ("DRY_RUN", "SMOKE")}
    overrides = recipes.overrides(name, *arguments, **known)
    if known or arguments:  # the recipe alone is checked in tests/recipes
        check_config(composed(tuple(overrides)))


def check_shell_script(recipes: Recipes, script: str, arguments: list[str], knobs: dict[str, str]) -> None:
    subprocess.run(["bash", "-n", ROOT / script], check=True, timeout=60)
    name = Path(script).stem
    if script == f"recipes/{name}.sh":
        check_recipe(recipes, name, arguments, knobs)
    elif script == "recipes/cluster/slurm.sbatch" or (script, *arguments[:1]) == ("recipes/cluster/node.sh", "head"):
        recipe, *overrides = arguments if name == "slurm" else arguments[1:]
        check_recipe(recipes, recipe, overrides, knobs)
    elif script == "recipes/cluster/node.sh":
        assert (arguments[0], len(arguments)) == ("worker", 2)
    elif script == "scripts/demo.sh":
        make_parser().parse_args(["demo", *arguments])
    elif script == "scripts/test.sh":
        marked = arguments[1:] if arguments[:1] == ["-m"] else []
        assert set(marked) <= set(MARKERS)
        assert all((ROOT / path).exists() for path in arguments[len(marked) + bool(marked) :])
    elif script == "scripts/gpu_suite.sh" and arguments[:1] in (["--collect"], ["--wheels"]):
        assert len(arguments) == len(["--collect", "DIR"])
    elif script == "scripts/gpu_suite.sh":
        check_python(["-m", "benchmarks.suite", *arguments])
    else:
        assert not arguments, script


def check(recipes: Recipes, call: Call) -> None:
    """Raise if a command cannot be given as it stands."""
    arguments = list(call.arguments)
    if call.program == "verl-nthr":
        given = [each for each in arguments if each != "..."]
        if len(given) == 1 or "--help" in given:  # in a sentence that is the subcommand's name
            with pytest.raises(SystemExit, match=r"^0$"):
                make_parser().parse_args([given[0], "--help"])
        else:
            make_parser().parse_args(given)
    elif call.program == "python" and arguments[:2] == ["-m", "verl.trainer.main_ppo"]:
        check_training(arguments[2:])
    elif call.program == "python":
        check_python(arguments)
    else:
        given = [each for each in arguments if not each.startswith("--nodes=") and not each.startswith("--gpus-")]
        check_shell_script(recipes, given[0], given[1:], call.knobs)


def check_all(recipes: Recipes, script: str, folder: Path) -> None:
    for call in calls(script, folder):
        check(recipes, call)


@pytest.fixture(scope="module")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> Recipes:
    return Recipes(tmp_path_factory.mktemp("recipes"))


def test_commands_can_be_given(recipes: Recipes, tmp_path: Path) -> None:
    def check_script(script: str) -> None:
        try:
            check_all(recipes, script, tmp_path / str(SCRIPTS.index(script)))
        except SystemExit as error:
            raise AssertionError(f"exit code {error.code}") from error

    assert failures(check_script, dict.fromkeys(SCRIPTS), (Exception,)) == []


IMPOSSIBLE = [
    "verl-nthr docter",
    "verl-nthr heatmap tokens --step 1,x",
    "verl-nthr eval MODEL",
    "bash scripts/demos.sh",
    "bash scripts/test.sh -m fast",
    "bash scripts/gpu_suite.sh --minuts 3",
    "bash recipes/qwen2_5_0_5b.sh",
    "bash recipes/qwen2_5_3b.sh trainer.save_frequency=5",
    "ESTIMATOR=nhtr bash recipes/qwen2_5_3b.sh trainer.save_freq=5",
    "sbatch --nodes=4 recipes/cluster/slurm.sbatch qwen3_32b",
    "python -m verl.trainer.main_ppo ... algorithm.adv_estimator=nthr +algorithm.nthr.betta=0",
    "python scripts/draw.py",
    "for set in math amc; do python scripts/data/evaluation.py --sets $set --to x; done",
    "pip install .",
]


def test_commands_that_cannot_be_given(recipes: Recipes, tmp_path: Path) -> None:
    refused = {}
    for number, script in enumerate(IMPOSSIBLE):
        try:
            check_all(recipes, script, tmp_path / str(number))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - any way to fail will do
            refused[script] = error
    assert set(IMPOSSIBLE) - refused.keys() == set()


def test_a_script_is_filled_in(tmp_path: Path) -> None:
    script = "N=2\nfor each in a b; do STEPS=$N .venv/bin/python $each.py x{1,2} ~/data; done  # as one does"
    expected = [Call("python", (f"{each}.py", "x1", "x2", "/home/somebody/data"), {"STEPS": "2"}) for each in "ab"]
    assert calls(script, tmp_path) == expected


def test_the_pages_have_commands() -> None:
    assert {"docs/recipes.md", "docs/reproduction.md", "README.md"} <= {
        page for page, text in TEXTS.items() if blocks(text)
    }
    assert "bash scripts/demo.sh --estimator grpo" in inline(TEXTS["README.md"])
