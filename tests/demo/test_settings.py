"""The training command: every override is one of stock verl's, and the values arrive."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from omegaconf import DictConfig

from verl_nthr.demo.settings import Settings, known_estimators, training_command, training_environment
from verl_nthr.demo.toy import Toy

ODD = "an 'odd' dir=1, [2] {x} #é"


def settings(out: Path, estimator: str = "nthr") -> Settings:
    return Settings(estimator, 5, 3, 2, out, 60.0, 30.0)


def composed(out: Path, estimator: str = "nthr") -> DictConfig:
    toy = Toy(out / "model", out / "train.parquet", out / "unseen.parquet")
    command = training_command(settings(out, estimator), toy, Path("/tmp/r"))
    assert command[:3] == [sys.executable, "-m", "verl.trainer.main_ppo"]
    with initialize_config_module("verl.trainer.config", version_base=None):
        return compose("ppo_trainer", overrides=command[3:], return_hydra_config=True)


def test_overrides_compose_with_a_path_of_odd_characters(tmp_path: Path) -> None:
    out = tmp_path / ODD
    config = composed(out)
    assert config.data.train_files == str(out / "train.parquet")
    assert config.data.val_files == str(out / "unseen.parquet")
    assert config.actor_rollout_ref.model.path == str(out / "model")
    assert config.algorithm.nthr.token_dump_dir == str(out / "tokens")
    assert config.hydra.run.dir == str(out / "logs" / "hydra")
    assert (config.algorithm.adv_estimator, config.trainer.total_training_steps) == ("nthr", 5)
    assert (config.trainer.n_gpus_per_node, config.trainer.device) == (2, "cpu")
    assert (config.data.seed, config.actor_rollout_ref.rollout.seed) == (3, 3)
    assert list(config.trainer.logger) == ["console", "file"]


def test_validation_is_greedy_before_and_at_the_end(tmp_path: Path) -> None:
    config = composed(tmp_path)
    greedy = config.actor_rollout_ref.rollout.val_kwargs
    assert (greedy.do_sample, greedy.temperature, greedy.n) == (False, 0, 1)
    assert (config.trainer.val_before_train, config.trainer.test_freq) == (True, 5)


@pytest.mark.parametrize("estimator", ["grpo", "gae"])
def test_estimators_of_verl_get_no_options_of_ours(tmp_path: Path, estimator: str) -> None:
    config = composed(tmp_path, estimator)
    assert "nthr" not in config.algorithm
    assert settings(tmp_path, estimator).tokens is None
    assert (config.critic.model.path == str(tmp_path / "model")) is (estimator == "gae")


def test_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("VERL_PLATFORM", "nvidia")
    environment = training_environment(settings(tmp_path), Path("/tmp/r"))
    assert environment["VERL_FILE_LOGGER_PATH"] == str(tmp_path / "metrics.jsonl")
    assert (environment["VERL_PLATFORM"], environment["OMP_NUM_THREADS"]) == ("cpu", "3")
    assert environment["VLLM_RPC_BASE_PATH"] == "/tmp/r"
    assert environment["PATH"] == os.environ["PATH"]


@pytest.mark.timeout(300)
def test_the_names_offered_are_verls_and_ours() -> None:
    code = "import verl.trainer.ppo.core_algos as c; print(*sorted(c.ADV_ESTIMATOR_REGISTRY), sep=',')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=250)
    assert done.stdout.strip().splitlines()[-1].split(",") == sorted(known_estimators()), done.stderr
