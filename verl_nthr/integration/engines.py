"""The engines of verl that a scoring pass can record from, and what it has to know of one."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from verl_nthr.integration.fsdp import FSDPCapture
from verl_nthr.integration.megatron import MegatronCapture

if TYPE_CHECKING:
    import torch.distributed as dist
    from verl.workers.engine import BaseEngine

    from verl_nthr.influence.sharding import Sharding
    from verl_nthr.integration.recording import Recording


class Capture(Protocol):
    """What NTHR does to one engine for one pass."""

    def stages(self) -> dist.ProcessGroup | None:
        """The ranks that hold other layers of the same model and batch; None if every rank holds all layers."""

    def has_output_layer(self) -> bool:
        """Whether this rank holds the output layer, and so takes part in scoring."""

    def check_model(self) -> None:
        """Raise where the model is one that NTHR does not cover.

        Raises:
            TypeError: it is; the message says why.
        """

    def vocab_size(self) -> int:
        """V, without the rows that pad the output layer."""

    def dim(self) -> int:
        """D, size of a hidden state."""

    def sharding(self) -> Sharding:
        """How the engine lays out tokens and vocabulary over the ranks that hold the output layer."""

    def capture(self, recording: Recording) -> AbstractContextManager[None]:
        """Record the features of all tokens that have a slot while the context is open."""


CAPTURES: dict[str, type[Capture]] = {
    "FSDPEngineWithLMHead": FSDPCapture,
    "MegatronEngineWithLMHead": MegatronCapture,
}


def capture_of(engine: BaseEngine) -> Capture:
    """What records from ``engine``, by the name of its class: an engine's module may need packages that are not there.

    Raises:
        TypeError: NTHR does not cover the engine, or another package's class has the name of one that it covers.
    """
    for base in type(engine).__mro__:
        if base.__name__ in CAPTURES and base.__module__.startswith("verl.workers.engine."):
            return CAPTURES[base.__name__](engine)
    name = f"{type(engine).__module__}.{type(engine).__qualname__}"
    raise TypeError(f"NTHR covers verl's FSDP and Megatron engines, not {name}")
