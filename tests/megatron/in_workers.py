"""Lets the workers of a training run build Megatron engines; verl imports it by ``VERL_USE_EXTERNAL_MODULES``."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import wrapt


def _wrap_engine(transformer_impl: ModuleType) -> None:
    wrapt.wrap_function_wrapper(transformer_impl, "MegatronEngine.__init__", _build)


def _build(wrapped: Any, engine: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    from tests.megatron.passes import prepare_process, use_float32

    prepare_process()
    use_float32(kwargs["engine_config"])
    wrapped(*args, **kwargs)


wrapt.register_post_import_hook(_wrap_engine, "verl.workers.engine.megatron.transformer_impl")
