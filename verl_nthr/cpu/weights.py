"""Weight transfer to the rollout: a failure on one side is an error on the other, not an endless wait."""

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
"""By the address of the transfer, the call with which the engine receives."""


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


async def execute_method(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Around ``ServerAdapter._execute_method`` (verl 0.9.1): remembers the call with which the engine receives."""
    result = await wrapped(*args, **kwargs)
    if args and args[0] == RECEIVE:
        _receiving[instance.zmq_handle] = result
    return result


def init_sender(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Around ``BucketedWeightSender._init_socket``: an engine that has failed is not waited for."""
    init_socket(wrapped, instance, args, kwargs)
    receiving = _receiving.pop(instance.zmq_handle, None)
    if receiving is not None:
        instance.socket = WatchedSocket(instance.socket, receiving)


class WatchedSocket(wrapt.ObjectProxy):
    """A socket whose waiting ends with the error of the call at its other end, if that call fails."""

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
