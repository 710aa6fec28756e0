"""Changes to other people's modules: applied when the module is imported, checked, and listed."""

import importlib
import importlib.util
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import wrapt


class PlatformError(RuntimeError):
    """Something that the CPU platform relies on is not as it was in the versions that it was written for."""


@dataclass(frozen=True)
class Patch:
    """One change, applied right after ``module`` is imported (at once if it already is)."""

    name: str
    """What it stands in for or adds, as :func:`verl_nthr.cpu.plugin.status` shows it."""

    module: str
    """The module whose import applies it."""

    apply: Callable[[ModuleType], None]
    """Changes the module. Raises :class:`PlatformError` if the module is not what was expected."""

    in_place: Callable[[ModuleType], bool]
    """Whether the module carries the change now."""


def install(patches: Iterable[Patch]) -> None:
    """Arrange for every patch to be applied when its module is imported."""
    for patch in patches:
        wrapt.register_post_import_hook(patch.apply, patch.module)


def check(patches: Iterable[Patch]) -> dict[str, bool]:
    """Import each patch's module and tell whether the patch is in place; False if the module is not installed."""
    return {patch.name: _check(patch) for patch in patches}


def _check(patch: Patch) -> bool:
    if importlib.util.find_spec(patch.module.partition(".")[0]) is None:
        return False
    return patch.in_place(importlib.import_module(patch.module))


def wrap(module: ModuleType, attribute: str, wrapper: Callable[..., Any]) -> None:
    """Wrap ``module.attribute`` (dots allowed) in place with a wrapt wrapper function.

    Raises:
        PlatformError: there is no such attribute.
    """
    try:
        wrapt.wrap_function_wrapper(module, attribute, wrapper)
    except AttributeError as error:
        raise PlatformError(
            f"{module.__name__}.{attribute} does not exist in the installed version, and the CPU platform has to "
            "change it; install the versions in requirements/cpu-py311.txt"
        ) from error


def is_wrapped(module: ModuleType, attribute: str, wrapper: Callable[..., Any]) -> bool:
    """Whether ``wrapper`` is among the wrappers around ``module.attribute``."""
    found: Any = wrapt.resolve_path(module, attribute)[2]
    while isinstance(found, wrapt.FunctionWrapper):
        if found._self_wrapper is wrapper:
            return True
        found = found.__wrapped__
    return False


def wrapping(name: str, module: str, attribute: str, wrapper: Callable[..., Any]) -> Patch:
    """The common patch: ``wrapper`` around ``module.attribute``."""
    return Patch(
        name=name,
        module=module,
        apply=lambda loaded: wrap(loaded, attribute, wrapper),
        in_place=lambda loaded: is_wrapped(loaded, attribute, wrapper),
    )
