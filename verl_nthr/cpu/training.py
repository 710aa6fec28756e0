"""Training on the CPU: process groups, FSDP, verl's engines and attention (torch 2.13.0, verl 0.9.1)."""

import logging
from types import ModuleType
from typing import Any

from verl_nthr.cpu.environment import timeout

logger = logging.getLogger(__name__)

MODEL_TYPES = ("language_model", "value_model")
BACKENDS = ("fsdp", "fsdp2")


def around_init_process_group(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Around ``torch.distributed.init_process_group``: name each backend once, and limit the waiting.

    verl (``verl.utils.distributed``) asks for ``f"cpu:gloo,{device}:{backend}"``; torch refuses the duplicate
    "cpu:gloo,cpu:gloo". verl passes a timeout of ten hours or none, which becomes
    :func:`verl_nthr.cpu.environment.timeout`.
    """
    backend = kwargs.pop("backend", args[0] if args else None)
    if isinstance(backend, str):
        backend = ",".join(dict.fromkeys(backend.split(",")))
    if len(args) < 3 and kwargs.get("timeout") is None:
        kwargs["timeout"] = timeout()
    return wrapped(backend, *args[1:], **kwargs)


def around_offload_policy(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Around ``torch.distributed.fsdp.CPUOffloadPolicy.__init__`` (FSDP2): never pin memory.

    verl gives every reference model ``CPUOffloadPolicy(pin_memory=True)`` (``FSDPEngine._build_fsdp_module``), and
    pinning needs an accelerator.
    """
    wrapped(pin_memory=False)


def around_offload(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Around ``torch.distributed.fsdp.CPUOffload.__init__`` (FSDP1): never offload parameters.

    verl gives every reference model ``CPUOffload(offload_params=True)``. The parameters are on the CPU already, and
    torch would pin the memory.
    """
    wrapped(offload_params=False)


def around_sync_check(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Replace ``torch.distributed.fsdp._init_utils._check_module_states_for_sync_module_states`` (FSDP1): accept.

    verl builds FSDP1 with ``sync_module_states=True``. torch refuses modules on the CPU because NCCL cannot broadcast
    them; gloo can.
    """


def around_save_to_cpu(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[dict, Any]:
    """Around ``verl.utils.fsdp_utils.fsdp2_sharded_save_to_cpu``: copy the saved weights.

    verl's separate asynchronous trainer saves π_old and restores it for a pass. ``tensor.cpu()`` returns a tensor on
    the CPU itself, so without copies training would change the saved weights, and old log-probs would come from newer
    ones.
    """
    shards, spec = wrapped(*args, **kwargs)
    return {name: (shard.clone(), shard_spec) for name, (shard, shard_spec) in shards.items()}, spec


def around_attn_implementation(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """Around ``transformers.PreTrainedModel._check_and_adjust_attn_implementation`` (transformers 5.10.4).

    verl asks for flash_attention_2, which has no CPU kernel, where ``override_config.attn_implementation`` is not set
    (``HFModelConfig``), and always for models with a value head (``load_valuehead_model``).
    """
    requested = kwargs.pop("attn_implementation", args[0] if args else None)
    if isinstance(requested, str) and requested.startswith("flash_attention"):
        logger.warning("%s: %s does not exist on the CPU, using sdpa", type(instance).__name__, requested)
        requested = "sdpa"
    return wrapped(requested, *args[1:], **kwargs)


def register_engines(module: ModuleType) -> None:
    """Register for "cpu" the engines that ``verl.workers.engine.fsdp.transformer_impl`` registers for "cuda" and "npu".

    A registration that is already there is kept.
    """
    registry = module.EngineRegistry
    for model_type in MODEL_TYPES:
        for backend in BACKENDS:
            classes = registry._engines.get(model_type, {}).get(backend, {})
            if "cuda" not in classes:
                raise AttributeError(f"verl's {backend} engine for model type {model_type!r} and cuda does not exist")
            if "cpu" not in classes:
                registry.register(model_type=model_type, backend=backend, device="cpu")(classes["cuda"])


def engines_registered(module: ModuleType) -> bool:
    """Tell whether verl finds every FSDP engine for the device "cpu"."""
    engines = module.EngineRegistry._engines
    return all("cpu" in engines[model_type][backend] for model_type in MODEL_TYPES for backend in BACKENDS)
