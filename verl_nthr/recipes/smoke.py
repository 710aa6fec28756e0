"""Rehearses a run on this machine's CPU: its settings, with a toy for model and data, and two small steps.

``python -m verl_nthr.recipes.smoke OVERRIDE...`` takes the overrides that ``verl.trainer.main_ppo`` gets on the
packaged configuration.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from verl_nthr import cpu
from verl_nthr.demo.logs import last_lines
from verl_nthr.demo.settings import hydra_string
from verl_nthr.demo.toy import Toy, write_data
from verl_nthr.demo.toy_model import make_model, make_tokenizer
from verl_nthr.errors import InputError
from verl_nthr.integration.config.composition import PACKAGED_CONFIG, compose_run
from verl_nthr.processes import ProcessFailed, ProcessTree
from verl_nthr.recipes.check import REFUSED, check
from verl_nthr.text import print_error

STEPS = 2
PROMPTS, RESPONSES = 4, 4
MAX_PROMPT_TOKENS, MAX_RESPONSE_TOKENS = 32, 16
TIME_LIMIT = 900.0


def shrink(folder: Path, toy: Toy) -> list[str]:
    """Overrides that make any run small enough for a CPU; given last, they win.

    Args:
        folder: of Ray and of everything that verl writes.
        toy: the model and the data.
    """
    rollout, actor = "actor_rollout_ref.rollout", "actor_rollout_ref.actor"
    longest = MAX_PROMPT_TOKENS + MAX_RESPONSE_TOKENS
    return [
        *cpu.overrides(1, folder / "ray"),
        f"data.train_files={hydra_string(toy.train)}",
        f"data.val_files={hydra_string(toy.unseen)}",
        "data.val_max_samples=8",
        f"data.train_batch_size={PROMPTS}",
        f"data.max_prompt_length={MAX_PROMPT_TOKENS}",
        f"data.max_response_length={MAX_RESPONSE_TOKENS}",
        "reward.custom_reward_function.path=pkg://verl_nthr.recipes.digit_parity_reward",
        f"actor_rollout_ref.model.path={hydra_string(toy.model)}",
        f"{actor}.ppo_mini_batch_size={PROMPTS // 2}",
        *[f"{actor}.fsdp_config.param_offload=False", f"{actor}.fsdp_config.optimizer_offload=False"],
        f"{actor}.fsdp_config.ulysses_sequence_parallel_size=1",
        "actor_rollout_ref.ref.fsdp_config.ulysses_sequence_parallel_size=1",
        *[f"{actor}.ppo_max_token_len_per_gpu=512", f"{rollout}.log_prob_max_token_len_per_gpu=512"],
        "actor_rollout_ref.ref.log_prob_max_token_len_per_gpu=512",
        *[f"{rollout}.n={RESPONSES}", f"{rollout}.max_model_len={longest}"],
        *[f"trainer.total_training_steps={STEPS}", f"trainer.test_freq={STEPS}", "trainer.save_freq=-1"],
        *["trainer.val_before_train=False", "trainer.resume_mode=disable", "trainer.logger=[console,file]"],
        f"trainer.default_local_dir={hydra_string(folder / 'checkpoints')}",
        f"hydra.run.dir={hydra_string(folder / 'hydra')}",
    ]


def rehearse(overrides: Sequence[str]) -> dict[str, float]:
    """Train two steps with the settings of a run, and return verl's metrics of the last one.

    Raises:
        InputError: a setting cannot work, or verl failed; the message has the end of its log.
    """
    check(compose_run(overrides))
    with tempfile.TemporaryDirectory(prefix="vn", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        toy = _write_toy(folder / "toy")
        log, metrics = folder / "train.log", folder / "metrics.jsonl"
        shrunk = [*overrides, *shrink(folder, toy)]
        path, name = PACKAGED_CONFIG
        packaged = [f"--config-path={path}", f"--config-name={name}"]
        command = [sys.executable, "-m", "verl.trainer.main_ppo", *packaged, *shrunk]
        environment = os.environ | cpu.environment() | _files(folder, metrics)
        try:
            with ProcessTree(command, environment, folder, log) as training:
                training.wait(lambda: False, TIME_LIMIT, TIME_LIMIT)
        except ProcessFailed as error:
            raise InputError("\n".join([f"the training failed: {error}", *last_lines(log, limit=40)])) from error
        return _last_step(metrics)


def main(argv: Sequence[str] | None = None) -> int:
    """Rehearse a run; 0 if it trained, else 2 with the reason on standard error."""
    parser = argparse.ArgumentParser(prog="python -m verl_nthr.recipes.smoke", description="Rehearse a run on the CPU.")
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="as verl.trainer.main_ppo takes them")
    args = parser.parse_args(argv)
    begin = time.monotonic()
    try:
        metrics = rehearse(args.overrides)
    except InputError as error:
        print_error("recipe", error)
        return REFUSED
    print(f"recipe: {STEPS} steps on the toy in {time.monotonic() - begin:.0f} s; the last one's metrics:")
    print(json.dumps(metrics, indent=1, sort_keys=True))
    return 0


def _write_toy(folder: Path) -> Toy:
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    toy, _ = write_data(folder, seed=0, train_prompts=64)
    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(toy.model)
    make_model(tokenizer, seed=0).save_pretrained(toy.model)
    return toy


def _files(folder: Path, metrics: Path) -> dict[str, str]:
    return {"VERL_FILE_LOGGER_PATH": str(metrics), "VLLM_RPC_BASE_PATH": str(folder), "HF_HUB_OFFLINE": "1"}


def _last_step(metrics: Path) -> dict[str, Any]:
    steps = [json.loads(line)["data"] for line in metrics.read_text(encoding="utf-8").splitlines()]
    trained = [data for data in steps if data.get("training/global_step") == STEPS]
    if not trained:
        raise InputError(f"the training ended before step {STEPS}")
    return trained[-1]


if __name__ == "__main__":
    sys.exit(main())
