"""What a recipe does when it is run: prints and checks, refuses, or trains."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.families import failures
from tests.recipes.scripts import FOLDER, ROOT, Recipes, run, stand_in
from verl_nthr.integration.config.composition import compose_run
from verl_nthr.integration.config.examination import missing_files
from verl_nthr.recipes.check import main

PYTHON = {"PYTHON": sys.executable, "PYTHONPATH": str(ROOT)}
SCRIPTS = sorted(path for pattern in ("**/*.sh", "**/*.sbatch") for path in FOLDER.glob(pattern))


def test_a_dry_run_prints_the_command_and_checks_it(recipes: Recipes) -> None:
    done = run(FOLDER / "qwen2_5_0_5b_instruct.sh", "data.prompt_key=a b", DRY_RUN="1", **PYTHON)
    assert done.returncode == 0, done.stderr
    command = shlex.split(done.stdout.replace("\\\n", " "))
    assert command[:3] == [sys.executable, "-m", "verl.trainer.main_ppo"]
    assert command[3:5] == ["--config-path=pkg://verl_nthr.config", "--config-name=nthr_trainer"]
    assert command[5:] == [
        *recipes.overrides("qwen2_5_0_5b_instruct"),
        "data.prompt_key=a b",
    ]


def test_a_dry_run_ends_as_its_check_does(tmp_path: Path) -> None:
    python = stand_in(tmp_path, text="#!/usr/bin/env bash\nexit 2\n")
    assert run(FOLDER / "qwen2_5_0_5b_instruct.sh", DRY_RUN="1", PYTHON=str(python)).returncode == 2


REFUSED = {
    "algorithm.adv_estimator=nhtr": "algorithm.adv_estimator=nhtr: verl knows no such estimator; use one of",
    "algorithm.adv_estimator=gae": "it needs a critic; set critic.enable=True",
    "algorithm.nthr.betta=1": "'betta' is not in struct",
    "algorithm.nthr.eta=2": "algorithm.nthr.eta=2",
    "actor_rollout_ref.rollout.n=1": "a group needs several responses to compare",
    "actor_rollout_ref.actor.loss_agg_mode=mean": "Invalid loss_agg_mode: mean",
    "data.train_files=[a": "no viable alternative at input",
}


def test_what_verl_or_this_package_refuses(recipes: Recipes, capsys: pytest.CaptureFixture[str]) -> None:
    def check(override: str) -> None:
        assert main([*recipes.overrides("qwen2_5_3b"), override]) == 2
        assert REFUSED[override] in capsys.readouterr().err

    assert failures(check, REFUSED) == []


def test_warnings_are_shown(recipes: Recipes, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(recipes.overrides("ngrpo_qwen2_5_math_7b", CLIP_RATIO_C="3")) == 0
    assert "recipe: warning: actor_rollout_ref.actor.clip_ratio_low=0.16" in capsys.readouterr().err


def test_a_run_without_its_data_is_refused(
    recipes: Recipes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = recipes.overrides("qwen2_5_3b", DATA_DIR=str(tmp_path))
    assert main(["--files", *overrides]) == 2
    assert f"data.train_files: {tmp_path}/math/train.parquet does not exist" in capsys.readouterr().err


def test_remote_files_are_left_to_verl() -> None:
    remote = compose_run(["data.train_files=hdfs://a/b.parquet", "data.val_files=[hdfs://c/d.parquet]"])
    assert not any(problem.startswith("data.") for problem in missing_files(remote))


def test_a_run_is_checked_and_then_trains(recipes: Recipes) -> None:
    checked, trained = recipes.calls("qwen2_5_math_1_5b")
    assert checked[:3] == ["-m", "verl_nthr.recipes.check", "--files"]
    assert trained[:2] == ["-m", "verl.trainer.main_ppo"]
    assert trained[4:] == checked[3:]


def test_a_run_on_several_nodes_waits_for_them(recipes: Recipes) -> None:
    _, waited, trained = recipes.calls("qwen3_32b_megatron")
    assert waited == ["-m", "verl_nthr.recipes.cluster", "--nodes", "4", "--gpus-per-node", "8"]
    assert trained[:2] == ["-m", "verl.trainer.main_ppo"]


def test_a_rehearsal_gets_the_same_settings(recipes: Recipes) -> None:
    ((*module, first), *_) = [(*call[:2], call[2:]) for call in recipes.calls("qwen2_5_3b", "a=b", SMOKE="1")]
    assert module == ["-m", "verl_nthr.recipes.smoke"]
    assert first == recipes.overrides("qwen2_5_3b", "a=b")


def test_an_unknown_recipe_on_one_gpu() -> None:
    done = run(FOLDER / "single_gpu.sh", "qwen", DRY_RUN="1")
    assert done.returncode == 2
    assert "no recipe named 'qwen'" in done.stderr


def test_the_scripts_are_well_formed() -> None:
    assert len(SCRIPTS) > 15
    for script in SCRIPTS:
        subprocess.run(["bash", "-n", str(script)], check=True, timeout=60)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", *map(str, SCRIPTS)], check=True, timeout=300)
