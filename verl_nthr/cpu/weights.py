"""Weight transfer to the rollout: a failure on one side becomes an error on the other instead of an endless wait."""

import time
from types import ModuleType
from typing import Any

import wrapt

from verl_nthr.cpu.limits import TIMEOUT_VARIABLE, timeout

RECEIVE = "update_weights_from_ipc"
LINGER_MILLISECONDS = 10_000
POLL_MILLISECONDS = 500
GLOO = "gloo"

_receiving: dict[str, Any] = {}
"""Ray call with which the engine receives, by the address of the transfer."""


def register_gloo(module: ModuleType) -> None:
    """Register our checkpoint engine with ``verl.checkpoint_engine.base`` (verl 0.9.1), whose own need accelerators."""
    from verl_nthr.cpu.checkpoint_engine import GlooCheckpointEngine

    module.CheckpointEngineRegistry.register(GLOO)(GlooCheckpointEngine)


def gloo_registered(module: ModuleType) -> bool:
    """Tell whether verl finds our checkpoint engine under the name "gloo"."""
    from verl_nthr.cpu.checkpoint_engine import GlooCheckpointEngine

    return module.CheckpointEngineRegistry._registry.get(GLOO) is GlooCheckpointEngine


def around_init_socket(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Around ``BucketedWeightSender._init_socket`` and ``BucketedWeightReceiver._init_socket`` (verl 0.9.1).

    verl receives without a limit: when the engine fails in an update, the trainer never stops waiting for its answer.
    Nor does ZeroMQ, at the end of the process, stop waiting for somebody to take what was not delivered.
    """
    import zmq

    wrapped(*args, **kwargs)
    milliseconds = int(timeout().total_seconds() * 1000)
    instance.socket.setsockopt(zmq.RCVTIMEO, milliseconds)
    instance.socket.setsockopt(zmq.SNDTIMEO, milliseconds)
    instance.socket.setsockopt(zmq.LINGER, LINGER_MILLISECONDS)


async def around_execute_method(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Around ``ServerAdapter._execute_method`` (verl 0.9.1): remember the call with which the engine receives."""
    result = await wrapped(*args, **kwargs)
    if args and args[0] == RECEIVE:
        _receiving[instance.zmq_handle] = result
    return result


def around_init_sender_socket(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Around ``BucketedWeightSender._init_socket``: stop waiting for an engine that has failed."""
    around_init_socket(wrapped, instance, args, kwargs)
    receiving = _receiving.pop(instance.zmq_handle, None)
    if receiving is not None:
        instance.socket = WatchedSocket(instance.socket, receiving)


class WatchedSocket(wrapt.ObjectProxy):
    """Socket that stops waiting, with the error, when the call at its other end fails."""

    def __init__(self, socket: Any, receiving: Any) -> None:
        """Watch a Ray call.

        Args:
            socket: of ZeroMQ.
            receiving: the call's ``ObjectRef``.
        """
        super().__init__(socket)
        self._self_receiving = receiving

    def send_pyobj(self, message: Any) -> None:
        """Send as soon as somebody listens. Raises zmq.Again after the time limit."""
        import zmq

        self._wait(zmq.POLLOUT)
        self.__wrapped__.send_pyobj(message, zmq.NOBLOCK)

    def recv(self) -> bytes:
        """The answer. Raises zmq.Again after the time limit."""
        import zmq

        self._wait(zmq.POLLIN)
        return self.__wrapped__.recv(zmq.NOBLOCK)

    def _wait(self, event: int) -> None:
        import ray

        end = time.monotonic() + timeout().total_seconds()
        while not self.__wrapped__.poll(POLL_MILLISECONDS, event) and time.monotonic() < end:
            ended, _ = ray.wait([self._self_receiving], timeout=0)
            ray.get(ended)


async def around_send_weights(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Around ``BucketedWeightSender.async_send_weights``: say what timed out.

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
