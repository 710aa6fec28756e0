"""Changes to functions and modules of other packages, made as soon as the module concerned is imported."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

import wrapt

Wrapper = Callable[[Callable[..., Any], Any, tuple[Any, ...], dict[str, Any]], Any]
"""A wrapper function as wrapt calls it: with the wrapped function, its instance, and the call's arguments."""


@dataclass(frozen=True)
class FunctionPatch:
    """A wrapper around a function of another package."""

    target: str
    """Full name of the function, such as "package.module.Class.method"; modules have lower-case names."""

    wrapper: Wrapper
    """Ours."""

    why: str
    """Purpose, in a few words."""

    @property
    def module(self) -> str:
        """The module that holds the function."""
        return self.target.removesuffix(f".{self._attribute}")

    def apply(self, module: ModuleType) -> None:
        """Wrap the function.

        Raises:
            AttributeError: the module has no such function.
        """
        try:
            wrapt.wrap_function_wrapper(module, self._attribute, self.wrapper)
        except AttributeError as error:
            raise AttributeError(f"{self.target} does not exist") from error

    def is_applied(self, module: ModuleType) -> bool:
        """Tell whether our wrapper is around the function, alone or among others."""
        try:
            function = wrapt.resolve_path(module, self._attribute)[2]
        except AttributeError:
            return False
        return any(wrapper is self.wrapper for wrapper in wrappers(function))

    @property
    def _attribute(self) -> str:
        parts = self.target.split(".")
        first = next((i for i, part in enumerate(parts) if part[0].isupper()), len(parts) - 1)
        return ".".join(parts[first:])


@dataclass(frozen=True)
class ModulePatch:
    """Any other change to a module of another package, such as an entry in a registry."""

    target: str
    """Full name of what is changed."""

    module: str
    """The module whose import applies it."""

    apply: Callable[[ModuleType], None]
    """Changes the module; raises AttributeError if the module lacks what it needs."""

    is_applied: Callable[[ModuleType], bool]
    """Tells whether the module carries the change."""

    why: str
    """Purpose, in a few words."""


Patch = FunctionPatch | ModulePatch


def install(patches: Iterable[Patch], on_misfit: Callable[[AttributeError], None]) -> None:
    """Apply each patch when its module is imported, or now if it already is; those of a module in their order.

    Where a module lacks what a patch needs, ``on_misfit`` is told, and the module's remaining patches are left out.
    """
    by_module: dict[str, list[Patch]] = {}
    for patch in patches:
        by_module.setdefault(patch.module, []).append(patch)
    for name, rows in by_module.items():
        wrapt.register_post_import_hook(partial(_apply, rows, on_misfit), name)


def status(patches: Iterable[Patch]) -> dict[str, bool]:
    """Tell of each patch, as "target: why", whether it is in place; imports the modules."""
    return {f"{patch.target}: {patch.why}": is_in_place(patch) for patch in patches}


def is_in_place(patch: Patch) -> bool:
    """Import a patch's module and tell whether it is applied; False if the module's package is not installed."""
    if importlib.util.find_spec(patch.module.partition(".")[0]) is None:
        return False
    return patch.is_applied(importlib.import_module(patch.module))


def wrappers(function: Any) -> Iterator[Wrapper]:
    """Yield the wrapt wrappers around a function, the outermost first; other decorators are looked through."""
    while function is not None:
        wrapper = getattr(function, "_self_wrapper", None)
        if wrapper is not None:
            yield wrapper
        function = getattr(function, "__wrapped__", None)


def _apply(patches: list[Patch], on_misfit: Callable[[AttributeError], None], module: ModuleType) -> None:
    try:
        for patch in patches:
            patch.apply(module)
    except AttributeError as error:
        on_misfit(error)
