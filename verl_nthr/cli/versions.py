"""Versions of what the package stands on."""

from __future__ import annotations

import platform

from verl_nthr.supported import installed_version

PACKAGES = ("torch", "verl", "vllm", "megatron-core", "ray", "transformers", "verl_nthr")


def versions() -> dict[str, str | None]:
    """Versions of Python and of all :data:`PACKAGES`; None if not installed."""
    return {"python": platform.python_version(), **{name: installed_version(name) for name in PACKAGES}}
