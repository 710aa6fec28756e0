"""For ``VERL_USE_EXTERNAL_MODULES``: stands for another plugin, which replaces the engines' pass by one of its own."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
import wrapt


def infer_batch(engine: Any, data: Any, loss_function: Any = None) -> Any:
    """What verl's does."""
    with torch.no_grad():
        return engine.forward_backward_batch(data, loss_function, forward_only=True)


def replace(workers: ModuleType) -> None:
    """Replace it after everybody else has changed it."""
    workers.BaseEngine.infer_batch = infer_batch


wrapt.register_post_import_hook(replace, "verl.workers.engine")
