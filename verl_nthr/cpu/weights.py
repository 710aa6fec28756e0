"""Weight transfer to the rollout: a failure on one side becomes an error on the other instead of an endless wait."""

import time
from typing import Any

import wrapt
import zmq

from verl_nthr.cpu.environment import TIMEOUT_VARIABLE, timeout

RECEIVE = "update_weights_from_ipc"
LINGER_MILLISECONDS = 10_000
POLL_MILLISECONDS = 500

_receiving: dict[str, Any] = {}
"""Address of a transfer → Ray call with which the engine receives."""


async def around_execute_method(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Around ``ServerAdapter._execute_method`` (verl 0.9.1): remember the call with which the engine receives."""
    result = await wrapped(*args, **kwargs)
    if args and args[0] == RECEIVE:
        _receiving[instance.zmq_handle] = result
    return result


def around_init_sender_socket(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Around ``BucketedWeightSender._init_socket`` (verl 0.9.1), which waits for the engine without a limit."""
    wrapped(*args, **kwargs)
    instance.socket.setsockopt(zmq.LINGER, LINGER_MILLISECONDS)
    instance.socket = WatchedSocket(instance.socket, _receiving.pop(instance.zmq_handle, None))


def around_init_receiver_socket(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Around ``BucketedWeightReceiver._init_socket`` (verl 0.9.1), which waits for the trainer without a limit."""
    wrapped(*args, **kwargs)
    milliseconds = int(timeout().total_seconds() * 1000)
    instance.socket.setsockopt(zmq.RCVTIMEO, milliseconds)
    instance.socket.setsockopt(zmq.SNDTIMEO, milliseconds)
    instance.socket.setsockopt(zmq.LINGER, LINGER_MILLISECONDS)


class WatchedSocket(wrapt.ObjectProxy):
    """A ZeroMQ socket that stops waiting after the time limit, or when the call at its other end fails."""

    def __init__(self, socket: zmq.Socket, receiving: Any) -> None:
        """Watch the Ray call ``receiving``, an ``ObjectRef``, or None."""
        super().__init__(socket)
        self._self_receiving = receiving

    def send_pyobj(self, message: Any) -> None:
        """Send as soon as somebody listens."""
        self._wait(zmq.POLLOUT)
        self.__wrapped__.send_pyobj(message, zmq.NOBLOCK)

    def recv(self) -> bytes:
        """Return the answer."""
        self._wait(zmq.POLLIN)
        return self.__wrapped__.recv(zmq.NOBLOCK)

    def _wait(self, event: int) -> None:
        import ray

        end = time.monotonic() + timeout().total_seconds()
        while not self.__wrapped__.poll(POLL_MILLISECONDS, event):
            if self._self_receiving is not None:
                ended, _ = ray.wait([self._self_receiving], timeout=0)
                ray.get(ended)
            if time.monotonic() > end:
                raise TimeoutError(
                    f"the vLLM engine did not acknowledge a bucket of weights within {timeout().total_seconds():.0f} s "
                    f"(limit: {TIMEOUT_VARIABLE}); see the engine's own error in the log"
                )
