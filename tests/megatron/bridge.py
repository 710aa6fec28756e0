"""What Megatron-Bridge needs to be imported, and to load weights, without Transformer Engine, Triton and NCCL."""

from __future__ import annotations

import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import torch.distributed as dist
from torch import Tensor

ABSENT = ("transformer_engine", "triton")


def prepare_megatron_bridge() -> None:
    """Let ``megatron.bridge`` be imported; megatron-core must not see the empty packages. Not undone."""
    import torch._dynamo  # noqa: F401 - looks for Triton
    import transformers  # noqa: F401 - looks for Triton
    from megatron.core import extensions, optimizer  # noqa: F401 - look for Transformer Engine

    from tests.megatron.torch_layers import NormColumnParallelLinear

    sys.meta_path.insert(0, EmptyPackages())
    dist.scatter = scatter_contiguous(dist.scatter)
    # its conversion of weights goes by the names of classes
    NormColumnParallelLinear.__name__ = "TELayerNormColumnParallelLinear"
    from megatron.bridge.peft import utils

    utils.HAVE_TE = False


def scatter_contiguous(scatter: Any) -> Any:
    """gloo sends the wrong elements of parts that are not contiguous."""

    def contiguous(tensor: Tensor, scatter_list: list[Tensor] | None = None, *args: Any, **kwargs: Any) -> Any:
        parts = None if scatter_list is None else [part.contiguous() for part in scatter_list]
        return scatter(tensor, parts, *args, **kwargs)

    return contiguous


class EmptyPackage(ModuleType):
    """Has every attribute: a class by a capitalised name, a package by another; as a decorator it does nothing."""

    __path__: list[str] = []  # noqa: RUF012

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        found = type(name, (), {}) if name[0].isupper() else EmptyPackage(name)
        setattr(self, name, found)
        return found

    def __call__(self, *args: Any, **_: Any) -> Any:
        return args[0] if args else self


class EmptyPackages(MetaPathFinder, Loader):
    """Finds the packages :data:`ABSENT` and whatever is in them."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        return ModuleSpec(fullname, self, is_package=True) if fullname.split(".")[0] in ABSENT else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return EmptyPackage(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to run."""
