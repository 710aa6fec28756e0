"""Settings of verl that this package needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from verl_nthr.integration.config.run import Findings, Problem, Run
from verl_nthr.plugin_policy import PLUGINS_ENV_VAR, lets_load
from verl_nthr.text import label

STRATEGIES = ("fsdp", "fsdp2", "megatron")
TRAINER_MODES = ("sync", "colocate_async", "separate_async")
ACTOR, MODEL, ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.model", "actor_rollout_ref.rollout"

ONE = "use a whole number of at least 1"
SHARED = (
    "verl's copy of the old policy would share its memory with the trained weights; set it to False, or "
    f"{ACTOR}.strategy=fsdp, or trainer.v1.separate_async.parameter_sync_step=1"
)


def _off(value: Any) -> bool:
    return not value


def _at_least(lowest: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= lowest


def _lets_nthr_load(policy: Any) -> bool:
    return lets_load(str(policy), "nthr")


def _above_0(value: Any) -> bool:
    return isinstance(value, int | float) and value > 0


def _restores_weights(run: Run) -> bool:
    """Tell whether verl on FSDP2 restores earlier weights for the old-log-prob passes."""
    modes = run.get(f"{ACTOR}.strategy"), run.get("trainer.v1.trainer_mode")
    return modes == ("fsdp2", "separate_async") and run.get("trainer.v1.separate_async.parameter_sync_step") != 1


Setting = tuple[str, Callable[[Any], bool], str]
"""A key, a test of its value (an absent key or null always passes), and the fix for other values."""

SETTINGS: tuple[tuple[Callable[[Run], bool], tuple[Setting, ...]], ...] = (
    (
        lambda run: run.takes_part,
        (
            ("trainer.use_v1", bool, "the legacy trainer is not supported; set it to True"),
            (
                f"ray_kwargs.ray_init.runtime_env.env_vars.{PLUGINS_ENV_VAR}",
                _lets_nthr_load,
                "verl would not load verl-nthr in Ray's processes; unset it, or add nthr to it",
            ),
            ("data.train_batch_size", _at_least(1), ONE),
            (f"{ACTOR}.ppo_mini_batch_size", _at_least(1), ONE),
            (f"{ACTOR}.ppo_epochs", _at_least(1), ONE),
            ("trainer.n_gpus_per_node", _at_least(1), ONE),
            ("trainer.nnodes", _at_least(1), ONE),
        ),
    ),
    (
        lambda run: run.is_scored or run.is_monitored or run.terms.is_active,
        (("algorithm.rollout_correction.bypass_mode", _off, "it skips the old-log-prob pass; set it to False"),),
    ),
    (
        lambda run: run.is_scored or (run.estimator is not None and run.estimator.compares_group),
        ((f"{ROLLOUT}.n", _at_least(2), "a group needs several responses to compare; set it to at least 2"),),
    ),
    (
        lambda run: run.is_scored or run.terms.is_active,
        (
            (f"{ACTOR}.strategy", STRATEGIES.__contains__, f"use one of {', '.join(STRATEGIES)}"),
            (f"{ACTOR}.megatron.dynamic_context_parallel", _off, "it is not supported; set it to False"),
        ),
    ),
    (
        lambda run: run.terms.is_active,
        (("distillation.enabled", _off, "loss terms cannot be combined with distillation; set it to False"),),
    ),
    (
        lambda run: run.is_scored,
        (
            ("trainer.v1.trainer_mode", TRAINER_MODES.__contains__, f"use one of {', '.join(TRAINER_MODES)}"),
            (f"{ROLLOUT}.temperature", _above_0, "tokens are scored at the sampling temperature; set it above 0"),
        ),
    ),
    (
        lambda run: run.is_scored and _restores_weights(run),
        tuple((f"{ACTOR}.fsdp_config.{key}", _off, SHARED) for key in ("param_offload", "offload_policy")),
    ),
    (
        lambda run: run.is_scored and run.get(f"{ACTOR}.strategy") == "megatron",
        (
            ("trainer.device", lambda device: device != "npu", f"use {ACTOR}.strategy=fsdp2 on Ascend devices"),
            (f"{MODEL}.lora.rank", lambda rank: rank == 0, "LoRA on Megatron is not supported; set it to 0"),
            (f"{MODEL}.lora.adapter_path", _off, "LoRA on Megatron is not supported; set it to null"),
            (f"{MODEL}.mtp.enable", _off, "multi-token prediction is not supported; set it to False"),
            (f"{ACTOR}.megatron.use_megatron_fsdp", _off, "Megatron-FSDP is not supported; set it to False"),
            (f"{ACTOR}.megatron.override_transformer_config.fp8", _off, "FP8 is not supported; set it to null"),
            (f"{ACTOR}.megatron.qat.enable", _off, "it is not supported; set it to False"),
        ),
    ),
)
"""Settings that a run needs, by a test of what it asks for."""


def check_settings(run: Run) -> Findings:
    """Compare a run with :data:`SETTINGS`."""
    for concerns, settings in SETTINGS:
        for key, allows, fix in settings if concerns(run) else ():
            value = run.get(key)
            if value is not None and not allows(value):
                yield Problem(f"{key}={label(str(value))}: {fix}")
