"""FSDP and FSDP2 on modules that lie on the CPU (torch 2.13.0, verl 0.9.1)."""

from typing import Any


def offload_without_pinning(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Around ``torch.distributed.fsdp.CPUOffloadPolicy.__init__``: memory is never pinned.

    verl 0.9.1 gives every reference model ``CPUOffloadPolicy(pin_memory=True)`` (``FSDPEngine._build_fsdp_module``),
    and pinning needs an accelerator.
    """
    wrapped(pin_memory=False)


def no_offload(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Around ``torch.distributed.fsdp.CPUOffload.__init__`` (FSDP1): parameters are never offloaded.

    verl 0.9.1 gives every reference model ``CPUOffload(offload_params=True)``. There is nowhere to offload to, and
    torch would pin the memory.
    """
    wrapped(offload_params=False)


def accept_cpu_states(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Instead of ``torch.distributed.fsdp._init_utils._check_module_states_for_sync_module_states``: accept.

    verl 0.9.1 builds FSDP1 with ``sync_module_states=True``. torch refuses modules on the CPU there because NCCL could
    not broadcast them; gloo can.
    """


def save_copies(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[dict, Any]:
    """Around ``verl.utils.fsdp_utils.fsdp2_sharded_save_to_cpu``: the saved weights are copies.

    verl's separate asynchronous trainer saves π_old and restores it for a pass. ``tensor.cpu()`` of a tensor that is on
    the CPU is that tensor, so what was saved would be trained on, and old log-probs would be those of newer weights.
    """
    shards, spec = wrapped(*args, **kwargs)
    return {name: (shard.clone(), shard_spec) for name, (shard, shard_spec) in shards.items()}, spec
