"""Values that no configuration can have are refused by name, whoever finds them out."""

from __future__ import annotations

import pytest

from tests.families import failures
from verl_nthr.errors import InputError
from verl_nthr.integration.config.composition import compose_run
from verl_nthr.recipes.check import check

WORKS = (
    "actor_rollout_ref.rollout.n=8",
    "actor_rollout_ref.rollout.name=vllm",
    "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=1",
    "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=1",
    "critic.enable=False",
)


ODD = [
    ("algorithm.nthr.base=???", "Missing mandatory value: algorithm.nthr.base"),
    ("algorithm.filter_groups=True", r"algorithm\.filter_groups=True: give options"),
    ("data.train_files=True", "data.train_files: True does not exist"),
    ("data.train_files=${algorithm}", "data.train_files: {'rollout_correction'.* does not exist"),
    (
        "data.train_files='~nobody-of-that-name/a.parquet'",
        "data.train_files: ~nobody-of-that-name/a.parquet does not",
    ),
    ("reward.custom_reward_function.path=${algorithm}", "path: {'rollout_correction'.* does not exist"),
    ("reward.custom_reward_function.path=7", "path: 7 does not exist"),
    (f"actor_rollout_ref.model.path=/{'x' * 5000}", "path: /x+… is not a folder with a config.json"),
    ("distillation=48", "Config group override must be a string or a list. Got int"),
    ("trainer=7", r"verl cannot read the configuration .*'n_gpus_per_node'"),
    (f"+algorithm.{'x' * 5000}=1", "File name too long"),
]


def test_odd_values() -> None:
    def check_odd(case: tuple[str, str]) -> None:
        override, message = case
        with pytest.raises(InputError, match=message):
            check(compose_run([*WORKS, override]), files=True)

    assert failures(check_odd, ODD, (Exception, pytest.fail.Exception)) == []
