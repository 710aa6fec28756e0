"""verl's FSDP engines for the device "cpu" (verl 0.9.1 registers them for "cuda" and "npu" only)."""

from types import ModuleType

from verl_nthr.cpu.errors import PlatformError

MODEL_TYPES = ("language_model", "value_model")
BACKENDS = ("fsdp", "fsdp2")


def register_for_cpu(module: ModuleType) -> None:
    """Register the classes that ``verl.workers.engine.fsdp.transformer_impl`` registered for "cuda" for "cpu" too.

    Without it ``VERL_ENGINE_DEVICE=cuda`` would have to be set. A registration that is already there is kept.

    Raises:
        PlatformError: an engine is not registered for "cuda".
    """
    registry = module.EngineRegistry
    for model_type in MODEL_TYPES:
        for backend in BACKENDS:
            classes = registry._engines.get(model_type, {}).get(backend, {})
            if "cuda" not in classes:
                raise PlatformError(
                    f"verl has no {backend} engine for model type {model_type!r} and device 'cuda', from which the CPU "
                    "platform takes its own; it was written for verl 0.9.1"
                )
            if "cpu" not in classes:
                registry.register(model_type=model_type, backend=backend, device="cpu")(classes["cuda"])


def registered_for_cpu(module: ModuleType) -> bool:
    """Whether every FSDP engine is found under the device "cpu"."""
    engines = module.EngineRegistry._engines
    return all("cpu" in engines[model_type][backend] for model_type in MODEL_TYPES for backend in BACKENDS)
