"""Lets the model's forward fail on one rank of a training run; verl imports it by ``VERL_USE_EXTERNAL_MODULES``.

The file in ``FAILED_FILE`` is written when it does.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType
from typing import Any

import wrapt

FAILED_FILE = "TEST_FAILED_FILE"
MESSAGE = "the forward of rank 1 fails"


def _wrap_engine(transformer_impl: ModuleType) -> None:
    wrapt.wrap_function_wrapper(transformer_impl, "FSDPEngineWithLMHead.forward_step", _forward_step)


def _forward_step(wrapped: Any, engine: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    from verl_nthr.integration.worker.token_slots import SLOT

    micro_batch = kwargs["micro_batch"] if "micro_batch" in kwargs else args[0]
    if SLOT in micro_batch and engine.rank == 1:
        Path(os.environ[FAILED_FILE]).touch()
        raise ArithmeticError(MESSAGE)
    return wrapped(*args, **kwargs)


wrapt.register_post_import_hook(_wrap_engine, "verl.workers.engine.fsdp.transformer_impl")
