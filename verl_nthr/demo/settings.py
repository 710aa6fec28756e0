"""The training command of the demo: stock verl, the CPU platform's overrides, and the task's settings."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from verl_nthr import cpu
from verl_nthr.demo.arithmetic import THREE_DIGITS
from verl_nthr.demo.toy import Toy
from verl_nthr.integration.config.estimators import ESTIMATORS

VERL_ESTIMATORS = (
    "gae",
    "gdpo",
    "gpg",
    "grpo",
    "grpo_passk",
    "grpo_vectorized",
    "opo",
    "optimal_token_baseline",
    "reinforce_plus_plus",
    "reinforce_plus_plus_baseline",
    "remax",
    "rloo",
    "rloo_vectorized",
    "tir_optimal_token_baseline",
)
"""Names in the registry of ``verl.trainer.ppo.core_algos`` (0.9)."""

PROMPTS_PER_STEP, RESPONSES_PER_PROMPT = 32, 8
MAX_PROMPT_TOKENS, MAX_RESPONSE_TOKENS = 32, THREE_DIGITS.max_response_tokens
LEARNING_RATE = "1e-4"
NGRPO_CLIP = {"clip_ratio_low": "0.16", "clip_ratio_high": "0.24", "clip_ratio_c": "1e9"}
ROWS_PER_MICRO_BATCH = 128


@dataclass(frozen=True)
class Settings:
    """Settings of a run of the demo."""

    estimator: str
    """``algorithm.adv_estimator``."""

    steps: int
    """Training steps."""

    seed: int
    """Of the additions, the model, the warm-up and verl's samplers."""

    workers: int
    """Training processes, each with a vLLM engine."""

    out: Path
    """Absolute folder of everything that the demo writes."""

    time_limit: float
    """Seconds after which the training is ended."""

    stall_limit: float
    """Seconds without a new step after which the training is ended."""

    @property
    def metrics(self) -> Path:
        """One JSON object per step, written by verl's file logger."""
        return self.out / "metrics.jsonl"

    @property
    def log(self) -> Path:
        """Everything that verl, Ray and vLLM print."""
        return self.out / "logs" / "train.log"

    @property
    def tokens(self) -> Path | None:
        """Folder of the token dumps; None for an estimator that writes none."""
        estimator = ESTIMATORS.get(self.estimator)
        return self.out / "tokens" if estimator is not None and estimator.is_scored else None


def known_estimators() -> list[str]:
    """This package's estimators and verl's."""
    return [*ESTIMATORS, *VERL_ESTIMATORS]


def training_command(settings: Settings, toy: Toy, ray_dir: Path) -> list[str]:
    """The command that trains.

    Raises:
        ValueError: ``ray_dir`` is too long for a unix socket.
    """
    overrides = [*cpu.overrides(settings.workers, ray_dir), *_data(settings, toy), *_models(settings, toy)]
    overrides += [*_algorithm(settings), *_trainer(settings)]
    return [sys.executable, "-m", "verl.trainer.main_ppo", *overrides]


def training_environment(settings: Settings, ray_dir: Path) -> dict[str, str]:
    """This process's environment with what the training needs; what the user has set of the CPU platform's wins.

    vLLM leaves its sockets behind: they go into ``ray_dir``, which the caller removes.
    """
    chosen = {name: value for name, value in cpu.environment().items() if name not in os.environ}
    return {
        **os.environ,
        **chosen,
        "VERL_PLATFORM": "cpu",
        "VLLM_RPC_BASE_PATH": str(ray_dir),
        "VERL_FILE_LOGGER_PATH": str(settings.metrics),
        "HF_HUB_OFFLINE": "1",
        "HYDRA_FULL_ERROR": "1",
        "PYTHONUNBUFFERED": "1",
    }


def hydra_string(value: str | Path) -> str:
    """``value`` quoted for a hydra override, whatever characters it has."""
    return "'" + str(value).replace("\\", "\\\\").replace("'", "\\'") + "'"


def _data(settings: Settings, toy: Toy) -> list[str]:
    return [
        f"data.train_files={hydra_string(toy.train)}",
        f"data.val_files={hydra_string(toy.unseen)}",
        f"data.train_batch_size={PROMPTS_PER_STEP}",
        f"data.max_prompt_length={MAX_PROMPT_TOKENS}",
        f"data.max_response_length={MAX_RESPONSE_TOKENS}",
        f"data.seed={settings.seed}",
        "reward.custom_reward_function.path=pkg://verl_nthr.demo.reward",
        "reward.custom_reward_function.name=compute_score",
    ]


def _models(settings: Settings, toy: Toy) -> list[str]:
    rollout, actor = "actor_rollout_ref.rollout", "actor_rollout_ref.actor"
    settings_of_models = [
        f"actor_rollout_ref.model.path={hydra_string(toy.model)}",
        f"{actor}.optim.lr={LEARNING_RATE}",
        f"{actor}.ppo_mini_batch_size={PROMPTS_PER_STEP}",
        f"{actor}.ppo_micro_batch_size_per_gpu={ROWS_PER_MICRO_BATCH}",
        f"{actor}.use_kl_loss=False",
        f"{actor}.data_loader_seed={settings.seed}",
        f"{actor}.fsdp_config.seed={settings.seed}",
        f"{rollout}.n={RESPONSES_PER_PROMPT}",
        f"{rollout}.temperature=1.0",
        f"{rollout}.seed={settings.seed}",
        f"{rollout}.max_model_len={MAX_PROMPT_TOKENS + MAX_RESPONSE_TOKENS}",
        f"{rollout}.log_prob_micro_batch_size_per_gpu={ROWS_PER_MICRO_BATCH}",
        f"{rollout}.val_kwargs.do_sample=False",
        f"{rollout}.val_kwargs.temperature=0",
        f"{rollout}.val_kwargs.n=1",
    ]
    if settings.estimator == "ngrpo":
        settings_of_models += [f"{actor}.{name}={value}" for name, value in NGRPO_CLIP.items()]
    if settings.estimator == "gae":
        settings_of_models += [
            f"critic.model.path={hydra_string(toy.model)}",
            f"critic.optim.lr={LEARNING_RATE}",
            f"critic.ppo_micro_batch_size_per_gpu={ROWS_PER_MICRO_BATCH}",
        ]
    return settings_of_models


def _algorithm(settings: Settings) -> list[str]:
    chosen = [f"algorithm.adv_estimator={settings.estimator}", "algorithm.use_kl_in_reward=False"]
    if settings.tokens is not None:
        chosen.append(f"+algorithm.nthr.token_dump_dir={hydra_string(settings.tokens)}")
    return chosen


def _trainer(settings: Settings) -> list[str]:
    return [
        "trainer.logger=[console,file]",
        "trainer.project_name=verl-nthr",
        "trainer.experiment_name=demo",
        "trainer.total_epochs=1",
        f"trainer.total_training_steps={settings.steps}",
        "trainer.val_before_train=True",
        f"trainer.test_freq={settings.steps}",
        "trainer.save_freq=-1",
        "trainer.resume_mode=disable",
        f"trainer.default_local_dir={hydra_string(settings.out / 'checkpoints')}",
        f"hydra.run.dir={hydra_string(settings.out / 'logs' / 'hydra')}",
    ]
