"""``verl-nthr doctor --config``: a training command is checked whole, as people paste it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.test_wrong_configurations import RIGHT
from verl_nthr.cli import run_report
from verl_nthr.cli.main import main
from verl_nthr.cli.training_command import TrainingCommand, read_command

OVERRIDES = ("algorithm.adv_estimator=nthr", "+algorithm.nthr.beta=0", "data.prompt_key=a b")


def folder_of_a_run(folder: Path) -> list[str]:
    """Overrides that name a data file, a reward function and a model, all of them there."""
    (folder / "train.parquet").touch()
    (folder / "reward.py").write_text("def compute_score(**_):\n    return 1.0\n", encoding="utf-8")
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text("{}", encoding="utf-8")
    return [
        *RIGHT,
        *(f"data.{part}_files={folder / 'train.parquet'}" for part in ("train", "val")),
        f"reward.custom_reward_function.path={folder / 'reward.py'}",
        f"actor_rollout_ref.model.path={folder / 'model'}",
    ]


@pytest.mark.parametrize(
    "words",
    [
        list(OVERRIDES),
        ["python3", "-m", "verl.trainer.main_ppo", *OVERRIDES],
        ["python3 -m verl.trainer.main_ppo algorithm.adv_estimator=nthr +algorithm.nthr.beta=0 'data.prompt_key=a b'"],
        [
            "HYDRA_FULL_ERROR=1 python -m verl.trainer.main_ppo \\\n  algorithm.adv_estimator=nthr \\\n"
            '  +algorithm.nthr.beta=$BETA data.prompt_key="a b" "$@" 2>&1 | tee train.log'
        ],
        ["algorithm.adv_estimator=nthr +algorithm.nthr.beta=0 data.prompt_key='a b' > log"],
    ],
)
def test_a_command_is_read_as_it_is_pasted(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BETA", "0")
    assert read_command(words) == TrainingCommand(OVERRIDES, "config", "ppo_trainer")


@pytest.mark.parametrize("flags", [["--config-path=/a", "--config-name=b"], ["-cp", "/a", "-cn", "b"]])
def test_hydras_flags_are_read_wherever_they_stand(flags: list[str]) -> None:
    command = read_command(["x=1", *flags, "--json", "y=2"])
    assert command == TrainingCommand(("x=1", "y=2"), "/a", "b", json=True)


def test_a_flag_that_is_not_known_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^2$"):
        main(["doctor", "--config", "--cfg", "job"])
    assert "unrecognized arguments: --cfg" in capsys.readouterr().err


def test_a_run_that_can_start(tmp_path: Path) -> None:
    overrides = folder_of_a_run(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "verl_nthr.cli.main", "doctor", "--json", "--config", *overrides],
        env={name: value for name, value in os.environ.items() if not name.startswith("VERL_")},
        capture_output=True,
        text=True,
        timeout=240,
    )
    report = json.loads(done.stdout)
    assert (done.returncode, report["ok"], report["config"]["problems"]) == (0, True, []), done.stderr
    assert report["config"]["warnings"] == []
    assert report["config"]["overrides"] == overrides
    assert report["config"]["run"] == {
        "advantage": "nthr: base advantage grpo, tokens weighed by nthr",
        "tokens are scored": "in the old-log-prob pass of the fsdp engine",
        "engine": "fsdp, 1 × 8 devices",
        "trainer": "sync",
        "batch": "1024 prompts × 8 responses, updates on 256 prompts",
        "algorithm": "defaults",
        "loss terms": "none",
        "groups dropped": "none",
        "likelihood monitor": "off",
    }


def test_all_reasons_are_shown_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    overrides = folder_of_a_run(tmp_path)
    (tmp_path / "train.parquet").unlink()
    wrong = ["actor_rollout_ref.rollout.n=1", "+algorithm.nthr.eta=2", "actor_rollout_ref.actor.loss_agg_mode=mean"]
    assert main(["doctor", "--config", *overrides, *wrong]) == 1
    shown = " ".join(capsys.readouterr().out.split())
    for reason in (
        "rollout.n=1: a group needs",
        "eta=2: use one of",
        "Invalid loss_agg_mode",
        "train.parquet does not",
    ):
        assert reason in shown
    assert "This run cannot work." in shown
    assert "Traceback" not in shown


def test_warnings_leave_the_run_possible(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["+algorithm.thr.rho=0.2", "+algorithm.nthr.beta=0.5", "+algorithm.lld_monitor.freq=5"]
    assert main(["doctor", "--config", *folder_of_a_run(tmp_path), *options]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "warning algorithm.thr.rho=0.2" in shown
    assert "nthr.beta=0.5, thr.rho=0.2, lld_monitor.freq=5" in shown
    assert "every 5 steps" in shown
    assert "This run can start." in shown


def test_a_configuration_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "conf"
    mine.mkdir()
    (mine / "mine.yaml").write_text(
        "hydra:\n  searchpath: [pkg://verl.trainer.config]\ndefaults: [ppo_trainer, _self_]\n"
        "algorithm:\n  adv_estimator: thr\n  thr: {rho: -0.1}\n",
        encoding="utf-8",
    )
    overrides = folder_of_a_run(tmp_path)[1:]
    assert main(["doctor", "--json", "--config", f"--config-path={mine}", "--config-name=mine", *overrides]) == 0
    shown = capsys.readouterr().out
    run = json.loads(shown[shown.index("{") :])["config"][
        "run"
    ]  # pytest's stdout has verl's own line, a process's has not
    assert run["advantage"] == "thr: base advantage grpo, tokens weighed by thr"
    assert run["algorithm"] == "thr.rho=-0.1"


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--config-path=conf", "--config-path=conf: hydra looks for a relative path in the folder of verl.trainer"),
        ("--config-path=/nonexistent/conf", "Primary config directory not found"),
        ("--config-name=missing", "Cannot find primary config 'missing'"),
    ],
)
def test_a_configuration_that_is_not_there(flag: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--config", flag]) == 1
    assert message in " ".join(capsys.readouterr().out.split())


def test_a_process_without_the_plugin_is_told_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run_report, "problems_here", lambda: ["plugin nthr: not loaded by verl; unset something"])
    assert main(["doctor", "--config", *RIGHT]) == 1
    assert "problem plugin nthr: not loaded by verl; unset something" in capsys.readouterr().out
