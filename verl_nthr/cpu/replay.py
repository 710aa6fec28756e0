"""How often the trainer looks whether the rollout is done."""

from typing import Any

from verl_nthr.cpu.patches import Patch, wrapping

POLL_SECONDS = 0.1
POSITION = 5


def init(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Around ``verl.trainer.ppo.v1.replay_buffer.ReplayBuffer.__init__`` (verl 0.9.1): poll every 0.1 s.

    verl's default of 2 s, which no setting reaches, is longer than a whole step of a model that is trained on a CPU.
    """
    if len(args) <= POSITION:
        kwargs.setdefault("poll_interval", POLL_SECONDS)
    wrapped(*args, **kwargs)


PATCHES: tuple[Patch, ...] = (
    wrapping(
        "verl ReplayBuffer: polls every 0.1 s",
        "verl.trainer.ppo.v1.replay_buffer",
        "ReplayBuffer.__init__",
        init,
    ),
)
