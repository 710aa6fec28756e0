"""What a run must not be set to, by what it asks of verl."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

from verl_nthr.plugin_policy import POLICY, lets_load

STRATEGIES = ("fsdp", "fsdp2", "megatron")
TRAINER_MODES = ("sync", "colocate_async", "separate_async")

Requirement = tuple[str, Callable[[Any], bool], str]
"""A key, whether a value of it will do, and else why not and what to set."""


def unmet(config: DictConfig, requirements: tuple[Requirement, ...]) -> Iterator[str]:
    """What of ``requirements`` a configuration does not meet; a key that it lacks is met."""
    for key, allowed, reason in requirements:
        value = OmegaConf.select(config, key, default=None)
        if value is not None and not allowed(value):
            yield f"{key}={value}: {reason}"


def of_scoring(config: DictConfig) -> tuple[Requirement, ...]:
    """What a run needs whose old-log-prob pass is to be scored."""
    strategy = OmegaConf.select(config, "actor_rollout_ref.actor.strategy", default=None)
    if strategy == "megatron":
        return (*EVERY_RUN, *OLD_LOG_PROB_PASS, *GROUPS, *SCORING, *MEGATRON)
    if strategy == "fsdp2" and _restores_weights(config):
        return (*EVERY_RUN, *OLD_LOG_PROB_PASS, *GROUPS, *SCORING, *RESTORED_WEIGHTS)
    return (*EVERY_RUN, *OLD_LOG_PROB_PASS, *GROUPS, *SCORING)


def _restores_weights(config: DictConfig) -> bool:
    """Whether verl puts earlier weights in place for the old-log-prob passes."""
    mode = OmegaConf.select(config, "trainer.v1.trainer_mode", default=None)
    return mode == "separate_async" and config.trainer.v1.separate_async.parameter_sync_step > 1


def _one_of(values: tuple[str, ...]) -> Callable[[Any], bool]:
    return lambda value: value in values


def _whole_number_from(lowest: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= lowest


EVERY_RUN: tuple[Requirement, ...] = (
    ("trainer.use_v1", bool, "the legacy trainer is not covered; set trainer.use_v1=True"),
    (
        f"ray_kwargs.ray_init.runtime_env.env_vars.{POLICY}",
        lambda policy: lets_load(str(policy), "nthr"),
        "verl would not load verl-nthr in Ray's processes; unset it, or add nthr to it",
    ),
    *(
        (key, _whole_number_from(1), "the run needs one at least; use a whole number from 1")
        for key in (
            "data.train_batch_size",
            "actor_rollout_ref.actor.ppo_mini_batch_size",
            "actor_rollout_ref.actor.ppo_epochs",
            "trainer.n_gpus_per_node",
            "trainer.nnodes",
        )
    ),
)

OLD_LOG_PROB_PASS: tuple[Requirement, ...] = (
    (
        "algorithm.rollout_correction.bypass_mode",
        lambda value: not value,
        "bypass mode skips the old-log-prob pass, which NTHR reads; set it to False",
    ),
)

GROUPS: tuple[Requirement, ...] = (
    (
        "actor_rollout_ref.rollout.n",
        _whole_number_from(2),
        "a group needs several responses to compare; set it to 2 or more, as actor_rollout_ref.rollout.n=8",
    ),
)

SCORING: tuple[Requirement, ...] = (
    (
        "trainer.v1.trainer_mode",
        _one_of(TRAINER_MODES),
        f"not covered yet; set trainer.v1.trainer_mode={'|'.join(TRAINER_MODES)}",
    ),
    (
        "actor_rollout_ref.rollout.temperature",
        lambda value: isinstance(value, int | float) and value > 0,
        "the scores are taken at the sampling temperature; set it above 0",
    ),
    (
        "actor_rollout_ref.actor.strategy",
        _one_of(STRATEGIES),
        f"this engine is not covered yet; set actor_rollout_ref.actor.strategy={'|'.join(STRATEGIES)}",
    ),
)

RESTORED_WEIGHTS: tuple[Requirement, ...] = tuple(
    (
        f"actor_rollout_ref.actor.fsdp_config.{key}",
        lambda value: not value,
        "verl's copy of the old policy shares its memory with the trained weights on the host; set it to False, or "
        "actor_rollout_ref.actor.strategy=fsdp, or trainer.v1.separate_async.parameter_sync_step=1",
    )
    for key in ("param_offload", "offload_policy")
)

MEGATRON: tuple[Requirement, ...] = (
    (
        "trainer.device",
        lambda value: value != "npu",
        "MindSpeed's engine is not covered yet; set actor_rollout_ref.actor.strategy=fsdp2",
    ),
    ("actor_rollout_ref.model.lora.rank", lambda value: value <= 0, "LoRA on Megatron is not covered yet; set it to 0"),
    (
        "actor_rollout_ref.model.lora.adapter_path",
        lambda value: False,
        "LoRA on Megatron is not covered yet; set it to null",
    ),
    (
        "actor_rollout_ref.actor.megatron.dynamic_context_parallel",
        lambda value: not value,
        "dynamic context parallelism is not covered yet; set it to False",
    ),
    (
        "actor_rollout_ref.actor.megatron.use_megatron_fsdp",
        lambda value: not value,
        "Megatron-FSDP is not covered yet; set it to False",
    ),
    (
        "actor_rollout_ref.actor.megatron.override_transformer_config.fp8",
        lambda value: not value,
        "FP8 is not covered yet; set it to null",
    ),
    (
        "actor_rollout_ref.actor.megatron.qat.enable",
        lambda value: not value,
        "quantisation-aware training is not covered yet; set it to False",
    ),
    (
        "actor_rollout_ref.model.mtp.enable",
        lambda value: not value,
        "multi-token prediction is not covered yet; set it to False",
    ),
)
