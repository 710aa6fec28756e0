"""The engines of verl that a scoring pass can look into."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verl_nthr.integration.worker.capture import EngineCapture
from verl_nthr.integration.worker.fsdp import FSDPCapture
from verl_nthr.integration.worker.megatron import MegatronCapture

if TYPE_CHECKING:
    from verl.workers.engine import BaseEngine

CAPTURES: dict[str, type[EngineCapture]] = {
    "FSDPEngineWithLMHead": FSDPCapture,
    "MegatronEngineWithLMHead": MegatronCapture,
}


def capture_of(engine: BaseEngine) -> EngineCapture:
    """Capture for ``engine``, by the name of its class: an engine's module may need packages that are not there.

    Raises:
        TypeError: NTHR does not cover the engine, or another package's class has the name of one that it covers.
    """
    for base in type(engine).__mro__:
        if base.__name__ in CAPTURES and base.__module__.startswith("verl.workers.engine."):
            return CAPTURES[base.__name__](engine)
    name = f"{type(engine).__module__}.{type(engine).__qualname__}"
    raise TypeError(f"NTHR covers verl's FSDP and Megatron engines, not {name}")
