"""Weight transfer to the rollout: a failure on one side is an error on the other, not an endless wait."""

from types import ModuleType
from typing import Any

from verl_nthr.cpu.limits import TIMEOUT_VARIABLE, timeout
from verl_nthr.cpu.patches import Patch, wrapping

MODULE = "verl.workers.rollout.vllm_rollout.bucketed_weight_transfer"
LINGER_MILLISECONDS = 10_000
GLOO = "gloo"


def register_gloo(module: ModuleType) -> None:
    """Register our checkpoint engine with ``verl.checkpoint_engine.base`` (verl 0.9.1), whose own need accelerators."""
    from verl_nthr.cpu.checkpoint_engine import GlooCheckpointEngine

    module.CheckpointEngineRegistry.register(GLOO)(GlooCheckpointEngine)


def gloo_registered(module: ModuleType) -> bool:
    """Whether verl finds our checkpoint engine under the name "gloo"."""
    from verl_nthr.cpu.checkpoint_engine import GlooCheckpointEngine

    return module.CheckpointEngineRegistry._registry.get(GLOO) is GlooCheckpointEngine


def init_socket(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Around ``BucketedWeightSender._init_socket`` and ``BucketedWeightReceiver._init_socket`` (verl 0.9.1).

    verl receives without a limit: when the engine fails in an update, the trainer waits for its answer for ever. At
    the end of the process, ZeroMQ would wait for ever too, for somebody to take what was not delivered.
    """
    import zmq

    wrapped(*args, **kwargs)
    milliseconds = int(timeout().total_seconds() * 1000)
    instance.socket.setsockopt(zmq.RCVTIMEO, milliseconds)
    instance.socket.setsockopt(zmq.SNDTIMEO, milliseconds)
    instance.socket.setsockopt(zmq.LINGER, LINGER_MILLISECONDS)


async def send_weights(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Around ``BucketedWeightSender.async_send_weights``: says what timed out.

    Raises:
        TimeoutError: the rollout engine did not take or acknowledge a bucket in time.
    """
    import zmq

    try:
        return await wrapped(*args, **kwargs)
    except zmq.Again as error:
        raise TimeoutError(
            f"the vLLM engine did not acknowledge a bucket of weights within {timeout().total_seconds():.0f} s "
            f"(limit: {TIMEOUT_VARIABLE}); see the engine's own error in the log"
        ) from error


PATCHES: tuple[Patch, ...] = (
    Patch(
        name="verl CheckpointEngineRegistry: gloo",
        module="verl.checkpoint_engine.base",
        apply=register_gloo,
        in_place=gloo_registered,
    ),
    wrapping("verl BucketedWeightSender: a limit on waiting", MODULE, "BucketedWeightSender._init_socket", init_socket),
    wrapping(
        "verl BucketedWeightReceiver: a limit on waiting", MODULE, "BucketedWeightReceiver._init_socket", init_socket
    ),
    wrapping(
        "verl BucketedWeightSender: says what timed out",
        MODULE,
        "BucketedWeightSender.async_send_weights",
        send_weights,
    ),
)
