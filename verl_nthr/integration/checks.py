"""What NTHR cannot run with is refused on the driver, before Ray starts a worker."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version
from types import ModuleType
from typing import Any

import wrapt
from omegaconf import DictConfig, OmegaConf
from packaging.specifiers import SpecifierSet

from verl_nthr import version as version_file
from verl_nthr.integration.estimators import ESTIMATORS, estimator_of
from verl_nthr.integration.options import MONITOR_OPTIONS, NTHRConfigError, NTHROptions

SUPPORTED_VERL = SpecifierSet(version_file.SUPPORTED_VERL, prereleases=True)
STRATEGIES = ("fsdp", "fsdp2", "megatron")
TRAINER_MODES = ("sync", "colocate_async", "separate_async")


def override_config(config_module: ModuleType) -> None:
    """Wrap ``verl.utils.config.validate_config`` (0.9), which ``verl.trainer.main_ppo`` calls before it starts Ray."""
    wrapt.wrap_function_wrapper(config_module, "validate_config", _validate_config)


def _validate_config(
    wrapped: Callable[..., None], instance: object, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    wrapped(*args, **kwargs)
    check_run(kwargs["config"] if "config" in kwargs else args[0])


def check_run(config: DictConfig) -> None:
    """Check a whole training configuration of ``verl.trainer.main_ppo``.

    Raises:
        NTHRConfigError: NTHR or its monitor is asked for and cannot run so; the message lists every reason.
    """
    problems = list(_problems(config))
    if problems:
        listing = "\n".join(f"  - {problem}" for problem in problems)
        raise NTHRConfigError(f"algorithm.adv_estimator={config.algorithm.adv_estimator} cannot run:\n{listing}")


def _problems(config: DictConfig) -> Iterator[str]:
    is_ours, is_monitored = estimator_of(config) is not None, False
    if not is_ours and not config.algorithm.get("nthr"):
        return
    try:
        options = NTHROptions.from_config(config.algorithm)
    except NTHRConfigError as error:
        yield str(error)
    else:
        is_monitored = options.monitor_freq > 0
        if not is_ours and not (is_monitored and options.monitor_only) and options != NTHROptions():
            warnings.warn(
                f"options of algorithm.nthr without effect on adv_estimator={config.algorithm.adv_estimator}: with "
                f"monitor_freq, {', '.join(MONITOR_OPTIONS)} serve every estimator, the others {', '.join(ESTIMATORS)}",
                stacklevel=4,
            )
    if not is_ours and not is_monitored:
        return
    installed = version("verl")
    if installed not in SUPPORTED_VERL:
        yield f"verl=={installed} is installed; supported is verl{SUPPORTED_VERL}, so install one of those"
    strategy = OmegaConf.select(config, "actor_rollout_ref.actor.strategy", default=None)
    engine = _MEGATRON_REQUIREMENTS if strategy == "megatron" else ()
    if strategy == "fsdp2" and _restores_weights(config):
        engine = _RESTORED_WEIGHTS_REQUIREMENTS
    for key, allowed, reason in (*_REQUIREMENTS, *engine) if is_ours else _MONITOR_REQUIREMENTS:
        value = OmegaConf.select(config, key, default=None)
        if value is not None and not allowed(value):
            yield f"{key}={value}: {reason}"


def _restores_weights(config: DictConfig) -> bool:
    """Whether verl puts earlier weights in place for the old-log-prob passes."""
    mode = OmegaConf.select(config, "trainer.v1.trainer_mode", default=None)
    return mode == "separate_async" and config.trainer.v1.separate_async.parameter_sync_step > 1


def _one_of(values: tuple[str, ...]) -> Callable[[Any], bool]:
    return lambda value: value in values


Requirement = tuple[str, Callable[[Any], bool], str]

_MONITOR_REQUIREMENTS: tuple[Requirement, ...] = (
    ("trainer.use_v1", bool, "the legacy trainer is not covered; set trainer.use_v1=True"),
    (
        "algorithm.rollout_correction.bypass_mode",
        lambda value: not value,
        "bypass mode skips the old-log-prob pass, which NTHR reads; set it to False",
    ),
)

_REQUIREMENTS: tuple[Requirement, ...] = (
    *_MONITOR_REQUIREMENTS,
    (
        "trainer.v1.trainer_mode",
        _one_of(TRAINER_MODES),
        f"not covered yet; set trainer.v1.trainer_mode={'|'.join(TRAINER_MODES)}",
    ),
    (
        "actor_rollout_ref.rollout.n",
        lambda value: value >= 2,
        "a group needs several responses to compare; set it to 2 or more, as actor_rollout_ref.rollout.n=8",
    ),
    (
        "actor_rollout_ref.rollout.temperature",
        lambda value: value > 0,
        "the scores are taken at the sampling temperature; set it above 0",
    ),
    (
        "actor_rollout_ref.actor.strategy",
        _one_of(STRATEGIES),
        f"this engine is not covered yet; set actor_rollout_ref.actor.strategy={'|'.join(STRATEGIES)}",
    ),
)

_RESTORED_WEIGHTS_REQUIREMENTS: tuple[Requirement, ...] = tuple(
    (
        f"actor_rollout_ref.actor.fsdp_config.{key}",
        lambda value: not value,
        "verl's copy of the old policy shares its memory with the trained weights on the host; set it to False, or "
        "actor_rollout_ref.actor.strategy=fsdp, or trainer.v1.separate_async.parameter_sync_step=1",
    )
    for key in ("param_offload", "offload_policy")
)

_MEGATRON_REQUIREMENTS: tuple[Requirement, ...] = (
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
