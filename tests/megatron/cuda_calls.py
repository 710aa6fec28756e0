"""megatron-core and mbridge call CUDA by name: in a process of the tests, the CPU answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

CPU = torch.device("cpu")


def answer_on_the_cpu() -> None:
    """Replace what megatron-core 0.16 and mbridge 0.15 call of ``torch.cuda``, and ``device="cuda"``; not undone."""
    cuda = torch.cuda
    cuda.current_device = lambda: CPU
    cuda.get_rng_state = cuda.random.get_rng_state = lambda *_: torch.get_rng_state()
    cuda.set_rng_state = lambda state, *_: torch.set_rng_state(state)
    # not manual_seed_all: torch.manual_seed calls that
    cuda.manual_seed = lambda seed: torch.default_generator.manual_seed(int(seed))
    cuda.synchronize = cuda.empty_cache = lambda *_: None
    torch.nn.Module.cuda = torch.Tensor.cuda = lambda self, *_, **__: self
    torch.Tensor.type = _as_on_cuda(torch.Tensor.type)
    for name in ("zeros", "ones", "empty", "tensor"):
        setattr(torch, name, _on_the_cpu(getattr(torch, name)))

    from megatron.core.tensor_parallel import random

    random._get_cuda_rng_state = lambda *_, **__: torch.get_rng_state()
    random._set_cuda_rng_state = lambda state, *_, **__: torch.set_rng_state(state)


def _as_on_cuda(type_of: Callable[..., Any]) -> Callable[..., Any]:
    """``Tensor.type`` that names the types of CUDA tensors: the optimizer takes no others."""

    def named(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        found = type_of(tensor, *args, **kwargs)
        return found.replace("torch.", "torch.cuda.", 1) if isinstance(found, str) else found

    return named


def _on_the_cpu(make: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    def made(*args: Any, **kwargs: Any) -> torch.Tensor:
        kwargs.pop("pin_memory", None)
        if "cuda" in str(kwargs.get("device", "")):
            kwargs["device"] = CPU
        return make(*args, **kwargs)

    return made
