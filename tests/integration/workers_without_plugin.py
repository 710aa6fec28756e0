"""For ``VERL_USE_EXTERNAL_MODULES``: verl starts its workers so that they do not load this package's plugin."""

from __future__ import annotations

from typing import Any

import wrapt


def _without_plugin(wrapped: Any, instance: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    wrapped(*args, **kwargs | {"worker_env": {"VERL_USE_EXTERNAL_PLUGINS": "nthr_cpu_platform"}})


wrapt.register_post_import_hook(
    lambda module: wrapt.wrap_function_wrapper(module, "RayWorkerGroup.__init__", _without_plugin),
    "verl.single_controller.ray.base",
)
