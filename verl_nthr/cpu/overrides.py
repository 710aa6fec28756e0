"""Hydra overrides with which stock ``python -m verl.trainer.main_ppo`` runs on a machine without a GPU."""

import re
from pathlib import Path

UNIX_SOCKET_PATH_MAX = 107
"""Most bytes of a unix socket's path on Linux."""

LONGEST_RAY_SOCKET = "/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store"

TRAINED_MODELS = ("actor_rollout_ref.actor.fsdp_config", "actor_rollout_ref.ref.fsdp_config", "critic.fsdp")

FIXED = (
    # one machine, few helper processes
    "trainer.device=cpu",
    "trainer.nnodes=1",
    "data.dataloader_num_workers=0",
    "reward.num_workers=1",
    "transfer_queue.backend.SimpleStorage.num_data_storage_units=1",
    # FSDP2 in float32, without compilation and flash attention
    "actor_rollout_ref.actor.strategy=fsdp2",
    "critic.strategy=fsdp2",
    *(f"{config}.strategy=fsdp2" for config in TRAINED_MODELS),
    *(f"{config}.dtype=float32" for config in TRAINED_MODELS),
    *(f"+{config}.mixed_precision.param_dtype=fp32" for config in TRAINED_MODELS),
    *(f"{config}.use_torch_compile=False" for config in TRAINED_MODELS),
    "actor_rollout_ref.actor.use_torch_compile=False",
    "actor_rollout_ref.model.use_remove_padding=False",
    "critic.model.use_remove_padding=False",
    "actor_rollout_ref.model.enable_gradient_checkpointing=False",
    "critic.model.enable_gradient_checkpointing=False",
    "+actor_rollout_ref.model.override_config.attn_implementation=sdpa",
    "+critic.model.override_config.attn_implementation=sdpa",
    # one eager float32 vLLM engine per worker; the transfer bucket has to hold the largest tensor
    "actor_rollout_ref.rollout.name=vllm",
    "actor_rollout_ref.rollout.mode=async",
    "actor_rollout_ref.rollout.tensor_model_parallel_size=1",
    "actor_rollout_ref.rollout.dtype=float32",
    "actor_rollout_ref.rollout.enforce_eager=True",
    "actor_rollout_ref.rollout.free_cache_engine=False",
    "+actor_rollout_ref.rollout.enable_sleep_mode=False",
    "actor_rollout_ref.rollout.gpu_memory_utilization=0.2",
    "actor_rollout_ref.rollout.agent.num_workers=1",
    "actor_rollout_ref.rollout.checkpoint_engine.update_weights_bucket_megabytes=1024",
    # a Ray of its own
    "+ray_kwargs.ray_init.address=local",
    "+ray_kwargs.ray_init.include_dashboard=False",
    "+ray_kwargs.ray_init.object_store_memory=1000000000",
)

SEPARATE_ROLLOUTS = (
    "trainer.v1.trainer_mode=separate_async",
    "actor_rollout_ref.rollout.nnodes=1",
    "actor_rollout_ref.rollout.checkpoint_engine.backend=gloo",
)
"""Rollout engines of their own on this machine, which get the weights over gloo."""


def overrides(workers: int, ray_dir: str | Path, *, separate_rollouts: int = 0) -> list[str]:
    """List the overrides for a run of ``workers`` training processes, each with its own vLLM engine.

    Settings of the task (data, lengths, batch sizes, learning rate, samples per prompt) are the caller's. An override
    given later on the command line wins. Ray gets logical GPUs, one per training process, and more logical CPUs than
    there are cores, because verl's many small actors mostly wait.

    Args:
        workers: data-parallel training processes, on this machine.
        ray_dir: folder for Ray's session; its path has to be short, because unix sockets lie in it.
        separate_rollouts: vLLM engines beside the trainer; with any, the trainer is verl's separate asynchronous one.

    Raises:
        ValueError: ``workers`` is below 1, ``separate_rollouts`` below 0, or ``ray_dir`` is too long for a unix socket.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    if separate_rollouts < 0:
        raise ValueError(f"separate_rollouts must be at least 0, got {separate_rollouts}")
    folder = Path(ray_dir).absolute()
    longest = len(f"{folder}{LONGEST_RAY_SOCKET}".encode())
    if longest > UNIX_SOCKET_PATH_MAX:
        raise ValueError(
            f"ray_dir={folder} is {longest - UNIX_SOCKET_PATH_MAX} bytes too long: Ray puts unix sockets in it, whose "
            f"paths may have {UNIX_SOCKET_PATH_MAX} bytes; choose a shorter folder, for example under /tmp"
        )
    separate = (*SEPARATE_ROLLOUTS, f"actor_rollout_ref.rollout.n_gpus_per_node={separate_rollouts}")
    devices = workers + separate_rollouts
    return [
        *FIXED,
        f"trainer.n_gpus_per_node={workers}",
        *(separate if separate_rollouts else ()),
        f"ray_kwargs.ray_init.num_cpus={12 + 4 * devices}",
        f"+ray_kwargs.ray_init.num_gpus={devices}",
        f"+ray_kwargs.ray_init._temp_dir={_quoted(str(folder))}",
    ]


def _quoted(text: str) -> str:
    """Quote as hydra reads it: backslashes are doubled before a quote and at the end only."""
    escaped = re.sub(r"(\\*)('|$)", lambda match: match[1] * 2 + match[2].replace("'", "\\'"), text)
    return f"'{escaped}'"
