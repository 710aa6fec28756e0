"""verl's replay buffer: how often it polls for finished responses, and an error where it waits for a dead actor."""

import time
from typing import Any

POLL_SECONDS = 0.1
POSITION = 5
PROBE_SECONDS = 5.0


class Probes:
    """Regular check that actors are alive."""

    def __init__(self) -> None:
        self.actors: list[Any] = []
        self._calls: list[Any] = []
        self._asked = 0.0

    def check(self) -> None:
        """Take the answers that are in; once all are, and :data:`PROBE_SECONDS` after the last time, ask again.

        Raises:
            RayActorError: an actor has died.
        """
        import ray

        if self._calls:
            answered, self._calls = ray.wait(self._calls, num_returns=len(self._calls), timeout=0)
            ray.get(answered)
        elif time.monotonic() - self._asked > PROBE_SECONDS:
            self._calls, self._asked = [actor.__ray_ready__.remote() for actor in self.actors], time.monotonic()


_probes = Probes()


def around_init(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Around ``verl.trainer.ppo.v1.replay_buffer.ReplayBuffer.__init__`` (verl 0.9.1): poll every 0.1 s.

    verl's default of 2 s, which cannot be configured, is longer than a whole step of a small model on a CPU.
    """
    if len(args) <= POSITION:
        kwargs.setdefault("poll_interval", POLL_SECONDS)
    wrapped(*args, **kwargs)


async def around_init_agent_loop_workers(
    wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Around ``AgentLoopManager._init_agent_loop_workers`` (verl 0.9.1): remember the actors."""
    await wrapped(*args, **kwargs)
    _probes.actors += instance.agent_loop_workers


def around_wait_for_next_poll(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> float:
    """Around ``ReplayBuffer._wait_for_next_poll`` (verl 0.9.1), which waits without end for a dead actor."""
    _probes.check()
    return wrapped(*args, **kwargs)
